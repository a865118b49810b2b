"""An image as a model takes it: on its own canvas."""

from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from bestie.records import ImageRecord
from bestie.training.augment import MEAN_RGB
from bestie.training.samples import image_tensor

STRIDE_PX = 32


def padded_image(root: Path, record: ImageRecord) -> UInt8[Tensor, "1 3 h w"]:
    """Read an image and put it on its canvas, see `pad`. Raises InputError like `read_image`."""
    return pad(image_tensor(root, record))


def pad(image: UInt8[Tensor, "3 h w"]) -> UInt8[Tensor, "1 3 y x"]:
    """Put an image (RGB, 0..255) at the top left of the smallest canvas whose sides are multiples of `STRIDE_PX`.

    The rest of the canvas has ImageNet's mean color. Each image has its own canvas and is its own batch, so the result
    does not depend on the other images of a data set.
    """
    height, width = image.shape[1:]
    sides = [-(-side // STRIDE_PX) * STRIDE_PX for side in (height, width)]
    canvas = torch.tensor(MEAN_RGB, dtype=torch.uint8).view(1, 3, 1, 1).repeat(1, 1, *sides)
    canvas[0, :, :height, :width] = image
    return canvas

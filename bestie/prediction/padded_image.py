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
    """Return an image (RGB, 0..255) at the top left of the smallest canvas whose sides are multiples of `STRIDE_PX`.

    The rest of the canvas has ImageNet's mean color. Each image has its own canvas and is its own batch, so the result
    does not depend on the other images of a data set.

    Raises:
        InputError: see `read_image`.
    """
    height, width = (-(-side // STRIDE_PX) * STRIDE_PX for side in (record.height, record.width))
    canvas = torch.tensor(MEAN_RGB, dtype=torch.uint8).view(1, 3, 1, 1).repeat(1, 1, height, width)
    canvas[0, :, : record.height, : record.width] = image_tensor(root, record)
    return canvas

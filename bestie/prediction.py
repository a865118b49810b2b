"""Trained models on whole images: padded to what a network takes, outputs at the size of the canvas."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from bestie.backbones import normalize
from bestie.datasets.base import ImageRecord
from bestie.decoders import resize_like
from bestie.inference import average_with_flip
from bestie.network import BestieNetwork, Outputs
from bestie.training.augment import MEAN_RGB
from bestie.training.device import autocast
from bestie.training.samples import image_tensor

STRIDE_PX = 32


def padded_image(root: Path, record: ImageRecord) -> UInt8[Tensor, "1 3 h w"]:
    """The image at the top left of the smallest canvas with sides of a multiple of `STRIDE_PX`.

    The rest has ImageNet's mean colour. Each image has a canvas of its own and is a batch of its own: what is found in
    it does not depend on the other images of a data set.
    """
    height, width = (-(-side // STRIDE_PX) * STRIDE_PX for side in (record.height, record.width))
    canvas = torch.tensor(MEAN_RGB, dtype=torch.uint8).view(1, 3, 1, 1).repeat(1, 1, height, width)
    canvas[0, :, : record.height, : record.width] = image_tensor(root, record)
    return canvas


@torch.no_grad()
def predict_batch(
    network: BestieNetwork,
    images: UInt8[Tensor, "b 3 h w"],
    *,
    device: torch.device,
    precision: str,
    flip: bool,
    instance_scales: Sequence[float] = (1.0,),
) -> Outputs:
    """Full-size maps of a batch on `device`; with `flip` the mean over the image and its mirror image.

    The semantic map is that of the images as they are. The center and offset maps are the mean over the images
    `instance_scales` times as large: a network trained on crops smaller than the images knows large objects as
    wholes only in images made smaller.
    """
    network.eval()
    inputs = normalize(images.to(device, non_blocking=True)).contiguous(memory_format=torch.channels_last)
    with autocast(device, precision):
        outputs = _with_mirror_image(network, inputs, flip=flip)
        if tuple(instance_scales) == (1.0,):
            return outputs
        center, offset = torch.zeros_like(outputs.center), torch.zeros_like(outputs.offset)
        for scale in instance_scales:
            more = outputs[1:] if scale == 1 else _at_scale(network, inputs, scale, flip=flip)
            center += more[0] / len(instance_scales)
            offset += more[1] / len(instance_scales)
    return Outputs(outputs.semantic, center, offset)


def _with_mirror_image(network: BestieNetwork, inputs: Float[Tensor, "b 3 h w"], *, flip: bool) -> Outputs:
    if not flip:
        return network(inputs)
    both = network(torch.cat((inputs, inputs.flip(-1))).contiguous(memory_format=torch.channels_last))
    outputs, flipped = (Outputs(*half) for half in zip(*(each.chunk(2) for each in both), strict=True))
    return Outputs(*average_with_flip(outputs, flipped))


def _at_scale(
    network: BestieNetwork, inputs: Float[Tensor, "b 3 h w"], scale: float, *, flip: bool
) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b 2 h w"]]:
    """Center and offset maps of the images `scale` times as large, brought to the images' own size and pixels."""
    size = tuple(max(1, round(side * scale / STRIDE_PX)) * STRIDE_PX for side in inputs.shape[2:])
    resized = F.interpolate(inputs, size=size, mode="bilinear", align_corners=False, antialias=True)
    outputs = _with_mirror_image(network, resized.contiguous(memory_format=torch.channels_last), flip=flip)
    center, offset = resize_like(outputs.center, inputs), resize_like(outputs.offset, inputs)
    magnification = [full / side for full, side in zip(inputs.shape[2:], size, strict=True)]
    return center, offset * offset.new_tensor(magnification)[:, None, None]

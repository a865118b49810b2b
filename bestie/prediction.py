"""Trained models on many images: batches padded to one canvas, outputs cropped back."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

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
BATCH_SIZE = 8


class PaddedBatch(NamedTuple):
    """Images of different sizes at the top left of one canvas, the rest the ImageNet mean colour."""

    images: UInt8[Tensor, "b 3 h w"]
    records: list[ImageRecord]


def padded_batches(
    records: list[ImageRecord], root: Path, *, batch_size: int = BATCH_SIZE, rows: Collection[int] | None = None
) -> Iterator[PaddedBatch]:
    """The images in order; the canvas is the largest of all records, a multiple of `STRIDE_PX`.

    `rows` leaves batches out that hold none of them. The others stay as they are: an image's results depend, in their
    last bits, on the batch that it is in.
    """
    if not records:
        return
    height, width = (
        -(-max(side) // STRIDE_PX) * STRIDE_PX for side in zip(*((r.height, r.width) for r in records), strict=True)
    )
    mean = torch.tensor(MEAN_RGB, dtype=torch.uint8).view(1, 3, 1, 1)
    for start in range(0, len(records), batch_size):
        group = records[start : start + batch_size]
        if rows is not None and not any(record.row in rows for record in group):
            continue
        images = mean.repeat(len(group), 1, height, width)
        for canvas, record in zip(images, group, strict=True):
            canvas[:, : record.height, : record.width] = image_tensor(root, record)
        yield PaddedBatch(images, group)


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
    outputs = network(inputs)
    return Outputs(*average_with_flip(outputs, network(inputs.flip(-1)))) if flip else outputs


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

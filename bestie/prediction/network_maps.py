"""The network's full-size maps of images, averaged over the mirror image and over several sizes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from bestie.method.decoders import resize_like
from bestie.method.inference import average_with_flip
from bestie.method.network import BestieNetwork, Outputs
from bestie.prediction.padded_image import STRIDE_PX
from bestie.runtime.device import autocast


@torch.no_grad()
def predict_maps(
    network: BestieNetwork,
    images: UInt8[Tensor, "b 3 h w"],
    *,
    device: torch.device,
    precision: str,
    flip: bool,
    instance_scales: Sequence[float] = (1.0,),
) -> Outputs:
    """Return the full-size maps of a batch of images.

    The semantic map is that of the images as they are. The center and offset maps are means over several sizes of the
    images: a network trained on crops that are smaller than the images recognizes a large object as a whole only in a
    smaller version of its image.

    Args:
        network: the network, on `device`; it is set to evaluation mode.
        images: RGB, 0..255.
        device: where to compute.
        precision: `fp32` or `bf16`.
        flip: average each map with that of the mirror image.
        instance_scales: factors on the sides of the images, for the center and offset maps.
    """
    network.eval()
    inputs = images.to(device, non_blocking=True).float()
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
    both = network(torch.cat((inputs, inputs.flip(-1))))
    outputs, flipped = (Outputs(*half) for half in zip(*(each.chunk(2) for each in both), strict=True))
    return Outputs(*average_with_flip(outputs, flipped))


def _at_scale(
    network: BestieNetwork, inputs: Float[Tensor, "b 3 h w"], scale: float, *, flip: bool
) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b 2 h w"]]:
    """Return center and offset maps of the images at `scale` times their size, resized to the images' own size."""
    size = tuple(max(1, round(side * scale / STRIDE_PX)) * STRIDE_PX for side in inputs.shape[2:])
    resized = F.interpolate(inputs, size=size, mode="bilinear", align_corners=False, antialias=True)
    outputs = _with_mirror_image(network, resized, flip=flip)
    center, offset = resize_like(outputs.center, inputs), resize_like(outputs.offset, inputs)
    magnification = [full / side for full, side in zip(inputs.shape[2:], size, strict=True)]
    return center, offset * offset.new_tensor(magnification)[:, None, None]

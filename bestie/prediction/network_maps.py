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
    semantic_scales: Sequence[float] = (1.0,),
    instance_scales: Sequence[float] = (1.0,),
) -> Outputs:
    """Return the full-size maps of a batch of images, each a mean over several sizes of the images.

    Large sizes show the edges of objects better. A network trained on crops that are smaller than the images recognizes
    a large object as a whole only in a smaller version of its image.

    Args:
        network: the network, on `device`; it is set to evaluation mode.
        images: RGB, 0..255.
        device: where to compute.
        precision: `fp32` or `bf16`.
        flip: average each map with that of the mirror image.
        semantic_scales: factors on the sides of the images, for the semantic map; class logits are averaged.
        instance_scales: factors on the sides of the images, for the center and offset maps.
    """
    network.eval()
    inputs = images.to(device, non_blocking=True).float()
    with autocast(device, precision):
        found = {scale: _at_scale(network, inputs, scale, flip=flip) for scale in {*semantic_scales, *instance_scales}}
    return Outputs(
        _mean([found[scale].semantic for scale in semantic_scales]),
        _mean([found[scale].center for scale in instance_scales]),
        _mean([found[scale].offset for scale in instance_scales]),
    )


def _mean(maps: list[Float[Tensor, "b k h w"]]) -> Float[Tensor, "b k h w"]:
    return maps[0] if len(maps) == 1 else torch.stack(maps).mean(0)


def _with_mirror_image(network: BestieNetwork, inputs: Float[Tensor, "b 3 h w"], *, flip: bool) -> Outputs:
    if not flip:
        return network(inputs)
    both = network(torch.cat((inputs, inputs.flip(-1))))
    outputs, flipped = (Outputs(*half) for half in zip(*(each.chunk(2) for each in both), strict=True))
    return Outputs(*average_with_flip(outputs, flipped))


def _at_scale(network: BestieNetwork, inputs: Float[Tensor, "b 3 h w"], scale: float, *, flip: bool) -> Outputs:
    """Return the maps of the images at `scale` times their size, resized to the images' own size."""
    if scale == 1:
        return _with_mirror_image(network, inputs, flip=flip)
    size = tuple(max(1, round(side * scale / STRIDE_PX)) * STRIDE_PX for side in inputs.shape[2:])
    resized = F.interpolate(inputs, size=size, mode="bilinear", align_corners=False, antialias=True)
    outputs = Outputs(*(resize_like(each, inputs) for each in _with_mirror_image(network, resized, flip=flip)))
    magnification = [full / side for full, side in zip(inputs.shape[2:], size, strict=True)]
    return outputs._replace(offset=outputs.offset * outputs.offset.new_tensor(magnification)[:, None, None])

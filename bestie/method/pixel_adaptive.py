"""Pixel-adaptive refinement: a map follows the edges of its image (PAMR, Araslanov and Roth, CVPR 2020, Section 4.2).

It is the refinement of single-stage weakly supervised segmentation, the paper's reference [2], and has no weights:
every pixel becomes, again and again, the mean of its neighbors, weighted by how much they look alike.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

#: Distances of the eight neighbors in px; together they reach over small gaps and textures.
DILATIONS = (1, 2, 4, 8, 12, 24)
#: Color differences count in units of this part of the local standard deviation.
SOFTNESS = 0.1
#: A pixel belongs to a mask from this probability on.
MASK = 0.5
#: A mask keeps at least this part of its pixels when it is refined, and no pixel of a smaller value than the second.
KEPT_AREA, TINY = 0.85, 1e-3


def refine_by_color(
    maps: Float[Tensor, "c h w"],
    image: Float[Tensor, "k h w"],
    *,
    steps: int = 10,
    dilations: tuple[int, ...] = DILATIONS,
) -> Float[Tensor, "c h w"]:
    """Average each map over neighbors that have a similar color.

    The weight of neighbor j at pixel i is a softmax over all neighbors of -mean over the channels of |I_i - I_j| /
    (0.1 σ_i), with σ_i the standard deviation of the channel over the pixel and its neighbors.

    Args:
        maps: scores or probabilities. If they add up to 1 in every pixel, so does the result.
        image: the image at the size of the maps, any scale of values.
        steps: how often each pixel is averaged.
        dilations: distances of the eight neighbors in px.

    Returns:
        The refined maps.
    """
    reach = max(dilations)
    shifts = [(d * y, d * x) for d in dilations for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
    weights = _weights(image, shifts, len(dilations), reach)
    for _ in range(steps):
        averaged = torch.zeros_like(maps)
        for weight, neighbor in zip(weights, _neighbors(maps, shifts, reach), strict=True):
            averaged.addcmul_(weight, neighbor)
        maps = averaged
    return maps


def refine_scaled(
    maps: Float[Tensor, "c h w"], image: Float[Tensor, "k y x"], *, steps: int, longest_px: int
) -> Float[Tensor, "c y x"]:
    """Return `refine_by_color` of maps on a smaller version of the image, at the size of the image.

    It takes less time than at full size, and the neighbors reach farther over the image.

    Args:
        maps: of any size, resized to the smaller version of the image.
        image: any scale of values.
        steps: see `refine_by_color`.
        longest_px: the longer side of the smaller version, at most.
    """
    factor = min(1.0, longest_px / max(image.shape[-2:]))
    size = [max(1, round(side * factor)) for side in image.shape[-2:]]
    small = F.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]
    resized = F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
    refined = refine_by_color(resized, small, steps=steps)
    return F.interpolate(refined[None], size=image.shape[-2:], mode="bilinear", align_corners=False)[0]


def refine_masks(
    probability: Float[Tensor, "n h w"], image: Float[Tensor, "k h w"], *, steps: int, longest_px: int
) -> Bool[Tensor, "n h w"]:
    """Return masks that follow the edges of the image: where the refined probability is at least 0.5.

    A small or thin object is thinned by its neighbors. A mask that would have less than 0.85 of the pixels that it has
    without refinement gets that many of its highest values instead.

    Args:
        probability: of each instance's mask, 0 to 1.
        image: any scale of values.
        steps: see `refine_by_color`.
        longest_px: see `refine_scaled`.
    """
    if not len(probability):
        return probability > 0
    refined = refine_scaled(probability, image, steps=steps, longest_px=longest_px)
    least = (KEPT_AREA * (probability >= MASK).flatten(1).sum(1)).long()
    highest = refined.flatten(1).sort(1, descending=True).values
    last = highest.gather(1, (least - 1).clamp(min=0)[:, None])[:, 0]
    threshold = torch.where(least > 0, last.clamp(min=TINY, max=MASK), MASK)
    return refined >= threshold[:, None, None]


def _weights(
    image: Float[Tensor, "k h w"], shifts: list[tuple[int, int]], centers: int, reach: int
) -> Float[Tensor, "n h w"]:
    """Return the weight of each neighbor; the pixel itself counts once a dilation for the standard deviation."""
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    for neighbor in _neighbors(image, shifts, reach):
        total += neighbor - image
        squares += (neighbor - image).square()
    n = len(shifts) + centers
    variance = (squares - total.square() / n) / (n - 1)
    unit = 1 / (SOFTNESS * variance.clamp(min=0).sqrt() + 1e-8)
    alike = [-((neighbor - image).abs() * unit).mean(0) for neighbor in _neighbors(image, shifts, reach)]
    return torch.stack(alike).softmax(0)


def _neighbors(maps: Float[Tensor, "c h w"], shifts: list[tuple[int, int]], reach: int) -> Iterator[Tensor]:
    """Yield the maps shifted by each (y, x) in px; outside of the image the border goes on."""
    height, width = maps.shape[1:]
    padded = F.pad(maps[None], (reach,) * 4, mode="replicate")[0]
    for y, x in shifts:
        yield padded[:, reach + y : reach + y + height, reach + x : reach + x + width]

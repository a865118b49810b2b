"""Random scale, crop, flip and color jitter of an image together with its maps."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as F

MEAN_RGB = (124, 116, 104)


def crop_and_flip(
    image: UInt8[Tensor, "3 h w"],
    maps: Mapping[str, tuple[Tensor, int]],
    *,
    crop_px: int,
    scale: tuple[float, float],
    flip: bool,
    rng: np.random.Generator,
) -> tuple[UInt8[Tensor, "3 crop_px crop_px"], dict[str, Tensor]]:
    """Cut the same random square out of an image and its maps, and scale it to `crop_px`.

    The image is resized bilinearly with antialiasing, the maps by nearest neighbor.

    Args:
        image: RGB, 0..255. Pixels of the square outside of it get ImageNet's mean color.
        maps: name -> (map `h w`, value for pixels outside of it).
        crop_px: side of the result in pixels.
        scale: smallest and largest scaling factor; one is drawn uniformly from this range.
        flip: mirror half of the samples, chosen at random.
        rng: source of all random choices.

    Returns:
        The cut image, and the cut maps by their names, each `crop_px crop_px`.
    """
    side = max(1, round(crop_px / rng.uniform(*scale)))
    top, left = (_origin(length, side, rng) for length in image.shape[-2:])
    mirrored = flip and rng.random() < 0.5
    window = (top, left, side)
    cut = _cut_image(image, window, crop_px)
    others = {name: _cut_map(each, outside, window, crop_px) for name, (each, outside) in maps.items()}
    if mirrored:
        cut, others = cut.flip(-1), {name: each.flip(-1) for name, each in others.items()}
    return cut, others


def jitter_colors(image: UInt8[Tensor, "3 h w"], *, strength: float, rng: np.random.Generator) -> Tensor:
    """Scale brightness, contrast and saturation, each by a random factor from 1 - strength to 1 + strength."""
    if strength == 0:
        return image
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, size=3)
    image = F.adjust_brightness(image, brightness)
    image = F.adjust_contrast(image, contrast)
    return F.adjust_saturation(image, saturation)


def _origin(length: int, side: int, rng: np.random.Generator) -> int:
    """Draw where the window starts: inside a larger image, or so that a smaller image lies inside the window."""
    low, high = min(0, length - side), max(0, length - side)
    return int(rng.integers(low, high + 1))


def _cut_image(image: Tensor, window: tuple[int, int, int], crop_px: int) -> Tensor:
    top, left, side = window
    inside = image[:, max(top, 0) : top + side, max(left, 0) : left + side]
    if inside.shape[-2:] != (side, side):
        padded = torch.tensor(MEAN_RGB, dtype=torch.uint8).view(3, 1, 1).repeat(1, side, side)
        y, x = max(-top, 0), max(-left, 0)
        padded[:, y : y + inside.shape[-2], x : x + inside.shape[-1]] = inside
        inside = padded
    return F.resize(inside, [crop_px, crop_px], antialias=True) if side != crop_px else inside


def _cut_map(each: Tensor, outside: int, window: tuple[int, int, int], crop_px: int) -> Tensor:
    top, left, side = window
    steps = (np.arange(crop_px) * 2 + 1) * side // (2 * crop_px)
    ys, xs = top + steps, left + steps
    height, width = each.shape
    # NumPy's take() is five times as fast as indexing a tensor.
    result = each.numpy().take(ys.clip(0, height - 1), axis=0).take(xs.clip(0, width - 1), axis=1)
    result[(ys < 0) | (ys >= height)] = outside
    result[:, (xs < 0) | (xs >= width)] = outside
    return torch.from_numpy(result)

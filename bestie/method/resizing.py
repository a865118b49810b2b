"""Bilinear resizing of maps, with gradients that are the same in every run on a GPU, too.

On CUDA, torch adds up the gradient of `interpolate` in any order, or, asked for one order, by sorting all pixels, which
takes longer than the network itself. Bilinear resizing is a product with one matrix for each axis, and so is its
gradient.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def resize(maps: Float[Tensor, "b c h w"], size: tuple[int, int]) -> Float[Tensor, "b c y x"]:
    """Resize maps bilinearly to (height, width) in px."""
    if maps.is_cuda and maps.requires_grad:
        return BilinearResize.apply(maps, size)
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


class BilinearResize(torch.autograd.Function):
    """`interpolate`, with a gradient made of two matrix products."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the resized maps."""
        ctx.shape = maps.shape[-2:]
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the maps, computed in float32 or better."""
        exact = gradient.float() if gradient.dtype in (torch.bfloat16, torch.float16) else gradient
        rows, columns = (
            weights(before, after, like=exact) for before, after in zip(ctx.shape, gradient.shape[-2:], strict=True)
        )
        with torch.autocast(gradient.device.type, enabled=False):
            return (rows.T @ exact @ columns).to(gradient.dtype), None


def weights(before: int, after: int, *, like: Tensor) -> Float[Tensor, "after before"]:
    """Return what each of `before` values adds to each of `after` values when a line is resized bilinearly."""
    each_alone = torch.eye(before, dtype=like.dtype, device=like.device)[None, None]
    return F.interpolate(each_alone, size=(after, before), mode="bilinear", align_corners=False)[0, 0]


def resized_square_sum(maps: Float[Tensor, "b c y x"], weight: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """Return the weighted sum of the squares of maps that are resized to the size of `weight`, without resizing them.

    A resized pixel is a mean of at most four neighbors, so its square is a sum of products of neighbors. How much each
    product counts does not depend on the channel; it is computed once for all of them. `weight` has no gradient.

    Raises:
        ValueError: the maps are larger than `weight`.
    """
    if maps.shape[2] > weight.shape[2] or maps.shape[3] > weight.shape[3]:
        raise ValueError(f"maps of {tuple(maps.shape[2:])} px cannot be enlarged to {tuple(weight.shape[2:])} px")
    return _ResizedSquareSum.apply(maps, weight)


class _ResizedSquareSum(torch.autograd.Function):
    """A quadratic form of each map: the sum of its products with a sum of its weighted neighbors."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor) -> Tensor:
        """Return the sum."""
        mixed = _mix_neighbors(maps, weight)
        ctx.save_for_backward(mixed)
        return (maps * mixed).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the maps."""
        (mixed,) = ctx.saved_tensors
        return 2 * gradient * mixed, None


def _mix_neighbors(maps: Float[Tensor, "b c y x"], weight: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b c y x"]:
    """Return the sum of each value and its 8 neighbors, each with its share in the quadratic form."""
    height, width = maps.shape[2:]
    by_row = _shares_of_pairs(weights(height, weight.shape[2], like=weight))
    by_column = _shares_of_pairs(weights(width, weight.shape[3], like=weight))
    padded = F.pad(maps, (1, 1, 1, 1))
    mixed = torch.zeros_like(maps)
    with torch.autocast(maps.device.type, enabled=False):
        for dy, rows in enumerate(by_row):
            for dx, columns in enumerate(by_column):
                mixed.addcmul_(rows.T @ weight @ columns, padded[:, :, dy : dy + height, dx : dx + width])
    return mixed


def _shares_of_pairs(of_each: Float[Tensor, "after before"]) -> list[Float[Tensor, "after before"]]:
    """Return the share of each value times that of the value before it, of itself, and of the value after it."""
    return [of_each * F.pad(of_each, (1, 1))[:, start : start + of_each.shape[1]] for start in (0, 1, 2)]

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

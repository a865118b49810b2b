"""The least time that a device needs for a training step, by what it computes and moves: no kernel can be faster.

Operations and bytes are counted on tensors without values (`tests/pretended_gpu/full_size.py`); the device's own speed
is measured by the largest product of matrices and the largest copy that it is good at.
"""

from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.step_parts import median_ms
from tests.pretended_gpu.full_size import IMAGES, SIDE_PX, full_size, refinement
from tests.pretended_gpu.traffic import Work

#: Adam reads the weight, its gradient and two means, and writes the weight and both means, 4 bytes each.
ADAM_BYTES = 7 * 4


@dataclass(frozen=True)
class Speed:
    """What a device reaches: floating-point operations and bytes read or written, a second."""

    flops: float
    bytes: float

    def floor_ms(self, work: Work) -> float:
        """Return the milliseconds that the work takes at least."""
        return 1e3 * max(work.flops / self.flops, work.moved / self.bytes)


def measure_speed(device: torch.device, *, side: int = 8192, megabytes: int = 1024, repeats: int = 10) -> Speed:
    """Return the speed of a product of two bf16 matrices of `side` x `side`, and of a copy."""
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    source = torch.zeros(megabytes * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = median_ms(lambda: left @ right, device, repeats=repeats)
    copy = median_ms(lambda: target.copy_(source), device, repeats=repeats)
    return Speed(2e3 * side**3 / product, 2e3 * source.numel() / copy)


def floors_ms(profile: str, network: nn.Module, speed: Speed, *, images: int, side_px: int) -> dict[str, float]:
    """Return the floor of the parts of a step that can be told apart.

    Args:
        profile: `voc2012` or `coco2017`, whose sizes count.
        network: for its number of weights.
        speed: of the device.
        images: of a batch. What grows with their pixels was counted for 32 images of 416 px.
        side_px: height and width of the images.

    Returns:
        `network` (forward and backward, but for what belongs to the loss), `loss, with its maps` (upsampling, targets
        and losses, forward and backward), `refined labels` and `optimizer`.
    """
    work = full_size(profile).work
    share = images * side_px**2 / (IMAGES * SIDE_PX**2)
    weights = sum(each.numel() for each in network.parameters())
    return {
        "network": share * speed.floor_ms(work["network"]),
        "loss, with its maps": share * speed.floor_ms(work["loss"]),
        "refined labels": share * speed.floor_ms(refinement()),
        "optimizer": speed.floor_ms(Work(moved=ADAM_BYTES * weights)),
    }

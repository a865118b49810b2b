"""The terms of the objective against the authors' release."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bestie.method.losses import center_loss, offset_loss, semantic_loss


@pytest.fixture(scope="module")
def recorded_cases(golden_files: Callable[[str], list[Path]]) -> list[dict[str, Tensor]]:
    return [
        {name: torch.from_numpy(array) for name, array in np.load(path).items()} for path in golden_files("losses*.npz")
    ]


def assert_close(loss: Tensor, recorded: Tensor):
    assert loss.item() == pytest.approx(recorded.item(), rel=1e-5)


def test_center_loss_is_that_of_the_release(recorded_cases):
    for case in recorded_cases:
        guided = center_loss(case["center"], case["target_center"], guidance=case["weight"] > 0, weight=case["weight"])
        assert_close(guided, case["loss_center_iag"])
        assert_close(center_loss(case["center"], case["target_center"], guidance=None), case["loss_center_plain"])


def test_offset_loss_is_that_of_the_release(recorded_cases):
    for case in recorded_cases:
        guided = offset_loss(case["offset"], case["target_offset"], guidance=case["weight"] > 0, weight=case["weight"])
        assert_close(guided, case["loss_offset_iag"])
        assert_close(offset_loss(case["offset"], case["target_offset"], guidance=None), case["loss_offset_plain"])


def test_semantic_loss_is_that_of_the_release(recorded_cases):
    for case in recorded_cases:
        logits, target = case["semantic_logits"], case["target_semantic"]
        assert_close(semantic_loss(logits, target), case["loss_semantic_mean"])
        assert_close(semantic_loss(logits, target, top_fraction=0.2), case["loss_semantic_ohem20"])

"""Resized maps have the values of torch, and their gradients are those of torch, made of two matrix products."""

import pytest
import torch
from torch.nn import functional as F

from bestie.method.resizing import BilinearResize, resize, weights

SIZES = [((5, 7), (20, 28)), ((20, 28), (5, 7)), ((6, 6), (6, 6)), ((1, 9), (4, 33)), ((13, 8), (29, 5))]


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_gradients_are_those_of_interpolate(before: tuple[int, int], after: tuple[int, int]):
    torch.manual_seed(0)
    maps = torch.rand(2, 3, *before, dtype=torch.float64, requires_grad=True)
    pull = torch.rand(2, 3, *after, dtype=torch.float64)
    expected = F.interpolate(maps, size=after, mode="bilinear", align_corners=False)
    (theirs,) = torch.autograd.grad(expected, maps, pull)
    found = BilinearResize.apply(maps, after)
    assert torch.equal(found, expected)
    (ours,) = torch.autograd.grad(found, maps, pull)
    torch.testing.assert_close(ours, theirs)


def test_gradients_of_bf16_maps_are_added_up_in_float32():
    torch.manual_seed(0)
    maps = torch.rand(1, 2, 4, 5).bfloat16().requires_grad_()
    pull = torch.rand(1, 2, 64, 80).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        (ours,) = torch.autograd.grad(BilinearResize.apply(maps, (64, 80)), maps, pull)
    exact = maps.detach().float().requires_grad_()
    (theirs,) = torch.autograd.grad(
        F.interpolate(exact, size=(64, 80), mode="bilinear", align_corners=False), exact, pull.float()
    )
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), theirs, rtol=2**-8, atol=0)


def test_each_value_is_a_mean_of_its_neighbors():
    shares = weights(3, 6, like=torch.zeros(1))
    assert shares.shape == (6, 3)
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
    assert shares[1].tolist() == [0.75, 0.25, 0]


def test_on_a_cpu_it_is_interpolate_itself():
    maps = torch.rand(1, 2, 4, 5, requires_grad=True)
    resized = resize(maps, (8, 9))
    assert torch.equal(resized, F.interpolate(maps, size=(8, 9), mode="bilinear", align_corners=False))
    assert "UpsampleBilinear2D" in type(resized.grad_fn).__name__

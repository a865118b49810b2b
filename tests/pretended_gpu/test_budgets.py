"""Full-size training steps of `voc2012` and `coco2017`: a step may move, keep and start so much."""

import pytest

from tests.pretended_gpu.full_size import full_size, refinement

GB, GIB, TERA = 1e9, 2**30, 1e12


@pytest.mark.parametrize(("profile", "kept_gib", "share"), [("voc2012", 16, 0.11), ("coco2017", 20, 0.27)])
def test_a_step_of_full_size_keeps_to_its_budget(profile: str, kept_gib: float, share: float):
    traffic = full_size(profile)
    network, loss = traffic.work["network"], traffic.work["loss"]
    assert traffic.kept / GIB < kept_gib
    assert 10 < network.flops / TERA < 12
    assert network.kernels < 3500
    assert loss.kernels < 400
    assert 100 < network.moved / GB < 125
    assert loss.moved / network.moved < share


def test_refinement_keeps_to_its_budget():
    work = refinement()
    assert work.kernels < 480
    assert work.moved < 0.045 * full_size("voc2012").work["network"].moved


def test_eighty_classes_cost_little_more_than_twenty():
    voc, coco = full_size("voc2012"), full_size("coco2017")
    moved = [sum(work.moved for work in each.work.values()) for each in (voc, coco)]
    assert moved[1] < 1.3 * moved[0]
    assert coco.kept < 1.3 * voc.kept

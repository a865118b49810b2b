"""A step on the classes of each image alone against the same step on all classes of the data set."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.scenes import batch_of_scenes, draw_scene, labels_of_scenes
from bestie.method.network import Outputs
from bestie.method.own_classes import ABSENT, OwnClasses, find_own_classes
from bestie.method.refinement import refine
from bestie.method.resizing import resize, resized_square_sum
from bestie.method.targets import center_map_from_points, render_targets
from bestie.params.train_bestie import TrainBestie
from bestie.training.loop import Clock
from bestie.training.network_training import InstanceStep
from bestie.training.samples import InstanceBatch

SIDE_PX, CLASSES, IMAGES = 48, 9, 3
VARIANTS: dict[str, dict[str, Any]] = {
    "the paper": {},
    "no guidance": {"instance_aware_guidance": False},
    "weights of the release": {"refinement": {"confidence": "release", "average": True}},
    "points": {},
}


def test_classes_are_those_of_labels_instances_and_points():
    labels = torch.tensor([[0, 1, 0, 0, 1.0], [0, 0, 0, 0, 0]])
    category = torch.tensor([[2, 4], [0, 0]])
    assert find_own_classes(labels, category).tolist() == [[2, 4, 5], [0, 0, 0]]
    assert find_own_classes(labels, category, torch.tensor([[1], [3]])).tolist() == [[1, 2, 4, 5], [3, 0, 0, 0]]
    assert find_own_classes(torch.zeros(2, 5)).tolist() == [[0], [0]]


def test_numbers_are_those_within_the_image():
    own = OwnClasses(torch.tensor([[2, 5, 7], [7, 0, 0]]))
    semantic = torch.tensor([[0, 2, 7, 5, 4, 255], [0, 2, 7, 5, 4, 255]], dtype=torch.uint8)
    assert own.number(semantic).tolist() == [[0, 1, 3, 2, ABSENT, 255], [0, ABSENT, 1, ABSENT, ABSENT, 255]]


def test_probabilities_stay_the_same():
    own = OwnClasses(torch.tensor([[2, 5], [3, 0]]))
    logits = torch.randn(2, 1 + CLASSES, 4, 5, generator=torch.Generator().manual_seed(0))
    probability, expected = own.logits(logits).softmax(dim=1), logits.softmax(dim=1)
    torch.testing.assert_close(probability[0, :3], expected[0, [0, 2, 5]])
    torch.testing.assert_close(probability[1, :2], expected[1, [0, 3]])
    assert probability[1, 2].max() == 0


@pytest.mark.parametrize(("before", "after"), [((8, 9), (32, 36)), ((7, 5), (25, 20)), ((6, 6), (6, 6))])
def test_squares_are_summed_without_resizing(before: tuple[int, int], after: tuple[int, int]):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((2, 3, *before), generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.rand((2, 1, *after), generator=generator, dtype=torch.float64)
    found, expected = resized_square_sum(maps, weight), (resize(maps, after).square() * weight).sum()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, maps), torch.autograd.grad(expected, maps))


def test_maps_that_would_shrink_are_refused():
    with pytest.raises(ValueError, match=r"maps of \(8, 9\) px cannot be enlarged to \(4, 9\) px"):
        resized_square_sum(torch.zeros(1, 1, 8, 9), torch.zeros(1, 1, 4, 9))


class Given(nn.Module):
    """A network whose output are its parameters: maps of a quarter of the image's size.

    Resized values at the border are equal but for rounding, so centers must not be there.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        channels = {"semantic": CLASSES + 1, "center": CLASSES, "offset": 2}
        sizes = {name: (IMAGES, count, SIDE_PX // 4, SIDE_PX // 4) for name, count in channels.items()}
        maps = {name: torch.rand(size, generator=generator) for name, size in sizes.items()}
        maps["center"] = nn.functional.pad(maps["center"][..., 1:-1, 1:-1], (1, 1, 1, 1))
        self.maps = nn.ParameterDict(maps)

    def forward(self, _images: Tensor, *, full_size: bool) -> Outputs:
        assert not full_size
        return Outputs(**self.maps)


def draw_batch(*, points: bool) -> InstanceBatch:
    """Scenes of two classes each, of which the labels miss one in the first image."""
    rng = np.random.default_rng(0)
    pairs = [(2, 5), (5, 9), (1, 2)]
    scenes = [draw_scene(rng, height=SIDE_PX, width=SIDE_PX, classes=list(pair), objects=4) for pair in pairs]
    labels = labels_of_scenes(scenes, num_classes=CLASSES)
    labels[0, int(scenes[0].category_id[0]) - 1] = 0
    batch = batch_of_scenes(rng, scenes, labels, min_area_px=1)
    if not points:
        return batch
    points_yx = torch.from_numpy(rng.integers(0, SIDE_PX, (IMAGES, 4, 2)))
    return batch._replace(points_yx=points_yx, points_category=batch.category)


def step_on_all_classes(step: InstanceStep, batch: InstanceBatch, clock: Clock) -> dict[str, Tensor]:
    """Compute the losses from maps, targets and refined labels with one channel for each class of the data set."""
    params, network = step.params, step.network
    assert isinstance(network, Given)
    outputs = Outputs(**{name: resize(maps, (SIDE_PX, SIDE_PX)) for name, maps in network.maps.items()})
    sizes: dict[str, Any] = {"num_classes": CLASSES, "sigma_px": params.sigma_px}
    pseudo = render_targets(batch.instance, batch.category, **sizes)
    if batch.points_yx is not None:
        center = center_map_from_points(batch.points_yx, batch.points_category, height=SIDE_PX, width=SIDE_PX, **sizes)
        pseudo = type(pseudo)(center, pseudo.offset, pseudo.guidance, pseudo.centers_yx)
    refined = refine(
        outputs.center.detach(),
        outputs.offset.detach(),
        semantic_logits=outputs.semantic.detach(),
        image_labels=batch.labels,
        wsss=batch.semantic,
        points_yx=batch.points_yx,
        points_category=batch.points_category,
        min_area_px=1,
        sigma_px=params.sigma_px,
        threshold=params.refinement.threshold,
        window_px=params.refinement.window_px,
        cluster_distance_px=params.refinement.cluster_distance_px,
        confidence=params.refinement.confidence,
    )
    losses = step.loss(clock)(
        semantic_logits=outputs.semantic,
        center=outputs.center,
        offset=outputs.offset,
        semantic=batch.semantic,
        pseudo=pseudo,
        refined=refined.targets,
        refined_weight=refined.weight,
    )
    return vars(losses)


@pytest.mark.parametrize("name", VARIANTS)
def test_losses_and_gradients_are_those_of_all_classes(name: str):
    params = TrainBestie(
        precision="fp32", epochs=1, batch_size=IMAGES, backbone={"name": "test_resnet"}, **VARIANTS[name]
    )
    network = Given()
    step = InstanceStep(network=network, params=params, device=torch.device("cpu"))
    batch, clock = draw_batch(points=name == "points"), Clock(step=6, steps=10)

    found = step(batch, clock)
    expected = step_on_all_classes(step, batch, clock)

    assert found["refined_per_image"] > 0
    assert expected["center_refined"] > 0
    for loss, value in expected.items():
        torch.testing.assert_close(found[loss], value, rtol=1e-5, atol=1e-6)
    gradients = (torch.autograd.grad(each["total"], list(network.parameters())) for each in (found, expected))
    for one, other in zip(*gradients, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)

"""A training step of full size, counted on tensors without values, in the phases "network" and "loss".

Refinement, whose lists have sizes that depend on values, is counted apart, on drawn images on a pretended GPU.
"""

from dataclasses import replace
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.full_batch import make_batch, make_outputs
from bestie.method.own_classes import OwnClasses
from bestie.method.refinement import Refined
from bestie.method.regions import Components
from bestie.method.targets import render_targets
from bestie.params.params_yaml import Params
from bestie.params.train_bestie import TrainBestie
from bestie.project.profiles import compose
from bestie.runtime import device
from bestie.training.loop import Clock
from bestie.training.network_model import create_network
from bestie.training.network_training import InstanceStep
from bestie.training.samples import InstanceBatch
from tests import workspace as ws
from tests.pretended_gpu.gpu import PretendedGpu
from tests.pretended_gpu.traffic import Traffic, Work

CLASSES = {"voc2012": 20, "coco2017": 80}
IMAGES, SIDE_PX, INSTANCES, OWN = 32, 416, 8, 4


def section(profile: str) -> TrainBestie:
    random = ["train_bestie.backbone.weights=random"]
    return Params(**compose(profile, folder=ws.ROOT / "profiles", overrides=random)).train_bestie


def zeros(*size: int, dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.zeros(size, dtype=dtype)


def fake_batch(side_px: int, classes: int) -> InstanceBatch:
    maps = (IMAGES, side_px, side_px)
    return InstanceBatch(
        images=zeros(IMAGES, 3, side_px, side_px, dtype=torch.uint8),
        labels=zeros(IMAGES, classes, dtype=torch.float32),
        semantic=zeros(*maps, dtype=torch.uint8),
        instance=zeros(*maps, dtype=torch.int32),
        category=zeros(IMAGES, INSTANCES),
        components=Components(zeros(*maps, dtype=torch.int32), 0, 1, 0),
        points_yx=None,
        points_category=None,
        own_classes=zeros(IMAGES, OWN),
    )


class GivenRefinement(InstanceStep):
    """A step whose refined labels are rendered from given instances."""

    def refine(self, outputs: Any, batch: InstanceBatch, own: OwnClasses) -> Refined:
        targets = render_targets(
            batch.instance,
            own.number(batch.category),
            num_classes=own.category_id.shape[1],
            sigma_px=self.params.sigma_px,
            centers_yx=zeros(IMAGES, INSTANCES, 2),
        )
        weight = torch.zeros_like(targets.guidance, dtype=torch.float32)
        return Refined(targets, weight, batch.instance.long(), batch.category, weight[:, 0, 0, :INSTANCES])


@cache
def full_size(profile: str) -> Traffic:
    """Count a step up to the gradients of the weights, in the phases "network" and "loss"."""
    params, classes = section(profile), CLASSES[profile]
    with FakeTensorMode(allow_non_fake_inputs=True), patch.object(device, "cpu_has_bf16", lambda: True):
        network, _ = create_network(params, num_classes=classes, previous=ws.ROOT / "none")
        network.train()
        traffic, maps = Traffic(), []

        def begin(*_: Any) -> None:
            traffic.phase = "network"

        def end(_module: Any, _inputs: Any, outputs: Any) -> None:
            traffic.phase = "loss"
            maps.extend(outputs)

        network.register_forward_pre_hook(begin)
        network.register_forward_hook(end)
        step = GivenRefinement(network=network, params=params, device=torch.device("cpu"))
        with traffic, torch.autograd.graph.saved_tensors_hooks(traffic.keep, lambda kept: kept):
            total = step(fake_batch(SIDE_PX, classes), Clock(step=1, steps=2))["total"]
            gradients = torch.autograd.grad(total, maps, retain_graph=True)
            traffic.phase = "network"
            torch.autograd.backward(maps, gradients)
    return traffic


def refinement(images: int = 2) -> Work:
    """Count the refined labels of drawn images of full size; the work for `IMAGES` images."""
    with PretendedGpu():
        batch = make_batch(images).to(torch.device("cuda"))
        step = InstanceStep(network=torch.nn.Identity(), params=section("voc2012"), device=torch.device("cuda"))
        outputs = make_outputs(step, batch)
        with Traffic() as traffic:
            step.refine(outputs, batch, OwnClasses(batch.own_classes))
    work = traffic.work[""]
    return replace(work, moved=work.moved * IMAGES / images)

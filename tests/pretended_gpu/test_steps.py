"""Training steps on a pretended GPU: nothing is left on the CPU, values are the CPU's, and waits do not grow."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.scenes import batch_of_scenes, draw_scene, labels_of_scenes
from bestie.method import decoders
from bestie.method.backbones import create_backbone
from bestie.method.detector import build_detector, detect, detector_targets
from bestie.method.network import BestieNetwork
from bestie.method.pam import Classifier
from bestie.params.train_bestie import TrainBestie
from bestie.runtime.device import prepare_process
from bestie.training import network_training
from bestie.training.loop import Clock, Loop
from bestie.training.network_training import InstanceStep
from bestie.training.optimizer import create_optimizer, create_schedule
from bestie.training.samples import InstanceBatch
from tests.pretended_gpu.gpu import PretendedGpu

SIDE_PX, CLASSES = 64, 4
VARIANTS: dict[str, dict[str, Any]] = {
    "the paper": {},
    "no refinement": {"refinement": {"enabled": False}},
    "no clustering": {"refinement": {"cluster": False}},
    "no guidance": {"instance_aware_guidance": False},
    "one center map for all classes": {"class_wise": False},
    "weights of the release": {"refinement": {"confidence": "release", "average": True}},
    "hard pixels": {"hard_pixel_fraction": 0.2},
    "points": {},
    "bf16": {"precision": "bf16"},
    "panoptic_deeplab": {"decoder": "panoptic_deeplab"},
}
#: How often the host waits in a step with refinement, whatever the number of images.
WAITS = 4


def batch_of(images: int, *, points: bool = False) -> InstanceBatch:
    """Drawn scenes with two classes and three objects each."""
    rng = np.random.default_rng(0)
    scenes = [draw_scene(rng, height=SIDE_PX, width=SIDE_PX, classes=[1, 2], objects=3) for _ in range(images)]
    batch = batch_of_scenes(rng, scenes, labels_of_scenes(scenes, num_classes=CLASSES))
    if not points:
        return batch
    points_yx = torch.from_numpy(rng.integers(0, SIDE_PX, (images, 3, 2)))
    return batch._replace(points_yx=points_yx, points_category=batch.category)


def section(**changes: Any) -> TrainBestie:
    values = {"precision": "fp32", "width": 8, "epochs": 1, "batch_size": 4, **changes}
    return TrainBestie(backbone={"name": "test_resnet"}, augmentation={"crop_px": SIDE_PX}, **values)


def a_loop(module: nn.Module, step: Callable, params: TrainBestie) -> Loop:
    optimizer = create_optimizer(module, params.optimizer)
    schedule = create_schedule(optimizer, params.optimizer, steps=10)
    settings = {"count": 8, "epochs": 1, "batch_size": 4, "seed": 0, "description": "test"}
    return Loop(
        module=module,
        optimizer=optimizer,
        schedule=schedule,
        samples=lambda _index, _rng: None,
        collate=list,
        step=step,
        **settings,
    )


def take_step(params: TrainBestie, batch: InstanceBatch, device: torch.device, gpu: PretendedGpu | None = None) -> dict:
    """Take one optimizer step of a network that finds centers, and return its losses and the sum of its weights."""
    prepare_process(0)
    backbone = create_backbone("resnet10t", output_stride=8, stages=4, width_factor=0.25)
    network = BestieNetwork(
        backbone, num_classes=CLASSES, decoder=params.decoder, width=params.width, class_wise=params.class_wise
    )
    head = network.center_head[-1]
    nn.init.normal_(head.weight, std=0.3)
    nn.init.constant_(head.bias, 0.4)
    network.to(device).to(memory_format=torch.channels_last).train()
    weights = torch.ones(CLASSES + 1).to(device)
    step = InstanceStep(network=network, params=params, device=device, class_weights=weights)
    loop = a_loop(network, step, params)
    if gpu:
        gpu.forget()
    values = loop._optimize(batch, Clock(step=6, steps=10))
    waits = None if gpu is None else gpu.waits.copy()
    values["weights"] = float(sum(parameter.detach().double().abs().sum() for parameter in network.parameters()))
    if gpu:
        gpu.waits = waits
    return values


def step_on_gpu(name: str, images: int = 4) -> tuple[PretendedGpu, dict]:
    with PretendedGpu() as gpu:
        batch = batch_of(images, points=name == "points")
        return gpu, take_step(section(**VARIANTS[name]), batch, torch.device("cuda"), gpu)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_gives_the_values_of_the_cpu(name: str):
    gpu, found = step_on_gpu(name)
    expected = take_step(section(**VARIANTS[name]), batch_of(4, points=name == "points"), torch.device("cpu"))
    assert found == pytest.approx(expected, rel=1e-2 if name == "bf16" else 1e-4, abs=1e-4)
    assert not gpu.no_kernel
    assert not gpu.unordered


@pytest.mark.parametrize("images", [1, 4])
def test_the_host_waits_equally_often_for_any_number_of_images(images: int):
    gpu, values = step_on_gpu("the paper", images)
    assert values["refined_per_image"] > 0
    assert sum(gpu.waits.values()) == WAITS, dict(gpu.waits)


def test_without_refinement_the_host_waits_for_the_loss_alone():
    gpu, _ = step_on_gpu("no refinement")
    assert list(gpu.waits.values()) == [1], dict(gpu.waits)


def classify(device: torch.device, *, attend: bool, gpu: PretendedGpu | None = None) -> dict:
    prepare_process(0)
    backbone = create_backbone("resnet10t", output_stride=8, stages=4, width_factor=0.25)
    classifier = Classifier(backbone, num_classes=CLASSES, width=16, alpha=0.7)
    classifier.to(device).to(memory_format=torch.channels_last).train()
    classifier.attend(attend)
    batch = batch_of(4).to(device)

    def step(batch: InstanceBatch, _clock: Clock) -> dict[str, Tensor]:
        return {"total": F.binary_cross_entropy_with_logits(classifier(batch.images).float(), batch.labels)}

    loop = a_loop(classifier, step, section())
    if gpu:
        gpu.forget()
    return loop._optimize(batch, Clock(steps=10))


@pytest.mark.parametrize("attend", [False, True])
def test_the_classifier_waits_once(attend: bool):
    with PretendedGpu() as gpu:
        found = classify(torch.device("cuda"), attend=attend, gpu=gpu)
    assert found == pytest.approx(classify(torch.device("cpu"), attend=attend), rel=1e-5)
    assert list(gpu.waits.values()) == [1], dict(gpu.waits)
    assert not gpu.no_kernel
    assert not gpu.unordered


def a_detector(device: torch.device) -> nn.Module:
    prepare_process(0)
    backbone = create_backbone("resnet10t", output_stride=8, stages=4, width_factor=0.25)
    return build_detector(
        backbone, num_classes=CLASSES, width=8, min_side_px=SIDE_PX, max_side_px=SIDE_PX, anchor_sizes_px=(16, 32)
    ).to(device)


def found_by(device: torch.device, images: int, gpu: PretendedGpu | None = None) -> list[dict]:
    detector = a_detector(device)
    pixels = [torch.from_numpy(batch_of(4).images.numpy()[i] / np.float32(255)).to(device) for i in range(images)]
    if gpu:
        gpu.forget()
    return detect(detector, pixels, min_score=0.0)


def test_detections_are_those_of_the_cpu_and_none_is_waited_for():
    with PretendedGpu() as gpu:
        found = found_by(torch.device("cuda"), 1, gpu)
    expected = found_by(torch.device("cpu"), 1)
    assert len(expected[0]["score"]) > 20
    np.testing.assert_array_equal(found[0]["masks"], expected[0]["masks"])
    np.testing.assert_allclose(found[0]["score"], expected[0]["score"], rtol=1e-5)
    assert sum(gpu.waits.values()) < len(expected[0]["score"]), dict(gpu.waits)
    assert not any("roi_heads.py:4" in key for key in gpu.waits), "masks are pasted on the device, box by box"
    assert not gpu.no_kernel


def test_only_the_pooling_of_mask_rcnn_adds_up_in_any_order():
    with PretendedGpu() as gpu:
        detector = a_detector(torch.device("cuda")).train()
        batch = batch_of(2).to(torch.device("cuda"))
        masks = [torch.stack([instance == number for number in (1, 2, 3)]) for instance in batch.instance]
        targets = [detector_targets(each.to(torch.uint8), batch.category[row]) for row, each in enumerate(masks)]
        losses = detector(list(batch.images.float() / 255), targets)
        torch.stack(list(losses.values())).sum().backward()
    assert {key.split()[0] for key in gpu.unordered} == {"_roi_align_backward"}
    assert not gpu.no_kernel


# Each test above must notice a mistake.


def test_a_tensor_left_on_the_cpu_is_noticed(monkeypatch: pytest.MonkeyPatch):
    render = network_training.render_targets

    def mistaken(instance: Tensor, category: Tensor, **options: Any) -> Any:
        return render(instance * torch.ones(SIDE_PX, dtype=torch.int32), category, **options)

    monkeypatch.setattr(network_training, "render_targets", mistaken)
    with pytest.raises(RuntimeError, match="on cpu, others on cuda:0"):
        step_on_gpu("the paper")


def test_a_number_read_for_each_image_is_noticed(monkeypatch: pytest.MonkeyPatch):
    refine = network_training.refine

    def mistaken(center: Tensor, offset: Tensor, **options: Any) -> Any:
        assert all(float(each.amax()) >= 0 for each in center)
        return refine(center, offset, **options)

    monkeypatch.setattr(network_training, "refine", mistaken)
    assert [sum(step_on_gpu("the paper", images)[0].waits.values()) for images in (1, 4)] == [WAITS + 1, WAITS + 4]


def test_an_array_of_a_tensor_on_the_gpu_is_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(network_training, "refine", lambda center, _offset, **_options: center.numpy())
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        step_on_gpu("the paper")


def test_the_usual_gradient_of_resizing_is_noticed(monkeypatch: pytest.MonkeyPatch):
    def mistaken(maps: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)

    monkeypatch.setattr(decoders, "resize", mistaken)
    assert "upsample_bilinear2d_backward" in str(step_on_gpu("the paper")[0].unordered)


def test_an_operator_without_a_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch):
    if not torch.version.cuda:
        pytest.skip("this build of torch has no CUDA kernels to look for")

    refine = network_training.refine

    def mistaken(center: Tensor, offset: Tensor, **options: Any) -> Any:
        torch.histogram(center, 3)  # on CPUs only
        return refine(center, offset, **options)

    monkeypatch.setattr(network_training, "refine", mistaken)
    assert "histogram" in str(step_on_gpu("the paper")[0].no_kernel)

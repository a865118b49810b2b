"""The networks of the paper's size, as `voc2012` and `coco2017` build them: their sizes, and that they learn."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from bestie.method.detector import detector_targets
from bestie.method.regions import Components
from bestie.params.params_yaml import Params
from bestie.params.reading import read_yaml
from bestie.project.profiles import changes, compose
from bestie.training.classifier_model import create_classifier
from bestie.training.detector_model import create_detector
from bestie.training.loop import Clock
from bestie.training.network_model import create_network
from bestie.training.network_training import InstanceStep
from bestie.training.optimizer import create_optimizer, create_schedule
from bestie.training.samples import InstanceBatch
from tests import workspace as ws

NOWHERE = Path("no stage before")
SIDE_PX = 64
RESNET50 = (
    "train_bestie.backbone.name=resnet50",
    "train_bestie.backbone.stages=",
    "train_bestie.decoder=panoptic_deeplab",
)


def full_size(profile: str, *overrides: str) -> Params:
    """A profile with random weights in place of downloaded ones."""
    random = [f"{stage}.backbone.weights=random" for stage in ws.TRAININGS]
    return Params(**compose(profile, folder=ws.ROOT / "profiles", overrides=(*random, *overrides)))


def millions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def assert_learns(module: nn.Module, optimizer: torch.optim.Optimizer, losses: Mapping[str, Tensor]):
    """All trained weights have a gradient, and an optimizer step changes most: residual blocks start as identities."""
    total = losses["total"]
    assert torch.isfinite(total)
    total.backward()
    without = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    before = [p.detach().flatten()[:8].clone() for p in module.parameters()]
    optimizer.step()
    changed = [not torch.equal(b, p.detach().flatten()[:8]) for b, p in zip(before, module.parameters(), strict=True)]
    assert sum(changed) > 0.5 * sum(p.requires_grad for p in module.parameters())


def instance_batch(num_classes: int) -> InstanceBatch:
    """Two images, each with one square object of the first class."""
    square = torch.zeros(2, SIDE_PX, SIDE_PX, dtype=torch.int32)
    square[:, 16:48, 16:48] = 1
    return InstanceBatch(
        images=torch.randint(0, 256, (2, 3, SIDE_PX, SIDE_PX), dtype=torch.uint8),
        labels=F.one_hot(torch.zeros(2, dtype=torch.long), num_classes).float(),
        semantic=square.to(torch.uint8),
        instance=square,
        category=torch.ones((2, 1), dtype=torch.int64),
        components=Components.stack(list(square.numpy())),
        points_yx=None,
        points_category=None,
        own_classes=torch.ones((2, 1), dtype=torch.int64),
    )


@pytest.mark.parametrize(("profile", "num_classes", "size"), [("voc2012", 20, 21.80), ("coco2017", 80, 21.84)])
def test_the_classifier_is_vgg_16_with_three_convolutions_at_stride_8(profile: str, num_classes: int, size: float):
    params = full_size(profile).train_pam
    classifier, _ = create_classifier(params, num_classes=num_classes)
    assert millions(classifier) == pytest.approx(size, abs=0.01)
    maps = classifier.activation_maps(torch.randn(2, 3, SIDE_PX, SIDE_PX))
    assert maps.shape == (2, num_classes, SIDE_PX // 8, SIDE_PX // 8)
    loss = F.binary_cross_entropy_with_logits(maps.mean(dim=(2, 3)), torch.eye(num_classes)[:2])
    assert_learns(classifier, create_optimizer(classifier, params.optimizer), {"total": loss})


def test_the_classifiers_rate_falls_tenfold_at_epochs_5_and_10():
    params = full_size("voc2012").train_pam
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=params.optimizer.learning_rate)
    steps = 2116  # an epoch of 10,582 images in batches of 5
    factor = create_schedule(optimizer, params.optimizer, steps=params.epochs * steps).lr_lambdas[0]
    at = [factor(epoch * steps + offset) for epoch in (5, 10) for offset in (-1, 0)]
    assert at == pytest.approx([1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("overrides", "size"), [((), 63.94), (RESNET50, 55.32)], ids=["HRNet-W48", "ResNet-50 Panoptic-DeepLab"]
)
def test_the_network_has_the_papers_size_and_learns(overrides: tuple[str, ...], size: float):
    torch.manual_seed(0)
    params = full_size("voc2012", *overrides).train_bestie
    network, _ = create_network(params, num_classes=20, previous=NOWHERE)
    assert millions(network) == pytest.approx(size, abs=0.01)
    step = InstanceStep(network=network.train(), params=params, device=torch.device("cpu"))
    losses = step(instance_batch(20), Clock())
    assert losses["center_pseudo"] > 0
    assert_learns(network, create_optimizer(network, params.optimizer), losses)


@pytest.mark.parametrize("profile", ["voc2012", "coco2017"])
def test_a_profile_holds_the_numbers_of_the_paper(profile: str):
    params = Params(**compose(profile, folder=ws.ROOT / "profiles"))
    network, classifier = params.train_bestie, params.train_pam
    assert (network.lambda_center, network.lambda_offset, network.lambda_semantic) == (200, 0.01, 1)
    assert network.sigma_px == 6
    assert (network.epochs, network.batch_size, network.augmentation.crop_px) == (70, 32, 416)
    assert (network.optimizer.name, network.optimizer.learning_rate) == ("adam", 5e-5)
    assert (network.optimizer.schedule, network.optimizer.warmup_fraction) == ("polynomial", 0)
    assert (network.backbone.name, network.backbone.weights, network.class_wise) == ("hrnet_w48", "download", True)
    assert network.instance_aware_guidance
    assert (network.hard_pixel_fraction, network.background_weight) == (1, 1)
    assert params.export_mrcnn.min_score == 0
    for stage in (classifier, network, params.train_mrcnn):
        assert (stage.backbone.trainable, stage.backbone.frozen_stages) == (True, 0)
    refinement = network.refinement
    assert (refinement.cluster, refinement.confidence, refinement.average) == (True, "center", False)
    assert refinement.cluster_distance_px == 100
    assert refinement.start_fraction == 0
    assert (classifier.epochs, classifier.batch_size, classifier.augmentation.crop_px) == (15, 5, 321)
    optimizer = classifier.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.momentum, optimizer.weight_decay) == (
        "sgd",
        0.001,
        0.9,
        0.0005,
    )
    assert (classifier.alpha, classifier.attention_layers, classifier.plain_epochs) == (0.7, (6,), 0)
    assert classifier.augmentation.jitter > 0
    assert params.extract_cues.threshold == 0.5


@pytest.mark.parametrize("profile", ["voc2012", "coco2017"])
def test_a_profile_takes_nothing_from_the_generated_data(profile: str):
    """What it does not spell out comes from the default profile, whose values are made for small images."""
    sections = ("train_pam", "extract_cues", "make_pseudo_labels", "train_bestie", "export_mrcnn", "evaluate")
    profiles = ws.ROOT / "profiles"
    alone = Params(**read_yaml(profiles / f"{profile}.yaml")).model_dump(mode="json")
    taken = [each for each in changes(alone, compose(profile, folder=profiles)) if each[0].startswith(sections)]
    assert taken == []


def test_mask_rcnn_is_torchvisions_standard_model_on_imagenet_weights(tmp_path: Path):
    torch.manual_seed(0)
    resnet = torchvision.models.resnet50()
    torch.save(resnet.state_dict(), tmp_path / "resnet50.pth")
    small = ("train_mrcnn.min_side_px=64", "train_mrcnn.max_side_px=64", "train_mrcnn.precision=fp32")
    params = full_size("coco2017", *small, f"train_mrcnn.backbone.weights={tmp_path / 'resnet50.pth'}").train_mrcnn
    detector, origin = create_detector(params, num_classes=80, previous=NOWHERE)
    body = detector.backbone.body
    assert torch.equal(body.layer4[2].conv3.weight, resnet.layer4[2].conv3.weight)
    assert (origin["weights"], len(origin["sha256"])) == ("resnet50.pth", 64)
    standard = torchvision.models.detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81)
    norms = sum(p.numel() for m in body.modules() if isinstance(m, FrozenBatchNorm2d) for p in m.buffers()) / 2e6
    assert millions(detector) + norms == pytest.approx(millions(standard))
    frozen = {name.split(".")[0] for name, p in body.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "layer1"}

    masks = torch.zeros(1, SIDE_PX, SIDE_PX, dtype=torch.uint8)
    masks[0, 16:48, 16:48] = 1
    targets = [detector_targets(masks, torch.tensor([number])) for number in (1, 80)]
    losses = detector.train()([torch.rand(3, SIDE_PX, SIDE_PX) for _ in targets], targets)
    total = torch.stack(list(losses.values())).sum()
    assert_learns(detector, create_optimizer(detector, params.optimizer), {"total": total})

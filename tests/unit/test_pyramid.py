"""The decoders of the network feed the pyramid of Mask R-CNN: frozen, with its weights, which the artifact keeps."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from bestie.errors import InputError
from bestie.method.backbones import create_backbone
from bestie.method.decoders import ARCHITECTURES
from bestie.method.detector import Selection, build_detector, detector_targets
from bestie.method.pyramid import PyramidBackbone
from bestie.params.train_bestie import TrainBestie
from bestie.params.train_mrcnn import TrainMrcnn
from bestie.params.training import Backbone
from bestie.training.detector_model import create_detector, load_detector
from bestie.training.network_model import create_network
from bestie.training.saved_models import save_model

WIDTH = 24


def pyramid(kind: str) -> PyramidBackbone:
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet")
    return PyramidBackbone(backbone, width=16, decoders=ARCHITECTURES[kind](backbone, WIDTH))


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("side_px", [64, 80])
def test_each_level_is_that_of_the_backbone_and_the_mean_of_what_the_decoders_see(kind: str, side_px: int):
    joined, images = pyramid(kind).eval(), torch.rand(2, 3, side_px, side_px)
    with torch.no_grad():
        features = joined.extractor.features(images)
        plain = joined.pyramid({str(level): each for level, each in enumerate(features)})
        decoded = torch.cat([decoder(features) for decoder in joined.decoders], 1)
        found = joined(images)
    assert list(found) == ["0", "1", "2"]
    for level, (name, each) in enumerate(found.items()):
        mean = decoded if level == 0 else F.avg_pool2d(decoded, 2**level)
        torch.testing.assert_close(each, plain[name] + joined.joins[level](mean))
        assert not torch.equal(each, plain[name])


def test_a_step_of_training_leaves_the_decoders_as_they_are_and_trains_what_joins_them():
    joined = pyramid("fuse").train()
    before = {name: each.clone() for name, each in joined.state_dict().items()}
    sum(each.square().sum() for each in joined(torch.rand(2, 3, 64, 64)).values()).backward()
    assert all(each.grad is None for each in joined.decoders.parameters())
    assert all(each.grad.any() for each in joined.joins.parameters() if each.ndim == 4)
    after = joined.state_dict()
    assert all(torch.equal(after[name], each) for name, each in before.items() if name.startswith("decoders."))
    assert not all(torch.equal(after[name], each) for name, each in before.items() if name.startswith("joins."))


def network(path: Path, **options: object) -> Path:
    torch.manual_seed(1)
    params = TrainBestie(epochs=1, batch_size=1, width=WIDTH, backbone=Backbone(name="test_resnet"), **options)
    built, origin = create_network(params, num_classes=2, previous=path)
    with torch.no_grad():
        for buffer in built.buffers():  # batch statistics as after a training
            buffer.add_(1)
    save_model(path, built, params, num_classes=2, origin=origin)
    return path


def params(**options: object) -> TrainMrcnn:
    start = {"name": "test_resnet", "weights": "previous", "trainable": False, **options.pop("backbone", {})}
    given = {"decoder": "fuse", "decoder_width": WIDTH, "width": 16, **options}
    return TrainMrcnn(epochs=1, batch_size=1, backbone=Backbone(**start), **given)


@pytest.mark.parametrize("kind", ["fuse", "panoptic_deeplab"])
def test_the_weights_are_the_networks_and_the_artifact_needs_no_network(tmp_path: Path, kind: str):
    trained = network(tmp_path / "network.zarr", decoder=kind)
    given = params(decoder="previous", decoder_width=None)
    detector, origin = create_detector(given, num_classes=2, previous=trained)
    save_model(tmp_path / "detector.zarr", detector, given, num_classes=2, origin=origin)
    loaded = load_detector(tmp_path / "detector.zarr", Selection(proposals=7, nms=0.3))
    assert loaded.roi_heads.nms_thresh == 0.3
    expected, _ = create_network(
        TrainBestie(epochs=1, batch_size=1, width=WIDTH, decoder=kind, trained=str(trained), backbone=given.backbone),
        num_classes=2,
        previous=trained,
    )
    for decoder, own in zip(
        loaded.backbone.decoders, (expected.semantic_decoder, expected.instance_decoder), strict=True
    ):
        assert decoder.state_dict().keys() == own.state_dict().keys()
        assert all(torch.equal(each, own.state_dict()[name]) for name, each in decoder.state_dict().items())
    detector.eval()
    with torch.no_grad():
        image = torch.rand(3, 128, 128)
        one, other = detector.backbone(image[None]), loaded.backbone(image[None])
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder_width": 32}, r"train_mrcnn\.decoder_width is 32, but that of .*network\.zarr is 24"),
        ({"decoder": "panoptic_deeplab"}, r"train_mrcnn\.decoder is panoptic_deeplab, but that of .* is fuse"),
        ({"backbone": {"trainable": True}}, r"train_mrcnn\.backbone\.trainable is true; make it false"),
        ({"backbone": {"weights": "random"}}, r"train_mrcnn\.backbone\.weights is random; make it previous"),
    ],
)
def test_decoders_that_are_not_the_networks_are_refused(tmp_path: Path, options: dict, message: str):
    trained = network(tmp_path / "network.zarr")
    with pytest.raises(InputError, match=message):
        create_detector(params(**options), num_classes=2, previous=trained)


def test_training_images_have_any_of_the_sides_and_others_the_last_one():
    torch.manual_seed(0)
    sizes = {"width": 16, "min_side_px": 80, "max_side_px": 120, "anchor_sizes_px": (8, 16, 32)}
    detector = build_detector(create_backbone("test_resnet"), num_classes=3, smaller_sides_px=(48, 64), **sizes)
    masks = torch.zeros(1, 80, 80, dtype=torch.uint8)
    masks[0, 10:50, 10:50] = 1
    target = detector_targets(masks, torch.tensor([1]))

    def sides() -> set[int]:
        return {detector.transform([torch.rand(3, 80, 80)], [dict(target)])[0].image_sizes[0][0] for _ in range(40)}

    assert sides() == {48, 64, 80}
    detector.eval()
    assert sides() == {80}


def test_a_selection_changes_how_many_proposals_are_looked_at_and_nothing_that_is_learned():
    sizes = {"width": 16, "min_side_px": 64, "max_side_px": 80, "anchor_sizes_px": (8, 16, 32), "proposals": 20}
    counts, weights = [], []
    for selection in (Selection(), Selection(proposals=5)):
        torch.manual_seed(0)
        detector = build_detector(create_backbone("test_resnet"), num_classes=3, selection=selection, **sizes).eval()
        detector.rpn.register_forward_hook(lambda _module, _inputs, outputs: counts.append(len(outputs[0][0])))
        detector([torch.rand(3, 64, 64)])
        weights.append(detector.state_dict())
    assert counts == [20, 5]
    assert all(torch.equal(each, weights[1][name]) for name, each in weights[0].items())

"""Checkpoints of the authors' release give the same output here as in the release."""

from pathlib import Path

import pytest
import torch

from bestie.errors import InputError
from bestie.method.release import rename_release
from bestie.params.train_bestie import TrainBestie
from bestie.params.train_pam import TrainPam
from bestie.project.profiles import compose
from bestie.training.classifier_model import create_classifier
from bestie.training.network_model import create_network
from tests import release
from tests import workspace as ws

NOWHERE = Path("no stage before")


def classifier_params(*overrides: str) -> TrainPam:
    return TrainPam(**compose("voc2012", folder=ws.ROOT / "profiles", overrides=overrides)["train_pam"])


def network_params(*overrides: str) -> TrainBestie:
    return TrainBestie(**compose("voc2012", folder=ws.ROOT / "profiles", overrides=overrides)["train_bestie"])


@pytest.fixture(scope="module")
def classifier_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a released classifier with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("release") / "ckpt_15.pth"
    torch.save({"model": release.random_classifier(), "epoch": 15, "iter": 31740}, path)
    return path


@pytest.fixture(scope="module")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a released network with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("release") / "best.pt"
    torch.save({"model": release.random_network()}, path)
    return path


@torch.no_grad()
def test_an_imported_classifier_has_the_activation_maps_of_the_release(classifier_file: Path):
    params = classifier_params(f"train_pam.trained={classifier_file}", "train_pam.attention_layers=[4, 5, 6]")
    classifier, origin = create_classifier(params, num_classes=20)
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    normalized = (images - classifier.backbone.mean) / classifier.backbone.std
    expected = release.classifier_maps(torch.load(classifier_file)["model"], normalized, params.alpha)
    found = classifier.activation_maps(images)
    assert found.shape == (1, 20, 8, 12)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert origin["weights"] == "ckpt_15.pth"
    assert len(origin["sha256"]) == 64


@torch.no_grad()
def test_an_imported_network_has_the_outputs_of_the_release(network_file: Path):
    params = network_params(f"train_bestie.trained={network_file}")
    network, origin = create_network(params, num_classes=20, previous=NOWHERE)
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    normalized = (images - network.backbone.mean) / network.backbone.std
    expected = release.network_outputs(torch.load(network_file)["model"], normalized)
    found = network(images)
    for name, output in (("seg", found.semantic), ("center", found.center), ("offset", found.offset)):
        scale = float(expected[name].abs().max())
        assert scale > 0.1
        torch.testing.assert_close(output / scale, expected[name] / scale, atol=1e-4, rtol=0)
    assert origin["weights"] == "best.pt"


def test_a_missing_and_a_further_tensor_are_named(tmp_path: Path, classifier_file: Path):
    tensors = torch.load(classifier_file)["model"]
    tensors["extra_conv5.bias"] = tensors.pop("extra_conv4.bias")
    torch.save({"model": tensors}, tmp_path / "ckpt_5.pth")
    with pytest.raises(InputError) as caught:
        create_classifier(classifier_params(f"train_pam.trained={tmp_path / 'ckpt_5.pth'}"), num_classes=20)
    message = str(caught.value)
    assert "ckpt_5.pth does not fit the network. It lacks: head.bias" in message
    assert "the network does not: extra_conv5.bias" in message


def test_a_release_with_other_classes_is_refused_by_name(classifier_file: Path):
    params = classifier_params(f"train_pam.trained={classifier_file}")
    with pytest.raises(InputError, match=r"head.weight \(\(20, 512, 1, 1\), not \(80, 512, 1, 1\)\)"):
        create_classifier(params, num_classes=80)


def test_a_model_in_place_of_the_other_is_refused(tmp_path: Path):
    torch.save({"model": {"seg.0.weight": torch.zeros(1)}}, tmp_path / "best.pt")
    params = classifier_params(f"train_pam.trained={tmp_path / 'best.pt'}")
    with pytest.raises(InputError, match="does not fit the network"):
        create_classifier(params, num_classes=20)


def test_tensors_of_others_keep_their_names():
    tensors = {"conv1.weight": torch.zeros(1), "head.bias": torch.ones(1)}
    assert rename_release(tensors) == tensors

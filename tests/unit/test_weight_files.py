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
from bestie.params.training import Backbone
from bestie.training.initial import build_backbone
from bestie.training.weight_files import download_weights


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
        ("test_resnet", "wants images normalized by a mean of .* not ImageNet's; choose another backbone or a file"),
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

"""The network as a graph: torch.export's and ONNX's give the eager network's maps, and docs/deploy.md its instances."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import bestie
from bestie.artifacts.image_index import read_images
from bestie.artifacts.paths import folder
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_rows
from bestie.cli.weights_export import export_to
from bestie.datasets.image_reading import read_pixels
from bestie.errors import InputError
from bestie.training.network_model import load_network
from tests import workspace as ws

NETWORK, DETECTOR = folder("train_bestie") / "network.zarr", folder("train_mrcnn") / "detector.zarr"


def export(source: Path, target: Path) -> str:
    """Run the command in a process of its own: the checks of shapes in this one know no sizes that are free."""
    program = "from bestie.cli.app import main; main()"
    command = [sys.executable, "-c", program, "weights", "export", str(source), str(target)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stdout if ended.returncode == 0 else ended.stderr


def eager(images: torch.Tensor) -> list[np.ndarray]:
    with torch.no_grad():
        outputs = load_network(NETWORK)(images)
    return [each.numpy() for each in (outputs.semantic.softmax(1), outputs.center, outputs.offset)]


def onnx_maps(path: Path, images: torch.Tensor) -> tuple[list[np.ndarray], dict]:
    session = onnxruntime.InferenceSession(path)
    assert [each.name for each in session.get_outputs()] == ["probability", "center", "offset"]
    facts = json.loads(session.get_modelmeta().custom_metadata_map["bestie"])
    return session.run(None, {"images": images.numpy()}), facts


def torch_maps(path: Path, images: torch.Tensor) -> tuple[list[np.ndarray], dict]:
    extra = {"bestie": ""}
    found = torch.export.load(path, extra_files=extra).module()(images)
    return [each.detach().numpy() for each in found], json.loads(extra["bestie"])


@pytest.mark.parametrize(
    ("suffix", "maps"), [pytest.param(".pt2", torch_maps, marks=pytest.mark.slow), (".onnx", onnx_maps)]
)
def test_a_graph_gives_the_networks_maps_at_any_size(finished_run: Path, tmp_path: Path, suffix: str, maps: Any):
    path = tmp_path / f"network{suffix}"
    assert "see docs/deploy.md" in export(NETWORK, path)
    for size in ((64, 64), (96, 160)):
        images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, *size)).astype(np.float32))
        found, facts = maps(path, images)
        for one, other in zip(found, eager(images), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
    assert facts["names"] == bestie.load(NETWORK, device="cpu").names
    assert (facts["threshold"], facts["window_px"], facts["min_area_px"]) == (0.05, 9, 9)


@pytest.mark.slow  # an export by a process of its own, like the test before
def test_the_lines_of_the_document_group_as_we_do(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    ws.set_params("evaluate.flip=false", "evaluate.precision=fp32")
    export(NETWORK, Path("network.onnx"))
    text = (ws.ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict = {}
    exec(code, names)
    model = bestie.load(NETWORK, device="cpu")
    rows = {row["row"] for row in iter_rows(Path("data/export_mrcnn/instances.parquet"), INSTANCES, ["row"])}
    records = [r for r in read_images(Path("data/prepare/images.parquet"), "train") if r.row in rows][:4]
    count = 0
    for record in records:
        pixels = read_pixels(Path("data/raw/generated") / record.path)
        expected = model.predict(pixels)
        found = sorted(names["find"](pixels), key=lambda each: -each[1])
        assert [each[0] for each in found] == expected.names
        np.testing.assert_allclose([each[1] for each in found], expected.scores, atol=1e-4)
        for (_, _, mask), other in zip(found, expected.masks, strict=True):
            assert (mask & other).sum() >= 0.98 * (mask | other).sum()
        count += len(found)
    assert count > 4


@pytest.mark.parametrize(
    ("model", "name", "said"),
    [
        (DETECTOR, "a.onnx", "only the network (network.zarr) is written as a graph"),
        (NETWORK, "a.bin", "give the file the suffix .safetensors, .pt2 or .onnx"),
    ],
)
def test_a_detector_and_an_unknown_suffix_are_refused(
    finished_run: Path, tmp_path: Path, model: Path, name: str, said: str
):
    with pytest.raises(InputError, match=re.escape(said)):
        export_to(model, tmp_path / name)
    assert list(tmp_path.iterdir()) == []

"""A model from an untrusted source: its file says what to build, and everything in it is checked."""

import json
from pathlib import Path
from typing import Any

import pytest

from bestie.errors import InputError
from bestie.prediction.loading import load_predictor

MODELS = ("data/train_bestie/network.zarr", "data/train_mrcnn/detector.zarr")
GONE = object()
WRONG: list[tuple[tuple[str, ...], Any]] = [
    (("attributes",), []),
    (("attributes", "params"), GONE),
    (("attributes", "params"), ["decoder"]),
    (("attributes", "params", "width"), 10**9),
    (("attributes", "params", "width"), "wide"),
    (("attributes", "params", "code"), "import os"),
    (("attributes", "params", "backbone", "name"), "hf_hub:somebody/model"),
    (("attributes", "params", "backbone", "name"), "resnet18"),
    (("attributes", "num_classes"), GONE),
    (("attributes", "num_classes"), "6"),
    (("attributes", "num_classes"), 5),
    (("attributes", "num_classes"), 10**12),
]


def change(path: Path, keys: tuple[str, ...], value: Any) -> None:
    """Give one of the attributes of a Zarr folder another value."""
    content = json.loads(path.read_text(encoding="utf-8"))
    inner = content["attributes"]
    for key in keys[:-1]:
        inner = inner[key]
    if value is GONE:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_whose_file_says_something_else_is_refused(workspace: Path, name: str):
    meta = Path(name) / "zarr.json"
    whole = meta.read_bytes()
    Path("params.yaml").unlink()
    for keys, value in WRONG:
        change(meta, keys, value)
        with pytest.raises(InputError) as refused:
            load_predictor(Path(name), device="cpu")
        assert name in str(refused.value) or "timm" in str(refused.value), keys
        meta.write_bytes(whole)
    load_predictor(Path(name), device="cpu")


def test_a_grouping_of_a_models_file_is_checked(workspace: Path):
    path = Path(MODELS[0])
    change(path / "zarr.json", ("attributes", "params", "snapshot_grouping", "window_px"), -1)
    Path("params.yaml").unlink()
    with pytest.raises(InputError, match=r"window_px = -1"):
        load_predictor(path, device="cpu")

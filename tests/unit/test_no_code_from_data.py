"""Nothing that comes with data is run: no unpickling, no evaluation, hardened XML, and no help from other programs."""

import ast
import json
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from PIL import Image
from zarr.storage import LocalStore

from bestie.artifacts.maps import MapReader
from bestie.artifacts.weights import FORMAT, load_weights
from bestie.datasets.image_reading import image_size
from bestie.datasets.voc import VocDataSet
from bestie.errors import InputError
from tests import workspace as ws

SOURCES = sorted(path for package in ("bestie", "stages", "flows") for path in (ws.ROOT / package).rglob("*.py"))
UNPICKLERS = ("pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
#: What may be taken from `pickle`: an error that says that something was refused.
HARMLESS = {"UnpicklingError"}
#: Names in this project of PyYAML's safe loader.
SAFE_LOADERS = {"LOADER", "_Loader"}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """(name with dots, call) of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(each.value) for each in call.keywords if each.arg == name), None)


def values(call: ast.Call) -> list[ast.expr]:
    return [each.value for each in call.keywords]


def unsafe(path: Path) -> Iterator[str]:
    """What a file does that could run code from data."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (f"import {a.name}" for a in node.names if a.name.split(".")[0] in UNPICKLERS)
            yield from (f"import {a.name}" for a in node.names if a.name.startswith("xml."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLERS:
            yield from (f"from {node.module} import {a.name}" for a in node.names if a.name not in HARMLESS)
    for name, call in calls(path):
        if name in ("eval", "exec", "compile", "__import__"):
            yield name
        if name == "torch.load" and keyword(call, "weights_only") != "True":
            yield "torch.load without weights_only=True"
        if name in ("np.load", "numpy.load") and keyword(call, "allow_pickle") != "False":
            yield "np.load without allow_pickle=False"
        if name == "yaml.load" and not {ast.unparse(each) for each in [*call.args, *values(call)]} & SAFE_LOADERS:
            yield "yaml.load without the safe loader"
        if name in ("yaml.full_load", "yaml.unsafe_load", "yaml.load_all"):
            yield name
        if name in ("os.system", "os.popen") or keyword(call, "shell") == "True":
            yield f"{name} through a shell"


def test_no_module_could_run_what_data_say():
    found = {str(path.relative_to(ws.ROOT)): names for path in SOURCES if (names := sorted(set(unsafe(path))))}
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import xml.etree.ElementTree",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(tmp_path: Path, text: str):
    (tmp_path / "a.py").write_text(text)
    assert list(unsafe(tmp_path / "a.py"))


def test_loaders_of_yaml_are_the_safe_ones():
    from bestie.audit import lock
    from bestie.params import reading

    assert {reading.LOADER.__name__, lock._Loader.__name__} <= {"CSafeLoader", "SafeLoader"}


class Harmful:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


def harmful_zarr(folder: Path, harm: Path, attributes: dict) -> None:
    """An array in Zarr's version 2 with pickle as its filter, and a chunk that does harm when it is read."""
    array = zarr.create_array(
        LocalStore(folder), shape=(4,), dtype="uint8", zarr_format=2, compressors=None, attributes=attributes
    )
    array[:] = np.arange(4, dtype=np.uint8)
    metadata = json.loads((folder / ".zarray").read_text())
    metadata["filters"] = [numcodecs.Pickle().get_config()]
    (folder / ".zarray").write_text(json.dumps(metadata))
    (folder / "0").write_bytes(pickle.dumps(Harmful(harm)))


def test_weights_that_name_pickle_as_their_codec_are_not_opened(tmp_path: Path):
    described = {
        "format": FORMAT,
        "index": [{"name": "a", "dtype": "uint8", "shape": [4], "offset": 0}],
        "sha256": "0",
        "attributes": {},
    }
    harmful_zarr(tmp_path / "a.zarr", tmp_path / "harm", described)
    with pytest.raises(InputError, match=r"a\.zarr is no Zarr array"):
        load_weights(tmp_path / "a.zarr")
    assert not (tmp_path / "harm").exists()


def test_maps_that_name_pickle_as_their_codec_are_not_opened(tmp_path: Path):
    zarr.create_group(LocalStore(tmp_path / "a.zarr"), zarr_format=2, attributes={"canvas_hw": [1, 4]})
    harmful_zarr(tmp_path / "a.zarr" / "semantic", tmp_path / "harm", {})
    with pytest.raises(InputError, match=r"a\.zarr is no Zarr group"):
        MapReader(tmp_path / "a.zarr").read(0, "semantic", 1, 4)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "start",
    [
        '<!DOCTYPE a [<!ENTITY n "cat">]>',
        '<!DOCTYPE a [<!ENTITY n SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd" [<!ENTITY n "cat">]>',
    ],
)
def test_entities_in_annotations_are_refused(tmp_path: Path, start: str):
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a")
    Image.new("RGB", (4, 4)).save(tmp_path / "JPEGImages/a.jpg")
    (tmp_path / "Annotations/a.xml").write_text(f"{start}<a><object><name>&n;</name></object></a>")
    data_set = VocDataSet(tmp_path, {"train": "train"}, ("cat",))
    with pytest.raises(InputError, match=r"a\.xml is no acceptable XML"):
        data_set.record("a", row=0, split="train")


def test_an_image_that_another_program_would_draw_is_no_image(tmp_path: Path):
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match=r"a\.png is no readable image"):
        image_size(tmp_path / "a.png")


def test_the_server_listens_on_the_loopback_address():
    said = subprocess.run(["make", "-n", "serve"], cwd=ws.ROOT, capture_output=True, text=True, check=True).stdout
    assert "prefect server start --host 127.0.0.1" in said

"""`bestie.load`: a trained model in Python, inside of its project and far from it."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import bestie
from bestie.artifacts.image_index import read_images
from bestie.artifacts.paths import folder
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_rows, read_categories
from bestie.cli import app as cli
from bestie.errors import InputError
from bestie.prediction.found import Found
from bestie.prediction.loading import project_of
from tests import workspace as ws

NETWORK, DETECTOR = folder("train_bestie") / "network.zarr", folder("train_mrcnn") / "detector.zarr"
ROOT = Path("data/raw/generated")


def an_image() -> Path:
    """A training image in which the network sees something, which after so short a training is not every one."""
    found = {row["row"] for row in iter_rows(Path("data/export_mrcnn/instances.parquet"), INSTANCES, ["row"])}
    return ROOT / next(r.path for r in read_images(Path("data/prepare/images.parquet"), "train") if r.row in found)


@pytest.mark.parametrize("path", [NETWORK, DETECTOR], ids=["network", "detector"])
def test_a_result_is_the_same_in_all_its_forms(finished_run: Path, path: Path):
    model = bestie.load(path, device="cpu")
    image = an_image()
    found = model.predict(str(image))
    assert len(found) > 0
    assert model.names == [each.name for each in read_categories(Path("data/prepare/categories.parquet"))]
    assert (np.diff(found.scores) <= 0).all()
    for mask, box in zip(found.masks, found.boxes, strict=True):
        left, top, right, bottom = box.astype(int)
        assert mask[top:bottom, left:right].sum() == mask.sum() > 0
        assert mask[top].any() and mask[bottom - 1].any() and mask[:, left].any() and mask[:, right - 1].any()
    assert found.names == [model.names[each - 1] for each in found.category_ids]
    results = found.to_coco(7)
    assert [each["score"] for each in results] == pytest.approx(found.scores.tolist())
    assert {each["image_id"] for each in results} == {7}
    assert results[0]["segmentation"]["size"] == list(found.masks.shape[1:])
    assert json.loads(json.dumps(results)) == results
    table = found.to_pandas()
    assert list(table["name"]) == found.names
    assert list(table["area_px"]) == found.masks.sum(axis=(1, 2)).tolist()
    assert max(found.plot().size) == 480
    assert len(found.above(float(found.scores[0]))) >= 1
    assert len(found.above(1.1)) == 0 and found.above(1.1).masks.shape == (0, *found.masks.shape[1:])
    assert 1 <= len(found.shown()) <= len(found)
    assert found.names[0] in repr(found) and image.as_posix() in repr(found)


def test_files_arrays_and_pillows_images_are_the_same_image(finished_run: Path):
    model = bestie.load(NETWORK, device="cpu")
    path = an_image()
    with Image.open(path) as opened:
        pixels = np.array(opened.convert("RGB"))
        results = [model.predict(each) for each in (path, pixels, opened, Image.fromarray(pixels))]
    assert all(each.rows[0]["rle"] == results[0].rows[0]["rle"] for each in results)
    assert [np.array_equal(each.plot(), results[0].plot()) for each in results] == [True] * 4
    many = model.predict([path, pixels])
    assert [len(each) for each in many] == [len(results[0])] * 2
    with pytest.raises(InputError, match=r"is a folder\. Take stream"):
        model.predict(path.parent)
    with pytest.raises(InputError, match=r"holds no image"):
        next(model.stream("data/prepare"))
    with pytest.raises(InputError, match=r"is no folder"):
        next(model.stream(path))
    assert [each.record.image_id for each in model.stream(path.parent)][:2] == sorted(
        each.stem for each in path.parent.iterdir()
    )[:2]


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((3, 4, 4), np.uint8)]
)
def test_what_is_no_image_is_refused_with_what_to_give(finished_run: Path, wrong: object):
    with pytest.raises(InputError, match=r"is no image\. Give a file, a PIL image, or RGB pixels"):
        bestie.load(NETWORK, device="cpu").predict([wrong])


def rows_of(found: Found) -> list[tuple]:
    return [(row["rle"], row["category_id"], row["score"]) for row in found.rows]


def test_a_model_is_read_by_its_own_project_wherever_one_is(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    image = an_image().resolve()
    inside = bestie.load(NETWORK, device="cpu")
    expected = rows_of(inside.predict(image))
    assert Path(inside.reading.source) == workspace / "params.yaml"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    Path("params.yaml").write_text(yaml.safe_dump({"evaluate": {"grouping": {"threshold": 0.9}}}), encoding="utf-8")
    assert rows_of(bestie.load(workspace / NETWORK, device="cpu").predict(image)) == expected


@pytest.mark.parametrize("path", ["/net.zarr", "/models/net.zarr", "/a/b/c/net.zarr", "/data/net.zarr"])
def test_a_model_elsewhere_is_of_no_project(path: str):
    assert project_of(Path(path)) is None


@pytest.mark.parametrize("path", [NETWORK, DETECTOR], ids=["network", "detector"])
def test_a_packed_model_predicts_the_same_without_its_project(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path
):
    ws.set_params("evaluate.min_area_px=40", "evaluate.mrcnn_color_steps=2", "evaluate.grouping.threshold=0.02")
    image = tmp_path / "image.png"
    shutil.copy(an_image(), image)
    inside = bestie.load(path, device="cpu")
    expected = rows_of(inside.predict(image))
    alone = tmp_path / "alone"
    alone.mkdir()
    done = CliRunner().invoke(
        cli.app, ["weights", "pack", str(path), str(alone / "model.zarr")], catch_exceptions=False
    )
    assert done.exit_code == 0
    monkeypatch.chdir(alone)
    packed = bestie.load("model.zarr", device="cpu")
    assert rows_of(packed.predict(image)) == expected
    assert (packed.names, packed.reading.source) == (inside.names, "model.zarr")
    with pytest.raises(InputError, match=r"model\.zarr exists"):
        packed.save("model.zarr")
    shutil.copytree(workspace / path, "bare.zarr")
    assert bestie.load("bare.zarr", device="cpu").reading.source == "defaults"


def test_predicting_needs_neither_dvc_nor_prefect(finished_run: Path):
    program = f"""
import sys
for name in ("dvc", "prefect", "fastapi", "jinja2", "pandas", "stages", "flows"):
    sys.modules[name] = None
import bestie
found = bestie.load({str(NETWORK)!r}, device="cpu").predict({str(an_image())!r})
print(len(found), found.masks.shape)
found.plot().save("/dev/null", format="PNG")
try:
    found.to_pandas()
except bestie.errors.InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "to_pandas needs pandas: pip install pandas" in done.stdout
    assert int(done.stdout.split()[0]) > 0


def test_the_notebook_runs(workspace: Path):
    """Each code cell runs in turn, and its last line has a value, as Jupyter shows it."""
    notebook = json.loads((ws.ROOT / "docs/notebooks/predict.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    shown = []
    for cell in cells:
        *before, last = ast.parse(cell).body
        assert isinstance(last, ast.Expr)
        exec(compile(ast.Module(before, []), "cell", "exec"), names)
        shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    assert shown[0] == [each.name for each in read_categories(Path("data/prepare/categories.parquet"))]
    assert isinstance(shown[1], Found) and isinstance(shown[2], Image.Image)
    assert all(cell.get("outputs") == [] for cell in notebook["cells"] if cell["cell_type"] == "code")

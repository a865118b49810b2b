"""`bestie profile --check`: what a run would stop at is said before it starts."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bestie.params.params_yaml import Params
from bestie.project.inputs import missing_inputs
from bestie.project.profiles import compose
from bestie.training import weight_files
from tests import workspace as ws

FOLDER = (
    "dataset.name=photos",
    "dataset.format=folder",
    "dataset.root=photos",
    "import_wsss.source=photos/WSSS_maps",
    "prepare.categories=[cat, dog]",
)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images of 8 x 6 px, each with its label and its map."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos/WSSS_maps").mkdir(parents=True)
    for name, value in (("a", 1), ("b", 2), ("c", 1)):
        Image.new("RGB", (8, 6)).save(f"photos/{name}.jpg")
        Image.fromarray(np.full((6, 8), value, np.uint8)).save(f"photos/WSSS_maps/{name}.png")
    Path("photos/labels.csv").write_text("file,labels\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\n", encoding="utf-8")
    return Path("photos")


def found(*overrides: str) -> list[str]:
    return missing_inputs(Params(**compose("smoke", folder=ws.ROOT / "profiles", overrides=[*FOLDER, *overrides])))


def test_nothing_is_missing_where_everything_is_there(photos: Path):
    assert found() == []
    assert found("import_wsss.source=data/make_wsss/maps.zarr") == []


def test_generated_images_need_nothing():
    assert missing_inputs(Params(**compose("smoke", folder=ws.ROOT / "profiles"))) == []


def remove_map(photos: Path) -> None:
    (photos / "WSSS_maps/c.png").unlink()


def turn_map(photos: Path) -> None:
    Image.new("L", (6, 8)).save(photos / "WSSS_maps/a.png")


def remove_image(photos: Path) -> None:
    (photos / "a.jpg").unlink()


def label(text: str) -> Callable[[Path], object]:
    return lambda photos: (photos / "labels.csv").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("breakage", "remark"),
    [
        (remove_map, "import_wsss.source: 1 training images have no map in photos/WSSS_maps, the first c"),
        (turn_map, "photos/WSSS_maps/a.png has the shape (8, 6), but its image is (6, 8)"),
        (remove_image, "photos/labels.csv, line 2: photos/a.jpg does not exist"),
        (label("file,labels\na.jpg,bird\n"), "photos/labels.csv, line 2: 'bird' is no category of the data set"),
        (label("name\n"), "photos/labels.csv has the columns name, but not file, labels"),
    ],
)
def test_what_is_wrong_with_the_data_is_said(photos: Path, breakage: Callable[[Path], object], remark: str):
    breakage(photos)
    remarks = found()
    assert len(remarks) == 1
    assert remark in remarks[0]


def test_images_that_are_not_taken_need_no_map(photos: Path):
    remove_map(photos)
    assert found("prepare.limit_train=2") == []


def test_numbers_of_classes_are_those_of_the_parameters(photos: Path):
    assert found("import_wsss.class_numbers={cat: 1, dog: 2}") == []
    remark = found("import_wsss.class_numbers={cat: 10, dog: 12}")
    assert "photos/WSSS_maps/a.png has the class 1, but only 0, 10, 12 and 255" in remark[0]
    assert "class_numbers has no number for the class 'dog'" in found("import_wsss.class_numbers={cat: 10}")[0]


def test_points_are_looked_at_where_they_are_trained_with(photos: Path):
    assert "photos has no points" in found("dataset.supervision=point")[0]


@pytest.mark.parametrize("stage", ["train_pam", "train_wsss", "train_bestie", "train_mrcnn"])
def test_weights_of_every_training_are_looked_for(photos: Path, monkeypatch: pytest.MonkeyPatch, stage: str):
    assert f"{stage}.backbone.weights: there is no file none.pth yet" in found(f"{stage}.backbone.weights=none.pth")[0]
    monkeypatch.setitem(weight_files.PACKAGES, "tf_efficientnet_lite0", "no-such-package")
    packaged = found(f"{stage}.backbone.weights=package", f"{stage}.backbone.name=tf_efficientnet_lite0")
    assert f"{stage}.backbone.weights: the package no-such-package is not installed" in packaged[0]


def test_a_folder_of_maps_that_is_not_there_is_left_to_the_remark_of_every_call(photos: Path):
    shutil.rmtree(photos / "WSSS_maps")
    assert found() == []

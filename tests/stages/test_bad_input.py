"""Bad input stops a stage with exit status 1 and one message: what is wrong, where, and what to do about it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from bestie.artifacts.paths import OWN_MAPS
from bestie.artifacts.tables import read_categories
from bestie.artifacts.weights import save_safetensors
from bestie.errors import InputError
from tests import workspace as ws

VOC = ("dataset.format=voc", "dataset.root=photos", "import_wsss.source=photos/WSSS_maps")
FIRST = "shapes_000001"

Refused = Callable[[str], str]


@pytest.fixture
def refused(workspace: Path, capsys: pytest.CaptureFixture) -> Refused:
    """Run a stage that must refuse its input; returns the message."""

    def run(stage: str) -> str:
        remove_outputs(stage)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            ws.run_program(stage)
        assert stopped.value.code == 1
        return message_of(capsys.readouterr().err, stage)

    return run


def remove_outputs(stage: str) -> None:
    """Remove what a stage has written, as DVC does before it runs one."""
    for path in ws.declared_outputs(stage):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def message_of(stderr: str, stage: str) -> str:
    """The message on standard error, after checking that it is the only one and that nothing was left behind."""
    assert "Traceback" not in stderr
    messages = [line for line in stderr.splitlines() if line.startswith(f"{stage}: ") and "|" not in line]
    assert len(messages) == 1, stderr
    assert stderr.endswith(messages[0] + "\n")
    left_behind = [path for path in Path("data").rglob("*") if re.search(r"\.part(ial)?$", path.name)]
    assert left_behind == []
    assert not (Path("data") / stage).exists() or list((Path("data") / stage).iterdir()) == []
    return messages[0]


@pytest.fixture
def photos(workspace: Path) -> Path:
    """The generated images as a data set of somebody else, in VOC's layout."""
    names = [category.name for category in read_categories(Path("data/prepare/categories.parquet"))]
    Path("data/raw/generated").rename("photos")
    ws.set_params(*VOC, f"prepare.categories={names}")
    return Path("photos")


def run_as_program(stage: str, **environment: str) -> str:
    """`python -m stages.<stage>` in a process of its own; returns the message that it ends with."""
    remove_outputs(stage)
    ended = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}"],
        env={**os.environ, "PYTHONPATH": str(ws.ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    return message_of(ended.stderr, stage)


def test_a_missing_image_stops_a_program(photos: Path):
    (photos / "JPEGImages" / f"{FIRST}.jpg").unlink()
    message = run_as_program("prepare")
    assert f"photos/JPEGImages/{FIRST}.jpg does not exist" in message
    assert "correct the list" in message


def test_a_wsss_map_of_another_size_stops_a_program(photos: Path):
    Image.new("P", (5, 7)).save(photos / "WSSS_maps" / f"{FIRST}.png")
    message = run_as_program("import_wsss")
    assert f"photos/WSSS_maps/{FIRST}.png has the shape (7, 5)" in message
    assert "original size" in message


def test_a_list_that_names_an_absent_file(photos: Path, refused: Refused):
    lists = photos / "ImageSets" / "Segmentation" / "train.txt"
    lists.write_text(lists.read_text(encoding="utf-8") + "nowhere\n", encoding="utf-8")
    assert "nowhere" in refused("prepare")


def test_a_missing_list(photos: Path, refused: Refused):
    (photos / "ImageSets" / "Segmentation" / "val.txt").unlink()
    message = refused("prepare")
    assert "val.txt" in message
    assert "dataset.root" in message


def test_a_label_outside_the_categories(photos: Path, refused: Refused):
    (photos / "Annotations" / f"{FIRST}.xml").write_text(
        "<annotation><object><name>dragon</name></object></annotation>", encoding="utf-8"
    )
    message = refused("prepare")
    assert f"photos/Annotations/{FIRST}.xml" in message
    assert "dragon" in message


def test_a_training_image_without_labels(photos: Path, refused: Refused):
    (photos / "Annotations" / f"{FIRST}.xml").write_text("<annotation></annotation>", encoding="utf-8")
    message = refused("prepare")
    assert f"photos/Annotations/{FIRST}.xml" in message
    assert "take the image off the list" in message


def test_a_missing_data_set(workspace: Path, refused: Refused):
    ws.set_params("dataset.format=voc", "dataset.root=elsewhere")
    message = refused("prepare")
    assert "dataset.root" in message
    assert "elsewhere" in message


def test_parameters_that_no_picture_can_be_drawn_by(workspace: Path, refused: Refused):
    ws.set_params("prepare.shapes.min_side_px=90", "prepare.shapes.max_side_px=80")
    message = refused("prepare")
    assert "prepare.shapes" in message
    assert "min_side_px" in message


@pytest.mark.parametrize(
    "stage", ["train_pam", "extract_cues", "train_bestie", "export_mrcnn", "train_mrcnn", "evaluate"]
)
def test_an_image_that_is_gone_since_it_was_indexed(workspace: Path, refused: Refused, stage: str):
    for path in Path("data/raw/generated/JPEGImages").iterdir():
        path.unlink()
    assert re.search(r"JPEGImages/shapes_\d+\.jpg does not exist. Restore", refused(stage))


def test_an_unreadable_image(workspace: Path, refused: Refused):
    path = Path(f"data/raw/generated/JPEGImages/{FIRST}.jpg")
    path.write_bytes(path.read_bytes()[:400])
    message = refused("extract_cues")
    assert str(path) in message
    assert "Restore" in message


def test_an_image_that_was_exchanged(workspace: Path, refused: Refused):
    path = Path(f"data/raw/generated/JPEGImages/{FIRST}.jpg")
    with Image.open(path) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    message = refused("extract_cues")
    assert str(path) in message
    assert "run prepare again" in message


def test_a_wsss_map_with_a_class_that_does_not_exist(photos: Path, refused: Refused):
    path = photos / "WSSS_maps" / f"{FIRST}.png"
    with Image.open(path) as image:
        labels = np.array(image)
    labels[0, 0] = 77
    Image.fromarray(labels).save(path)
    message = refused("import_wsss")
    assert str(path) in message
    assert "77" in message


def test_masks_that_show_no_class_at_all(photos: Path, refused: Refused):
    for name in ("WSSS_maps", "SegmentationClass", "SegmentationObject"):
        for path in (photos / name).glob("*.png"):
            with Image.open(path) as image:
                labels = np.array(image)
            Image.fromarray(np.where(labels > 0, np.uint8(255), np.uint8(0))).save(path)
    assert "no map in photos/WSSS_maps shows a class, only 0 (background) and 255 (void)" in refused("import_wsss")
    assert "the true masks of photos show no object, although" in refused("prepare")


def test_numbers_of_classes_on_the_maps(photos: Path, refused: Refused):
    with pytest.raises(InputError, match=r"class_numbers = .* must give each class a number of its own"):
        ws.set_params("import_wsss.class_numbers={a: 1, b: 1}")
    ws.set_params("import_wsss.class_numbers={a: 1, b: 2}")
    assert "import_wsss.class_numbers has" in refused("import_wsss")


def test_a_missing_wsss_map(photos: Path, refused: Refused):
    (photos / "WSSS_maps" / f"{FIRST}.png").unlink()
    assert f"{FIRST}.png" in refused("import_wsss")


def test_a_missing_wsss_folder(workspace: Path, refused: Refused):
    ws.set_params("import_wsss.source=nowhere")
    message = refused("import_wsss")
    assert "import_wsss.source" in message
    assert "nowhere" in message


def change_params(change: Callable[[dict], None]) -> None:
    """Change `params.yaml` by hand, without the checks that `bestie profile` makes."""
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    change(values)
    Path("params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


@pytest.mark.parametrize("stage", ws.STAGES)
def test_an_unknown_parameter(workspace: Path, refused: Refused, stage: str):
    change_params(lambda values: values[stage].update(treshold=1))
    assert f"params.yaml: {stage}: unknown key 'treshold'; remove it or correct its spelling" in refused(stage)


@pytest.mark.parametrize("stage", ws.STAGES)
def test_a_missing_section(workspace: Path, refused: Refused, stage: str):
    change_params(lambda values: values.pop(stage))
    assert f"params.yaml: missing section '{stage}'; `bestie profile shapes` writes the default" in refused(stage)


def test_an_empty_section(workspace: Path, refused: Refused):
    change_params(lambda values: values.update(train_pam=None))
    assert "params.yaml: train_pam: expected" in refused("train_pam")


@pytest.mark.parametrize(
    ("stage", "key", "value"),
    [
        ("train_pam", "alpha", 1.5),
        ("train_pam", "epochs", 0),
        ("extract_cues", "window_px", 4),
        ("make_pseudo_labels", "min_area_px", -1),
        ("train_bestie", "precision", "fp8"),
        ("train_bestie", "hard_pixel_fraction", 0),
        ("export_mrcnn", "grouping", {"window_px": 40}),
        ("train_mrcnn", "anchor_sizes_px", [8, 16]),
        ("train_mrcnn", "batch_size", "many"),
        ("evaluate", "iou_thresholds", [0.25, 0.75]),
    ],
)
def test_a_wrong_value(workspace: Path, refused: Refused, stage: str, key: str, value: object):
    change_params(lambda values: values[stage].update({key: value}))
    message = refused(stage)
    assert key in message
    assert "correct the value" in message


def test_no_parameter_file(workspace: Path, refused: Refused):
    Path("params.yaml").unlink()
    assert "params.yaml: no such file; `bestie profile shapes` writes the default" in refused("prepare")


def test_a_parameter_file_that_is_no_yaml(workspace: Path, refused: Refused):
    Path("params.yaml").write_text("a: [1", encoding="utf-8")
    assert "params.yaml: not readable as YAML" in refused("prepare")


def test_an_unknown_backbone(workspace: Path, refused: Refused):
    ws.set_params("train_pam.backbone.name=resnet10")
    message = refused("train_pam")
    assert "'resnet10'" in message
    assert "resnet10t" in message


def test_a_missing_weight_file(workspace: Path, refused: Refused):
    ws.set_params("train_pam.backbone.weights=nowhere.safetensors")
    message = refused("train_pam")
    assert "nowhere.safetensors does not exist" in message
    assert "BESTIE_WEIGHTS" in message


def test_a_weight_file_with_another_hash(workspace: Path, refused: Refused):
    save_safetensors(Path("own.safetensors"), {"weight": torch.zeros(1)})
    ws.set_params("train_pam.backbone.weights=own.safetensors", f"train_pam.backbone.sha256={'a' * 64}")
    message = refused("train_pam")
    assert "own.safetensors has SHA-256" in message
    assert "backbone.sha256" in message


def test_a_weight_file_of_another_network(workspace: Path, refused: Refused):
    save_safetensors(Path("own.safetensors"), {"weight": torch.zeros(1)})
    ws.set_params("train_pam.backbone.weights=own.safetensors")
    message = refused("train_pam")
    assert "own.safetensors does not fit the network" in message
    assert "conv1" in message


def test_weights_of_a_stage_before_that_had_another_backbone(workspace: Path, refused: Refused):
    ws.set_params("train_bestie.backbone.name=resnet10t")
    assert "data/train_pam/classifier.zarr does not fit the network" in refused("train_bestie")


@pytest.mark.parametrize("stage", ws.TRAININGS)
def test_a_loss_that_is_not_finite(workspace: Path, refused: Refused, stage: str):
    ws.set_params(
        f"{stage}.optimizer.learning_rate=1e30", f"{stage}.optimizer.warmup_fraction=0", f"{stage}.precision=fp32"
    )
    message = refused(stage)
    assert re.search(r"the loss is not finite at step \d+ \(total", message)
    assert "lower the learning rate" in message


@pytest.mark.parametrize(
    "stage", ["train_pam", "extract_cues", "train_bestie", "export_mrcnn", "train_mrcnn", "evaluate"]
)
def test_a_gpu_that_is_not_there(workspace: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, stage: str):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("BESTIE_DEVICE", "cuda")
    assert "BESTIE_DEVICE='cuda', but no GPU is visible; use BESTIE_DEVICE=cpu" in refused(stage)


def test_a_setting_that_is_no_number(workspace: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BESTIE_WORKERS", "two")
    assert "BESTIE_WORKERS='two': expected a number; unset or correct it" in refused("train_pam")


@pytest.mark.parametrize("stage", ws.STAGES[1:])
def test_a_stage_before_the_others_have_run(workspace: Path, refused: Refused, stage: str):
    ws.set_params(f"import_wsss.source={OWN_MAPS}")  # otherwise train_wsss needs nothing
    shutil.rmtree("data")
    assert re.search(r"data/\w+/\S+ does not exist", refused(stage))


def test_an_export_without_instances(workspace: Path, refused: Refused):
    ws.set_params("export_mrcnn.min_score=1")
    ws.run("export_mrcnn")
    message = refused("train_mrcnn")
    assert "data/export_mrcnn/instances.parquet holds no instance" in message
    assert "train_bestie.epochs" in message


def test_a_damaged_validation_image_stops_before_anything_is_trained(photos: Path, refused: Refused):
    listed = (photos / "ImageSets" / "Segmentation" / "val.txt").read_text(encoding="utf-8").split()
    path = photos / "JPEGImages" / f"{listed[-1]}.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    assert f"{path} cannot be decoded" in refused("prepare")


@pytest.mark.parametrize(("number", "message"), [(3, "its map photos/WSSS_maps/"), (6, "orientation 6 says")])
def test_a_map_of_an_image_that_is_stored_turned(photos: Path, refused: Refused, number: int, message: str):
    exif = Image.Exif()
    exif[0x0112] = number
    path = photos / "JPEGImages" / f"{FIRST}.jpg"
    with Image.open(path) as image:
        image.load()
        image.resize((image.width, image.height + 1)).save(
            path, exif=exif
        )  # no square, so that sides can be told apart
    for folder in ("SegmentationObject", "SegmentationClass"):
        (photos / folder / f"{FIRST}.png").unlink()
    ws.run("prepare")
    assert message in refused("import_wsss")

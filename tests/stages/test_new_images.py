"""`bestie predict`, `bestie export` and `bestie evaluate` on the models of a run of the smoke profile."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from bestie.artifacts.image_index import read_images
from bestie.artifacts.instances import decode_mask
from bestie.artifacts.metrics_json import read_json
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_rows, read_categories
from bestie.artifacts.weights import read_attributes
from bestie.cli import app as cli
from bestie.datasets.coco_results import read_results
from bestie.errors import InputError

NETWORK, DETECTOR = "data/train_bestie/network.zarr", "data/train_mrcnn/detector.zarr"
CATEGORIES = "data/prepare/categories.parquet"
ROOT = "data/raw/generated"


def call(*arguments: str | Path) -> str:
    found = CliRunner().invoke(cli.app, [str(each) for each in arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def validation_images() -> list[Path]:
    records = read_images(Path("data/prepare/images.parquet"), "val")
    return [Path(ROOT) / record.path for record in records[:3]]


def images_with_instances() -> list[Path]:
    """Three images on which the network sees something, which after so short a training is not every one."""
    found = {row["row"] for row in iter_rows(Path("data/export_mrcnn/instances.parquet"), INSTANCES, ["row"])}
    records = read_images(Path("data/prepare/images.parquet"), "train")
    return [Path(ROOT) / record.path for record in records if record.row in found][:3]


@pytest.mark.parametrize("model", [NETWORK, DETECTOR])
def test_predictions_are_a_table_masks_and_overlays(finished_run: Path, tmp_path: Path, model: str):
    out = tmp_path / "found"
    said = json.loads(call("predict", *images_with_instances(), "--model", model, "--out", out, "--json"))
    rows = list(iter_rows(out / "instances.parquet", INSTANCES))
    records = read_images(out / "images.parquet")
    assert said["images"] == len(records) == 3
    assert said["instances"] == len(rows) > 0
    for record in records:
        own = [row for row in rows if row["row"] == record.row]
        best = max((row["score"] for row in own), default=0)
        least = best / 2 if model == NETWORK else read_attributes(Path(DETECTOR))["shown_score"]
        shown = [row for row in own if row["score"] >= least]
        union = np.zeros((record.height, record.width), bool)
        for row in shown:
            union |= decode_mask(row["rle"], record.height, record.width)
        with Image.open(out / "masks/objects" / f"{record.image_id}.png") as objects:
            assert ((np.array(objects) > 0) == union).all()
        with Image.open(out / "overlays" / f"{record.image_id}.jpg") as overlay:
            assert max(overlay.size) == 480
    call("export", "coco", out / "instances.parquet", tmp_path / "found.json", "--index", out)
    assert len(json.loads((tmp_path / "found.json").read_text())["images"]) == 3


def test_a_folder_stands_for_its_images_and_the_limit_holds_everywhere(finished_run: Path, tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in validation_images():
        shutil.copy(path, photos)
    (photos / "notes.txt").write_text("no image")
    call("predict", photos, "--out", tmp_path / "found", "--min-score", "0.999", "--model", DETECTOR)
    assert len(read_images(tmp_path / "found/images.parquet")) == 3
    assert list(iter_rows(tmp_path / "found/instances.parquet", INSTANCES)) == []
    with Image.open(next((tmp_path / "found/masks/objects").iterdir())) as objects:
        assert not np.array(objects).any()


def test_one_damaged_file_costs_no_other_its_result(finished_run: Path, tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in validation_images():
        shutil.copy(path, photos)
    (photos / "zzz.jpg").write_bytes(validation_images()[0].read_bytes()[:700])

    arguments = ["predict", photos, "--out", tmp_path / "found", "--json"]
    ended = CliRunner().invoke(cli.app, [str(each) for each in arguments], catch_exceptions=False)

    assert ended.exit_code == 1
    said = json.loads(ended.stdout)
    assert said["images"] == len(read_images(tmp_path / "found/images.parquet")) == 3
    assert len(said["left_out"]) == 1
    assert f"left out: {photos / 'zzz.jpg'} cannot be decoded" in ended.stderr
    assert len(list((tmp_path / "found/overlays").iterdir())) == 3


@pytest.mark.parametrize(("model", "name"), [(NETWORK, "bestie"), (DETECTOR, "mrcnn")])
def test_on_the_runs_own_images_a_model_has_the_scores_of_the_run(finished_run: Path, model: str, name: str):
    scores = json.loads(call("evaluate", model, ROOT, "--categories", CATEGORIES, "--json"))
    expected = read_json(Path("data/evaluate/metrics.json"))[name]
    assert {key: scores[key] for key in expected} == expected
    assert (scores["images"], scores["without_truth"]) == (8, 0)
    truth = sum(row["true_instances"] for row in scores["by_size"])
    assert truth == sum(
        1 for row in iter_rows(Path("data/prepare/ground_truth.parquet"), INSTANCES) if row["row"] >= 24
    )


def test_a_result_file_is_scored_as_the_table_that_it_came_from(finished_run: Path, tmp_path: Path):
    results, out = tmp_path / "results.json", tmp_path / "scored"
    call("export", "coco-results", "data/evaluate/mrcnn.parquet", results)
    names = ",".join(category.name for category in read_categories(Path(CATEGORIES)))
    call("evaluate", results, ROOT, "--categories", names, "--out", out)
    expected = read_json(Path("data/evaluate/metrics.json"))["mrcnn"]
    scores = read_json(out / "metrics.json")
    assert {key: scores[key] for key in expected} == pytest.approx(expected, nan_ok=True)
    call("export", "yolo", out / "instances.parquet", tmp_path / "yolo", "--index", out)


def test_cocos_layout_is_scored_with_its_own_numbers(finished_run: Path, tmp_path: Path):
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    truth = root / "annotations/instances_val2017.json"
    call("export", "coco", "data/prepare/ground_truth.parquet", truth, "--split", "val")
    (root / "val2017/JPEGImages").symlink_to(Path(ROOT, "JPEGImages").resolve())
    content = json.loads(truth.read_text())
    for number, image in enumerate(content["images"]):
        content["annotations"] = [
            {**each, "image_id": 5000 + number} if each["image_id"] == image["id"] else each
            for each in content["annotations"]
        ]
        image["id"] = 5000 + number
    truth.write_text(json.dumps(content))
    perfect = [
        {key: each[key] for key in ("image_id", "category_id", "segmentation", "score")}
        for each in content["annotations"]
    ]
    (tmp_path / "perfect.json").write_text(json.dumps(perfect))
    scores = json.loads(call("evaluate", tmp_path / "perfect.json", root, "--json"))
    assert scores["map75"] == scores["coco_ap"] == 100
    assert scores["errors"]["correct"] == len(perfect)
    assert scores["errors"]["missed"] == 0
    text = call("evaluate", tmp_path / "perfect.json", root)
    assert "mAP, IoU .50" in text
    assert "0 missed" in text


def test_images_without_truth_are_left_out_and_counted(workspace: Path):
    first = read_images(Path("data/prepare/images.parquet"), "val")[0].image_id
    Path(ROOT, "SegmentationObject", f"{first}.png").unlink()
    scores = json.loads(call("evaluate", DETECTOR, ROOT, "--categories", CATEGORIES, "--json"))
    assert (scores["images"], scores["without_truth"]) == (7, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "nowhere.jpg"], "nowhere.jpg does not exist"),
        (["predict", "data/prepare"], "data/prepare holds no image"),
        (["predict", "IMAGE", "IMAGE"], "are both called"),
        (["predict", "IMAGE", "--model", "data/train_pam/classifier.zarr"], "holds no network and no Mask R-CNN"),
        (["predict", "IMAGE", "--model", "gone.zarr"], "gone.zarr does not exist"),
        (["predict", "IMAGE", "--categories", "gone.parquet"], "gone.parquet does not exist"),
        (["predict", "IMAGE", "--out", "data"], "data exists. Remove it"),
        (["evaluate", "gone.json", ROOT], "gone.json does not exist"),
        (["evaluate", DETECTOR, "data"], "data has neither annotations/"),
        (["evaluate", DETECTOR, ROOT], "The model has 6 classes, the data set 20"),
        (["evaluate", DETECTOR, ROOT, "--list", "gone", "--categories", CATEGORIES], "There is no image list"),
        (
            ["export", "coco", "data/evaluate/mrcnn.parquet", "a.json", "--with-images"],
            "--with-images: coco is one file",
        ),
        (["export", "voc", "gone.parquet", "voc"], "gone.parquet does not exist"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(
    finished_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    arguments: list[str],
    message: str,
):
    image = str(validation_images()[0])
    before = sorted(Path().iterdir())
    monkeypatch.setattr(sys, "argv", ["bestie", *[image if each == "IMAGE" else each for each in arguments]])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("bestie: ")
    assert message in last
    assert sorted(Path().iterdir()) == before


def test_a_model_brings_its_class_names_wherever_it_goes(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    names = [category.name for category in read_categories(Path(CATEGORIES))]
    image, model = validation_images()[0].resolve(), Path(DETECTOR).resolve()
    monkeypatch.chdir(tmp_path)
    call("predict", image, "--model", model, "--out", "found")
    assert [category.name for category in read_categories(Path("found/categories.parquet"))] == names


def test_classes_in_another_order_than_the_models_are_refused(finished_run: Path):
    names = [category.name for category in read_categories(Path(CATEGORIES))]
    swapped = ",".join([names[1], names[0], *names[2:]])
    with pytest.raises(InputError, match=rf"'{names[1]}' is class 1 of the data set and class 2 of the model"):
        call("evaluate", DETECTOR, ROOT, "--categories", swapped)
    other = ",".join(["a car", *names[1:]])  # another name for the same class is no contradiction
    with pytest.raises(InputError, match="is no category"):
        call("evaluate", DETECTOR, ROOT, "--categories", other)


def test_names_of_other_classes_are_refused(workspace: Path, capsys: pytest.CaptureFixture):
    from bestie.artifacts.tables import write_categories

    write_categories(Path("two.parquet"), read_categories(Path(CATEGORIES))[:2])
    with pytest.raises(InputError, match=r"two.parquet names 2 classes, the model has 6"):
        call("predict", validation_images()[0], "--categories", "two.parquet")


RESULT = {"image_id": 7, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]], "score": 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no valid JSON"),
        ({"annotations": []}, "is no list of results"),
        ([{**RESULT, "image_id": 8}], "entry 0: there is no image 8"),
        ([RESULT, {**RESULT, "category_id": 99}], "entry 1: there is no category 99"),
        ([{key: value for key, value in RESULT.items() if key != "score"}], "entry 0: it has no score"),
        ([{**RESULT, "score": "high"}], "its score 'high' is no number"),
        ([{**RESULT, "segmentation": {"size": [5, 5], "counts": "bad"}}], "segmentation is malformed|its mask is"),
        ([{**RESULT, "segmentation": None}], "segmentation is malformed"),
    ],
)
def test_a_wrong_result_file_is_named_by_entry(finished_run: Path, tmp_path: Path, content: object, message: str):
    path = tmp_path / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    records = read_images(Path("data/prepare/images.parquet"), "val")
    with pytest.raises(InputError, match=message):
        list(read_results(path, images={7: records[0]}, categories=read_categories(Path(CATEGORIES))))


def test_polygons_and_codes_of_all_kinds_are_read(finished_run: Path, tmp_path: Path):
    record = read_images(Path("data/prepare/images.parquet"), "val")[0]
    background = record.height * record.width - 30
    uncompressed = {"size": [record.height, record.width], "counts": [10, 30, background - 10]}
    path = tmp_path / "results.json"
    path.write_text(json.dumps([RESULT, {**RESULT, "segmentation": uncompressed, "score": 1}]))
    ((found, masks),) = read_results(path, images={7: record}, categories=read_categories(Path(CATEGORIES)))
    assert found is record
    assert [(category_id, score, int(mask.sum())) for category_id, score, mask in masks] == [(1, 0.5, 64), (1, 1, 30)]

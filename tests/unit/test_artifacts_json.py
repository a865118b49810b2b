"""Metrics, histories and COCO annotations are valid, rounded and readable by the tools that they are for."""

import contextlib
import dataclasses
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from bestie.artifacts.coco_json import coco_image_ids, write_coco
from bestie.artifacts.instances import instance_rows
from bestie.artifacts.metrics_json import read_json, write_csv, write_history, write_json
from bestie.artifacts.schemas import INSTANCES, history_schema
from bestie.artifacts.tables import TableWriter, read_table
from bestie.errors import InputError
from bestie.records import Category, ImageRecord

CATEGORIES = [Category(1, "person", 1), Category(2, "kite", 38)]


def record(row: int, image_id: str) -> ImageRecord:
    return ImageRecord(row, image_id, "train", f"train2017/{image_id}.jpg", 9, 12, "00", (1,))


def test_json_is_sorted_rounded_and_valid_for_nan_and_numpy(tmp_path: Path) -> None:
    data = {
        "z": 0.123456789,
        "a": {
            "nan": float("nan"),
            "inf": np.float32("inf"),
            "third": np.float64(1 / 3),
            "low": 1.23456789e-9,
        },
        "n": (np.int64(3), np.array([1.0, np.nan]), True, None, "é"),
    }
    write_json(tmp_path / "m.json", data)
    text = (tmp_path / "m.json").read_text(encoding="utf-8")
    assert list(json.loads(text, parse_constant=pytest.fail)) == ["a", "n", "z"]
    assert read_json(tmp_path / "m.json") == {
        "z": 0.123457,
        "a": {"nan": None, "inf": None, "third": 0.333333, "low": 1.23457e-9},
        "n": [3, [1.0, None], True, None, "é"],
    }


def test_what_json_has_no_form_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "m.json", {"path": tmp_path})
    assert not list(tmp_path.iterdir())


def test_a_missing_or_malformed_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"m\.json does not exist"):
        read_json(tmp_path / "m.json")
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(InputError, match=r"m\.json is no valid JSON"):
        read_json(tmp_path / "m.json")


def test_csv_has_a_header_and_empty_cells_for_nan(tmp_path: Path) -> None:
    write_csv(tmp_path / "c.csv", [{"recall": 0.1, "precision": float("nan")}, {"recall": 1, "precision": 0.5}])
    assert (tmp_path / "c.csv").read_text() == "recall,precision\n0.1,\n1,0.5\n"
    with pytest.raises(ValueError, match="no rows"):
        write_csv(tmp_path / "c.csv", [])


def test_a_history_is_kept_as_parquet_and_as_rows_for_plots(tmp_path: Path) -> None:
    rows: list[dict] = [{"epoch": 0, "loss": 1 / 3}, {"epoch": 1, "loss": np.float32(0.5), "val_map50": 2}]
    write_history(tmp_path / "h.parquet", tmp_path / "h.json", rows)
    assert read_json(tmp_path / "h.json") == [
        {"epoch": 0, "loss": 0.333333, "val_map50": None},
        {"epoch": 1, "loss": 0.5, "val_map50": 2.0},
    ]
    columns = read_table(tmp_path / "h.parquet", history_schema(["loss", "val_map50"]))
    assert columns["loss"].tolist() == [1 / 3, 0.5]
    assert np.isnan(columns["val_map50"][0])


def write_instances(path: Path, records: list[ImageRecord]) -> Path:
    rng = np.random.default_rng(0)
    with TableWriter(path, INSTANCES) as writer:
        for entry in records:
            masks = [rng.random((9, 12)) < 0.3 for _ in range(2)]
            writer.append_rows(instance_rows(entry, masks, [1, 2], scores=[0.5, 0.25], is_crowd=[False, True]))
    return path


def test_coco_annotations_load_in_pycocotools(tmp_path: Path) -> None:
    records = [record(0, "a"), record(1, "b"), record(2, "without_objects")]
    instances = write_instances(tmp_path / "i.parquet", records[:2])
    write_coco(tmp_path / "a.json", instances, images=records, categories=CATEGORIES)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(tmp_path / "a.json")
    assert coco.getImgIds() == [1, 2, 3]
    assert coco.loadImgs(3)[0]["file_name"] == "train2017/without_objects.jpg"
    assert coco.getCatIds() == [1, 38]
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=2))
    assert [(a["category_id"], a["iscrowd"], a["score"]) for a in annotations] == [(1, 0, 0.5), (38, 1, 0.25)]
    assert all(coco.annToRLE(a)["size"] == [9, 12] and a["area"] > 0 for a in annotations)
    columns = read_table(instances, INSTANCES)
    assert [a["segmentation"]["counts"] for a in coco.dataset["annotations"]] == columns["rle"].tolist()


def test_image_numbers_are_cocos_own_or_count_rows() -> None:
    assert coco_image_ids([record(0, "000000000139"), record(1, "000000000285")]) == {0: 139, 1: 285}
    assert coco_image_ids([record(4, "2007_000033"), record(9, "2007_000039")]) == {4: 2007000033, 9: 2007000039}
    assert coco_image_ids([record(4, "cow"), record(9, "cat_2")]) == {4: 5, 9: 10}
    assert coco_image_ids([record(4, "1" * 16), record(9, "2")]) == {4: 5, 9: 10}
    assert coco_image_ids([record(0, "7"), record(1, "07")]) == {0: 1, 1: 2}


def test_instances_of_other_images_or_categories_are_refused(tmp_path: Path) -> None:
    instances = write_instances(tmp_path / "i.parquet", [record(0, "a"), record(1, "b")])
    with pytest.raises(InputError, match=r"i\.parquet has the image b in row 1"):
        write_coco(tmp_path / "a.json", instances, images=[record(0, "a")], categories=CATEGORIES)
    with pytest.raises(InputError, match=r"i\.parquet has the image a in row 0"):
        write_coco(tmp_path / "a.json", instances, images=[record(0, "z")], categories=CATEGORIES)
    with pytest.raises(InputError, match=r"i\.parquet has the category_id 2"):
        write_coco(tmp_path / "a.json", instances, images=[record(0, "a"), record(1, "b")], categories=CATEGORIES[:1])
    assert not (tmp_path / "a.json").exists()


def numbered(row: int, image_id: str, source_id: int | None) -> ImageRecord:
    return dataclasses.replace(record(row, image_id), source_id=source_id)


def test_the_number_that_the_data_set_gives_comes_before_the_digits_of_a_name() -> None:
    frames = [numbered(0, "frame_000000", 1), numbered(1, "frame_000001", 2)]
    assert coco_image_ids(frames) == {0: 1, 1: 2}
    assert coco_image_ids([numbered(3, "a", 0), numbered(7, "b", -4)]) == {3: 0, 7: -4}


def test_images_without_a_number_are_counted_on_from_the_largest() -> None:
    mixed = [numbered(0, "a", 10), numbered(1, "b", None), numbered(2, "c", 3), numbered(3, "d", None)]
    assert coco_image_ids(mixed) == {0: 10, 1: 12, 2: 3, 3: 14}


def test_a_number_of_two_images_is_refused_with_both_names() -> None:
    with pytest.raises(InputError, match=r"images a and c the same number, 3\. Take one split at a time, with --split"):
        coco_image_ids([numbered(0, "a", 3), numbered(1, "b", 4), numbered(2, "c", 3)])


def test_numbers_of_a_hundred_thousand_images_take_no_time() -> None:
    many = [numbered(row, str(row), None if row % 7 else row) for row in range(100_000)]
    begun = time.process_time()
    assert len(set(coco_image_ids(many).values())) == 100_000
    assert time.process_time() - begun < 10

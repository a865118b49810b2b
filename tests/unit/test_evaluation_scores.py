"""Scores of tables, on a case that is small enough to compute by hand."""

from pathlib import Path

import numpy as np
import pytest

from bestie.artifacts.image_index import read_images, write_images
from bestie.artifacts.instances import instance_rows
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter
from bestie.errors import InputError
from bestie.evaluation import scores as scores_module
from bestie.evaluation.scores import (
    curve_rows,
    evolution_rows,
    mask_table,
    per_class_rows,
    score_instances,
    score_label_tables,
    score_labels,
    size_edges_px,
    size_rows,
)
from bestie.metrics.masks import MaskTable, measure_overlaps
from bestie.metrics.voc_scores import SIZE_EDGES_PX
from bestie.records import Category, ImageRecord

RECORDS = [ImageRecord(row, f"i{row}", "val", f"{row}.jpg", 20, 20, "0" * 64, (1,)) for row in range(2)]
CATEGORIES = [Category(1, "cat", 1), Category(2, "dog", 2)]
INDEX = {record.row: record for record in RECORDS}
THRESHOLDS = (0.25, 0.5, 0.75)


def block(top: int, left: int, height: int = 10, width: int = 10) -> np.ndarray:
    mask = np.zeros((20, 20), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def rows_of(row: int, *instances: tuple[np.ndarray, int, float]) -> list[dict]:
    masks, categories, scores = zip(*instances, strict=True)
    return instance_rows(RECORDS[row], masks, categories, scores=scores)


def truth_rows() -> list[dict]:
    """Two cats in image 0, a cat in image 1; no dog anywhere."""
    return rows_of(0, (block(0, 0), 1, 1), (block(10, 10), 1, 1)) + rows_of(1, (block(0, 0), 1, 1))


def found_rows() -> list[dict]:
    """By score: right, wrong, right with an IoU of 0.6; the cat of image 1 is missed."""
    return rows_of(
        0, (block(0, 0), 1, 0.9), (block(0, 10), 1, 0.8), (block(10, 10, 6, 10), 1, 0.7), (block(10, 0), 2, 0.95)
    )


def scored() -> tuple:
    truth, found = mask_table(truth_rows(), INDEX), mask_table(found_rows(), INDEX)
    return score_instances(truth, found, records=RECORDS, num_classes=2, iou_thresholds=THRESHOLDS)


def test_average_precision_is_what_the_hand_says():
    scores, _ = scored()
    # Recall 1/3 at precision 1, then 2/3 at precision 2/3; beyond IoU 0.6 the third detection is wrong.
    assert scores["map25"] == scores["map50"] == pytest.approx(100 * (1 / 3 + 2 / 9))
    assert scores["map75"] == pytest.approx(100 / 3)
    assert scores["instances"] == 4
    assert scores["coco_ap50"] == pytest.approx(56, abs=1)
    assert 0 < scores["coco_ap"] < scores["coco_ap50"]


def test_classes_without_true_instances_have_no_score():
    _, voc = scored()
    rows = per_class_rows({"bestie": voc}, CATEGORIES)
    assert [(row["model"], row["class"], row["true_instances"]) for row in rows] == [
        ("bestie", "cat", 3),
        ("bestie", "dog", 0),
    ]
    assert rows[0]["ap50"] == pytest.approx(100 * 5 / 9)
    assert np.isnan(rows[1]["ap50"])


def test_curves_fall_from_recall_to_recall_and_enclose_the_average_precision():
    scores, voc = scored()
    rows = curve_rows({"bestie": voc}, threshold=0.5)
    precision = np.array([row["precision"] for row in rows])
    assert [row["recall"] for row in rows] == pytest.approx(np.linspace(0, 1, 101))
    assert (np.diff(precision) <= 0).all()
    assert precision[0] == 1
    assert precision[-1] == 0
    assert 100 * precision.mean() == pytest.approx(scores["map50"], abs=1)


def test_no_true_instance_draws_no_curve():
    empty = mask_table([], INDEX)
    _, voc = score_instances(
        empty, mask_table(found_rows(), INDEX), records=RECORDS, num_classes=2, iou_thresholds=THRESHOLDS
    )
    assert curve_rows({"bestie": voc}, threshold=0.5) == []


def test_labels_are_counted():
    counted = score_labels(mask_table(truth_rows(), INDEX), mask_table(found_rows(), INDEX), num_classes=2)
    assert counted == {
        "true_positives": 2,
        "labels": 4,
        "true_instances": 3,
        "precision": 0.5,
        "recall": pytest.approx(2 / 3),
    }


@pytest.mark.parametrize("at_once", [1, 3])
def test_labels_of_some_images_at_a_time_have_the_scores_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
):
    monkeypatch.setattr(scores_module, "IMAGES_AT_ONCE", at_once)
    without_truth = ImageRecord(2, "i2", "val", "2.jpg", 20, 20, "0" * 64, (1,))
    write_images(tmp_path / "images.parquet", [*RECORDS, without_truth])
    labels = [
        *found_rows(),
        *instance_rows(RECORDS[1], [block(0, 0)], [1]),
        *instance_rows(without_truth, [block(0, 0)], [1]),
    ]
    for name, rows in (("truth.parquet", truth_rows()), ("labels.parquet", labels), ("none.parquet", [])):
        with TableWriter(tmp_path / name, INSTANCES) as table:
            table.append_rows(rows)
    tables = {"some": tmp_path / "labels.parquet", "none": tmp_path / "none.parquet"}
    scores = score_label_tables(
        tmp_path / "truth.parquet", tables, read_images(tmp_path / "images.parquet"), num_classes=2
    )
    assert scores["some"] == {
        "true_positives": 3,
        "labels": 5,
        "true_instances": 3,
        "precision": pytest.approx(0.6),
        "recall": pytest.approx(1),
    }
    assert (scores["none"]["true_positives"], scores["none"]["labels"], scores["none"]["recall"]) == (0, 0, 0)


def test_rows_of_other_images_are_left_out():
    assert len(mask_table(truth_rows(), {0: RECORDS[0]})) == 2


def test_instances_of_another_index_are_refused():
    other = {0: RECORDS[1], 1: RECORDS[0]}
    with pytest.raises(InputError, match="instances of image 'i0' stand in row 0, which is that of 'i1'"):
        mask_table(truth_rows(), other)


def test_snapshots_are_scored_by_epoch_and_kind():
    snapshots = [{**row, "epoch": 2, "kind": "refined"} for row in found_rows()]
    snapshots += [{**row, "epoch": 1, "kind": "refined"} for row in truth_rows()]
    snapshots += [{**row, "epoch": 2, "kind": "detected"} for row in truth_rows()]
    rows = evolution_rows(snapshots, mask_table(truth_rows(), INDEX), RECORDS, num_classes=2)
    assert [(row["epoch"], row["kind"], row["instances"]) for row in rows] == [
        (1, "refined", 3),
        (2, "detected", 3),
        (2, "refined", 4),
    ]
    assert [row.get("true_positives") for row in rows] == [3, None, 2]
    assert rows[1]["map50"] == pytest.approx(100)


def squares(*sides: int) -> MaskTable:
    """True squares, one an image of 200 px, of class 1."""
    records = [ImageRecord(row, f"i{row}", "val", "", 200, 200, "", (1,)) for row in range(len(sides))]
    rows = []
    for record, side in zip(records, sides, strict=True):
        mask = np.zeros((200, 200), bool)
        mask[:side, :side] = True
        rows += instance_rows(record, [mask], [1])
    return mask_table(rows, {record.row: record for record in records})


def test_sizes_are_cocos_where_each_occurs_often_enough():
    assert size_edges_px(squares(10, 50, 120)) == SIZE_EDGES_PX
    assert size_edges_px(squares()) == SIZE_EDGES_PX


def test_sizes_are_thirds_of_the_objects_where_one_of_cocos_hardly_occurs():
    first, second = size_edges_px(squares(*range(1, 31)))
    areas = np.arange(1, 31) ** 2
    assert (areas < first).sum() == pytest.approx(10, abs=1)
    assert (areas >= second).sum() == pytest.approx(10, abs=1)


def test_each_size_has_its_score_and_its_limits():
    truth = squares(10, 50, 120)
    found = MaskTable(truth.row[1:], truth.category_id[1:], truth.score[1:], truth.rle[1:], truth.is_crowd[1:])
    rows = size_rows("a", truth, found, measure_overlaps(truth, found), num_classes=1, threshold=0.5)
    assert [(row["size"], row["from_px"], row["below_px"]) for row in rows] == [
        ("small", 0, 1024),
        ("medium", 1024, 9216),
        ("large", 9216, None),
    ]
    assert [(row["true_instances"], row["map"]) for row in rows] == [(1, 0), (1, 100), (1, 100)]
    assert {row["model"] for row in rows} == {"a"}

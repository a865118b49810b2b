"""Which images the contact sheet shows."""

from pathlib import Path

import pyarrow.parquet as pq

from bestie.evaluation.sheet import _spaced, pick_images


def test_the_sheet_shows_labeled_training_images_and_validation_images(finished_run: Path):
    labeled = set(pq.read_table("data/make_pseudo_labels/instances.parquet")["row"].to_pylist())
    train, validation = pick_images(6)
    assert len(train) == min(3, len(labeled))
    assert {record.row for record in train} <= labeled
    assert [record.split for record in validation] == ["val"] * 3
    assert validation[0].row == 24
    assert validation[-1].row == 31


def test_a_small_sheet_has_one_of_each(finished_run: Path):
    assert [len(records) for records in pick_images(1)] == [1, 1]


def test_no_more_images_than_there_are(finished_run: Path):
    assert len(pick_images(100)[1]) == 8
    assert _spaced([], 3) == []

"""Which images the contact sheet shows."""

from pathlib import Path

import pyarrow.parquet as pq

from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, read_categories
from bestie.evaluation.sheet import _spaced, _validation_page, pick_images
from bestie.params.params_yaml import load_params


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


def test_the_validation_page_has_pairs_and_no_truth_where_there_is_none(workspace: Path):
    dataset = load_params(Path("params.yaml")).dataset
    _, validation = pick_images(10)
    names = [category.name for category in read_categories(Path("data/prepare/categories.parquet"))]
    page = _validation_page(dataset, validation[:5], names, 0.3)
    assert page.headers == ("image", "BESTIE", "Mask R-CNN", "truth") * 2
    assert [len(pictures) for _, pictures in page.rows] == [8, 8]
    assert all(picture is not None for _, pictures in page.rows for picture in pictures)
    with TableWriter(Path("data/prepare/ground_truth.parquet"), INSTANCES):
        pass
    page = _validation_page(dataset, validation[:1], names, None)
    assert page.headers == ("image", "BESTIE", "Mask R-CNN")
    assert [len(pictures) for _, pictures in page.rows] == [3]

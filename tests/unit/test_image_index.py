"""An index of images is a sequence of records that keeps only its columns."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bestie.artifacts import image_index
from bestie.artifacts.image_index import ImageIndex, read_images, write_images
from bestie.records import ImageRecord


def record(row: int, *, side: int = 7) -> ImageRecord:
    split = "val" if row % 3 == 2 else "train"  # the splits take turns
    number = None if row % 2 else 100 - row
    return ImageRecord(row, f"é{row}", split, f"a/{row}.png", side, side + row, f"{row:064}", (1, 2 + row), number, 1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ImageIndex:
    path = tmp_path_factory.mktemp("index") / "images.parquet"
    write_images(path, map(record, range(11)))
    return read_images(path)


RECORDS = [record(row) for row in range(11)]
places = st.integers(-13, 13) | st.none()


def test_it_equals_the_records_that_were_written(index: ImageIndex, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image_index, "STREAM_ROWS", 4)  # the last piece is not full
    assert list(index) == RECORDS
    assert [index[place] for place in range(-11, 11)] == [RECORDS[place] for place in range(-11, 11)]
    assert RECORDS[3] in index
    with pytest.raises(IndexError):
        index[11]


@given(cut=st.builds(slice, places, places, st.integers(1, 3)), first=st.integers(0, 11), more=st.integers(0, 11))
def test_its_parts_are_those_of_a_list(index: ImageIndex, cut: slice, first: int, more: int):
    rows = range(first, first + more)
    chosen, expected = index[cut], RECORDS[cut]
    assert list(chosen) == expected
    assert list(chosen.within(rows)) == [each for each in expected if each.row in rows]
    assert list(chosen.among({first, more})) == [each for each in expected if each.row in {first, more}]
    assert list(chosen.of_split("val")) == [each for each in expected if each.split == "val"]
    assert chosen.rows.tolist() == [each.row for each in expected]
    assert chosen.sizes_hw.tolist() == [[each.height, each.width] for each in expected]


def test_an_empty_index_has_no_images(tmp_path: Path):
    write_images(tmp_path / "images.parquet", [])
    empty = read_images(tmp_path / "images.parquet")
    assert (len(empty), list(empty), list(empty.of_split("train"))) == (0, [], [])
    assert empty.sizes_hw.shape == (0, 2)
    assert empty.rows.dtype == np.int64

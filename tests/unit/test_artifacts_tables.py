"""Tables: what is written is read back, streamed, and a wrong file is named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bestie.artifacts import tables
from bestie.artifacts.image_index import read_images, write_images
from bestie.artifacts.schemas import (
    CATEGORIES,
    COMPONENTS,
    CUES,
    EVOLUTION,
    IMAGES,
    INSTANCES,
    WSSS_SUMMARY,
    history_schema,
)
from bestie.artifacts.tables import (
    TableWriter,
    iter_images,
    iter_rows,
    read_categories,
    read_class_pixels,
    read_table,
    write_categories,
)
from bestie.errors import InputError
from bestie.records import Category, ImageRecord


def cue(row: int) -> dict:
    return {"image_id": f"i{row}", "row": row, "category_id": 1, "y": 0.5, "x": 2.0, "score": 1.0}


def write_cues(path: Path, rows: list[int]) -> Path:
    with TableWriter(path, CUES) as writer:
        writer.append_rows(cue(row) for row in rows)
    return path


@pytest.mark.parametrize(
    "schema",
    [IMAGES, CATEGORIES, INSTANCES, EVOLUTION, CUES, COMPONENTS, WSSS_SUMMARY, history_schema(["a"])],
)
def test_a_table_without_rows_has_its_columns(tmp_path: Path, schema: pa.Schema) -> None:
    with TableWriter(tmp_path / "t.parquet", schema):
        pass
    columns = read_table(tmp_path / "t.parquet", schema)
    assert list(columns) == schema.names
    assert all(len(values) == 0 for values in columns.values())


def test_columns_have_plain_numpy_types_and_can_be_written_to(tmp_path: Path) -> None:
    row = {
        "image_id": "a",
        "row": 0,
        "component_id": 1,
        "category_id": 3,
        "area_px": 9,
        "bbox_xywh": [1.0, 2.0, 3.0, 4.0],
        "n_cues": 0,
        "status": "no_cue",
        "instance_id": 0,
    }
    with TableWriter(tmp_path / "t.parquet", COMPONENTS) as writer:
        writer.append_rows([row, row])
    columns = read_table(tmp_path / "t.parquet", COMPONENTS)
    assert columns["bbox_xywh"].dtype == np.float32
    assert columns["bbox_xywh"].tolist() == [[1, 2, 3, 4]] * 2
    assert columns["row"].dtype == np.int32
    assert columns["status"].tolist() == ["no_cue", "no_cue"]
    assert all(values.flags.writeable for values in columns.values())


def test_rows_give_the_same_bytes_however_they_are_grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 4)
    write_cues(tmp_path / "rows.parquet", list(range(10)))
    with TableWriter(tmp_path / "parts.parquet", CUES) as writer:
        for start, stop in ((0, 7), (7, 9)):
            writer.append_rows(cue(row) for row in range(start, stop))
        writer.append(cue(9))
    data = (tmp_path / "rows.parquet").read_bytes()
    assert data == (tmp_path / "parts.parquet").read_bytes()
    metadata = pq.read_metadata(tmp_path / "rows.parquet")
    assert [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)] == [4, 4, 2]


def test_where_selects_by_value_and_by_membership(tmp_path: Path) -> None:
    path = write_cues(tmp_path / "t.parquet", [0, 1, 1, 2])
    assert read_table(path, CUES, ["x"], {"row": 1})["x"].tolist() == [2, 2]
    assert read_table(path, CUES, ["row"], {"image_id": {"i0", "i2"}, "category_id": 1})["row"].tolist() == [
        0,
        2,
    ]
    assert len(read_table(path, CUES, where={"row": np.array([], int)})["row"]) == 0
    with pytest.raises(ValueError, match="nope"):
        read_table(path, CUES, where={"nope": 1})
    with pytest.raises(ValueError, match="nope"):
        read_table(path, CUES, ["nope"])


def test_images_are_streamed_whole_across_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 4)
    monkeypatch.setattr(tables, "STREAM_ROWS", 2)
    rows = [0, 1, 1, 1, 1, 1, 4, 7, 7]
    path = write_cues(tmp_path / "t.parquet", rows)
    found = [(row, columns["row"].tolist()) for row, columns in iter_images(path, CUES)]
    assert found == [(0, [0]), (1, [1] * 5), (4, [4]), (7, [7] * 2)]
    assert [list(columns) for _, columns in iter_images(path, CUES, ["x"])] == [["x"]] * 4
    assert list(iter_images(write_cues(tmp_path / "e.parquet", []), CUES)) == []


def test_images_out_of_order_are_refused(tmp_path: Path) -> None:
    path = write_cues(tmp_path / "t.parquet", [0, 2, 1])
    with pytest.raises(InputError, match=r"t\.parquet is not ordered by its column row"):
        list(iter_images(path, CUES))


def test_instances_that_evolve_read_as_instances(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "t.parquet", EVOLUTION):
        pass
    assert list(read_table(tmp_path / "t.parquet", INSTANCES)) == INSTANCES.names


def test_a_wrong_row_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    changes = ({"extra": 1}, {"row": "text"}, {"row": 2**40}, {"image_id": None})
    for bad in ({"image_id": "a"}, *(cue(0) | change for change in changes)):
        with pytest.raises((ValueError, TypeError)), TableWriter(tmp_path / "t.parquet", CUES) as writer:
            writer.append(bad)
        assert not list(tmp_path.iterdir())


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.parquet does not exist"):
        read_table(tmp_path / "absent.parquet", CUES)
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(InputError, match=r"text\.parquet is no readable Parquet file"):
        list(iter_rows(tmp_path / "text.parquet", CUES))
    path = write_cues(tmp_path / "cues.parquet", [0])
    with pytest.raises(InputError, match=r"cues\.parquet has no column instance_id"):
        read_table(path, INSTANCES)
    with pytest.raises(InputError, match=r"cues\.parquet has float, not double, in its column score"):
        read_table(path, history_schema(["score"]).remove(0))


def test_images_and_categories_come_back_as_records(tmp_path: Path) -> None:
    images = [
        ImageRecord(k, f"i{k}", "val" if k else "train", f"a/{k}.jpg", 3, 4, "00", (1, 2) if k else ())
        for k in range(3)
    ]
    categories = [Category(1, "cat", 17), Category(2, "dog", 18)]
    write_images(tmp_path / "images.parquet", images)
    write_categories(tmp_path / "categories.parquet", categories)
    assert list(read_images(tmp_path / "images.parquet")) == images
    assert list(read_images(tmp_path / "images.parquet", split="val")) == images[1:]
    assert read_categories(tmp_path / "categories.parquet") == categories


def test_rows_and_categories_must_count_up(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 1 and comes as row 0"):
        write_images(tmp_path / "t", [ImageRecord(1, "a", "val", "a.jpg", 3, 4, "00", ())])
    with pytest.raises(ValueError, match="cat has id 2, not 1"):
        write_categories(tmp_path / "t", [Category(2, "cat", 2)])


def test_pixels_of_the_classes_are_summed_over_the_maps(tmp_path: Path):
    with TableWriter(tmp_path / "summary.parquet", WSSS_SUMMARY) as writer:
        for row, (background, *classes) in enumerate([(70, 20, 0, 5), (10, 0, 3, 60)]):
            writer.append(
                {
                    "image_id": f"i{row}",
                    "row": row,
                    "category_px": classes,
                    "background_px": background,
                    "void_px": 7,
                    "sha256": "00",
                }
            )
    assert read_class_pixels(tmp_path / "summary.parquet").tolist() == [80, 20, 3, 65]


def test_a_list_that_holds_nothing_where_a_label_should_be_is_refused(tmp_path: Path):
    path = tmp_path / "images.parquet"
    row = {"row": 0, "image_id": "a", "split": "train", "path": "a.png", "height": 6, "width": 8, "sha256": "0" * 64}
    pq.write_table(pa.Table.from_pylist([{**row, "labels": [1, None]}], schema=IMAGES), path)
    with pytest.raises(InputError, match=r"images\.parquet has no value in some rows of its column labels"):
        read_images(path)


def test_an_index_from_before_images_had_numbers_is_read_and_its_images_are_upright(tmp_path: Path) -> None:
    records = [ImageRecord(0, "a", "train", "a.jpg", 3, 4, "00", (1,), source_id=7, orientation=6)]
    write_images(tmp_path / "new.parquet", records)
    assert list(read_images(tmp_path / "new.parquet")) == records
    pq.write_table(pq.read_table(tmp_path / "new.parquet").drop(["source_id", "orientation"]), tmp_path / "old.parquet")
    (found,) = read_images(tmp_path / "old.parquet")
    assert (found.source_id, found.orientation) == (None, 1)
    pq.write_table(pq.read_table(tmp_path / "new.parquet").drop(["sha256"]), tmp_path / "no.parquet")
    with pytest.raises(InputError, match=r"no\.parquet has no column sha256"):
        read_images(tmp_path / "no.parquet")

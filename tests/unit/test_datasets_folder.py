"""A folder of images with a label table: CSV and Parquet, splits, points and masks, every mistake by its line."""

import copy
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bestie.datasets.base import DataSet
from bestie.datasets.folder import FolderDataSet
from bestie.datasets.image_reading import read_image
from bestie.datasets.label_table import unread_columns
from bestie.errors import InputError
from bestie.params.dataset import Dataset
from bestie.params.prepare import Prepare
from bestie.records import Category, Point
from bestie.runtime.settings import load_settings
from stages.prepare import main as prepare

HEIGHT, WIDTH = 6, 8
TABLE = "file,labels,split\na.jpg,cat; dog,train\nsub/a.png,dog,train\nc.jpg,,val\n"
POINTS = "file,x,y,label\na.jpg,1,2,cat\na.jpg,3.5,4,dog\nsub/a.png,0,0,dog\n"
MASKS: dict[str, Any] = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 2, "file_name": "c.jpg", "height": HEIGHT, "width": WIDTH},
    ],
    "categories": [{"id": 70, "name": "dog"}, {"id": 80, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 80, "iscrowd": 0, "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.jpg", "sub/a.png", "c.jpg"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "points.csv").write_text(POINTS, encoding="utf-8")
    (tmp_path / "masks.json").write_text(json.dumps(MASKS), encoding="utf-8")
    return tmp_path


def read(folder: Path, name: str = "labels.csv", **options: Any) -> FolderDataSet:
    return FolderDataSet(folder, labels=folder / name, **options)


def test_it_is_a_data_set(folder: Path):
    assert isinstance(read(folder), DataSet)


def test_records_hold_paths_sizes_and_labels(folder: Path):
    data_set = read(folder)
    assert data_set.categories == (Category(1, "cat", 1), Category(2, "dog", 2))
    assert (data_set.samples("train"), data_set.samples("val")) == (("a", "sub/a"), ("c",))
    records = [data_set.record(name, row=row, split="train") for row, name in enumerate(("a", "sub/a", "c"))]
    assert [(r.image_id, r.path, r.labels) for r in records] == [
        ("a", "a.jpg", (1, 2)),
        ("sub/a", "sub/a.png", (2,)),
        ("c", "c.jpg", ()),
    ]
    assert read_image(folder, records[1]).shape == (HEIGHT, WIDTH, 3)


def test_parquet_says_the_same_with_lists_or_with_text(folder: Path):
    expected = [read(folder).record(name, row=0, split="train") for name in ("a", "sub/a", "c")]
    files, splits = ["a.jpg", "sub/a.png", "c.jpg"], ["train", "train", "val"]
    for number, labels in enumerate(([["cat", "dog"], ["dog"], []], ["cat;dog", "dog", None])):
        path = folder / f"labels_{number}.parquet"
        pq.write_table(pa.table({"file": files, "labels": labels, "split": splits, "further": [1, 2, 3]}), path)
        data_set = read(folder, path.name)
        assert [data_set.record(name, row=0, split="train") for name in ("a", "sub/a", "c")] == expected
        assert data_set.samples("val") == ("c",)


def test_a_table_from_a_spreadsheet_is_read(folder: Path):
    text = '\ufeffname, labels, file\r\nx, "cat; dog", a.jpg\r\n\r\ny, dog, sub/a.png\r\n'
    (folder / "labels.csv").write_text(text, encoding="utf-8", newline="")
    data_set = read(folder)
    assert [data_set.record(name, row=0, split="train").labels for name in data_set.samples("train")] == [(1, 2), (2,)]


@pytest.mark.parametrize(
    "column",
    [
        ("\"['cat', 'dog']\"", "['dog']", "[]"),
        ('"cat,dog"', "dog", "NaN"),
        ("cat\u200b; dog", "dog", "none"),
    ],
)
def test_labels_as_other_tools_write_them(folder: Path, column: tuple[str, ...]):
    expected = [read(folder).record(image, row=0, split="train").labels for image in ("a", "sub/a", "c")]
    files, splits = ("a.jpg", "sub/a.png", "c.jpg"), ("train", "train", "val")
    lines = [f"{file},{cell},{split}\n" for file, cell, split in zip(files, column, splits, strict=True)]
    known = "cat;dog" if "cat,dog" in column[0] else ""
    extra = f"extra.jpg,{known},test\n" if known else ""
    (folder / "labels.csv").write_text("file,labels,split\n" + "".join(lines) + extra, encoding="utf-8")
    found = read(folder)
    assert [category.name for category in found.categories] == ["cat", "dog"]
    assert [found.record(image, row=0, split="train").labels for image in ("a", "sub/a", "c")] == expected


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (TABLE.replace("\n", "\r\n"), "utf-8-sig"),
        (TABLE.replace("\n", "\r"), "utf-8"),
        (TABLE.replace(",", "\t").replace("\n", "\r\n"), "utf-16"),
        (TABLE.replace(",", "\t"), "utf-8"),
        ('file;labels;split\r\na.jpg;"cat; dog";train\r\nsub/a.png;"dog";train\r\nc.jpg;"";val\r\n', "utf-8-sig"),
        (TABLE.replace(";", "|").replace(",", ";"), "utf-8"),
        (TABLE.replace(";", "|"), "utf-8"),
        (f"sep=,\r\n{TABLE}", "utf-8-sig"),
        ("sep=;\n" + TABLE.replace(";", "|").replace(",", ";"), "utf-8"),
        (TABLE.replace("file,labels,split", "File,LABELS,Split"), "utf-8"),
        ("file,labels,split\n\n" + TABLE.partition("\n")[2] + "\n,,\n", "utf-8"),
        (TABLE.replace("\n", ",,\n"), "utf-8"),
        (TABLE.replace("sub/", "sub\\"), "utf-8"),
        ("file,cat,dog,split\na.jpg,1,1,train\nsub/a.png,0,1,train\nc.jpg,0,0,val\n", "utf-8"),
        ("cat,file,dog,split\nTrue,a.jpg,1.0,train\nFalse,sub/a.png,1,train\n0,c.jpg,0.0,val\n", "utf-8"),
    ],
)
def test_a_table_as_other_programs_write_it(folder: Path, text: str, encoding: str):
    rows = [read(folder).record(image, row=0, split="train").labels for image in ("a", "sub/a", "c")]
    (folder / "labels.csv").write_bytes(text.encode(encoding))
    if "|" in text:  # what a bar joins must be a class elsewhere, too
        delimiter = ";" if ";" in text else ","
        extra = delimiter.join(("d.jpg", "cat", "test")) + "\n"
        (folder / "labels.csv").write_bytes((text + extra).encode(encoding))
    found = read(folder)
    assert [category.name for category in found.categories] == ["cat", "dog"]
    assert [found.record(image, row=0, split="train").labels for image in ("a", "sub/a", "c")] == rows
    assert (found.samples("train"), found.samples("val")) == (("a", "sub/a"), ("c",))


def test_a_line_after_one_that_names_the_separator_has_its_number_in_the_file(folder: Path):
    (folder / "labels.csv").write_text("sep=;\nfile;labels\na.jpg;cat\n;dog\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"labels.csv, line 4: '' is no path below"):
        read(folder)


def test_a_bar_in_a_name_that_no_other_row_explains_is_asked_about(folder: Path):
    (folder / "labels.csv").write_text("file,labels\na.jpg,cat|dog\nsub/a.png,dog\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2: 'cat\|dog' may be one class or several. Join several by semicolons"):
        read(folder)
    assert len(read(folder, categories=["cat|dog", "dog"]).categories) == 2


def test_part_of_the_images_is_for_validation_where_the_table_has_no_splits(folder: Path):
    names = [f"{number:03}.jpg" for number in range(200)]
    lines = [f"{name},{'cat' if number % 2 else 'dog'}" for number, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["file,labels", *lines]), encoding="utf-8")
    chosen = read(folder, val_fraction=0.2).samples("val")
    assert 25 <= len(chosen) <= 55
    assert set(read(folder, val_fraction=0.2).samples("train")) == {name[:-4] for name in names} - set(chosen)
    (folder / "labels.csv").write_text("\n".join(["file,labels", *lines[::-1][:150]]), encoding="utf-8")
    left = {line[:3] for line in lines[::-1][:150]}
    assert set(read(folder, val_fraction=0.2).samples("val")) == set(chosen) & left  # the same, whatever else there is
    assert read(folder).samples("val") == ()
    with pytest.raises(InputError, match=r"val_fraction: 1\.0 leaves no image for training"):
        read(folder, val_fraction=1.0)
    (folder / "labels.csv").write_text(TABLE, encoding="utf-8")
    with pytest.raises(InputError, match=r"labels\.csv has a column split already"):
        read(folder, val_fraction=0.2)


def test_commas_in_a_text_of_parquet_join_names_too(folder: Path):
    table = {"file": ["a.jpg", "sub/a.png", "c.jpg"], "labels": ["cat,dog", "dog", "cat"]}
    pq.write_table(pa.table(table), folder / "labels.parquet")
    assert [category.name for category in read(folder, "labels.parquet").categories] == ["cat", "dog"]


def test_names_that_look_alike_are_refused_unless_they_are_given(folder: Path):
    table = TABLE.replace("sub/a.png,dog", "sub/a.png,Dog")
    (folder / "labels.csv").write_text(table, encoding="utf-8")
    with pytest.raises(InputError, match=r"labels.csv, line 3: the classes 'dog' and 'Dog' differ only by upper"):
        read(folder)
    assert len(read(folder, categories=["cat", "dog", "Dog"]).categories) == 3


def test_points_and_masks_take_the_same_names(folder: Path):
    for name in ("labels.csv", "points.csv"):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("cat", "house  cat"), encoding="utf-8")
    masks = json.dumps(MASKS).replace('"cat"', '"house\u00a0cat"')
    (folder / "masks.json").write_text(masks, encoding="utf-8")
    found = read(folder, points=folder / "points.csv", annotations=folder / "masks.json")
    assert [category.name for category in found.categories] == ["dog", "house cat"]
    assert {point.category_id for point in found.points("a")} == {1, 2}
    truth = found.ground_truth("a")
    assert truth is not None
    assert [instance.category_id for instance in truth.instances] == [2]


def test_without_splits_every_image_is_for_training(folder: Path):
    (folder / "labels.csv").write_text("file,labels\na.jpg,cat\nc.jpg,\n", encoding="utf-8")
    data_set = read(folder)
    assert (data_set.samples("train"), data_set.samples("val")) == (("a", "c"), ())
    with pytest.raises(InputError, match="has no split 'test', only"):
        data_set.samples("test")


def test_other_names_of_splits_can_be_chosen_and_joined(folder: Path):
    text = "file,labels,split\na.jpg,cat,day\nsub/a.png,dog,night\nc.jpg,dog,unused\n"
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    data_set = read(folder, splits={"train": "day, night", "val": "none"})
    assert (data_set.samples("train"), data_set.samples("val")) == (("a", "sub/a"), ())
    assert data_set.other_splits == {"unused": 1}


def test_prepare_says_which_splits_are_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(folder)
    text = "file,labels,split\na.jpg,cat,train\nsub/a.png,dog,trian\nc.jpg,,test\n"
    Path("labels.csv").write_text(text, encoding="utf-8")
    prepare(Dataset(name="own", format="folder", root=folder), Prepare(), load_settings())
    assert (
        "prepare: 2 images of labels.csv are left out, since their split is neither train (prepare.train_list) nor "
        "val (prepare.val_list): test (1), trian (1)"
    ) in capsys.readouterr().err


def test_a_row_of_parquet_without_a_split_is_named(folder: Path):
    path = folder / "labels.parquet"
    pq.write_table(pa.table({"file": ["a.jpg", "c.jpg"], "labels": ["cat", "dog"], "split": ["train", None]}), path)
    with pytest.raises(InputError, match=r"labels.parquet, row 2: there is no split. Write train, or leave out"):
        read(folder, path.name)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_that_nothing_reads_are_known(folder: Path, suffix: str):
    path = folder / f"columns{suffix}"
    if suffix == ".csv":
        path.write_text("file, labels, splt ,note\na.jpg,cat,train,\n", encoding="utf-8")
    else:
        pq.write_table(pa.table({name: ["a"] for name in ("file", "labels", "splt", "note")}), path)
    assert unread_columns(path) == ("splt", "note")
    assert unread_columns(folder / "labels.csv") == ()


def test_given_categories_fix_the_numbers(folder: Path):
    data_set = read(folder, categories=["dog", "bird", "cat"])
    assert [category.name for category in data_set.categories] == ["dog", "bird", "cat"]
    assert data_set.record("a", row=0, split="train").labels == (1, 3)


def test_points_are_those_of_the_table(folder: Path):
    data_set = read(folder, points=folder / "points.csv")
    assert data_set.points("a") == (Point(1, y=2, x=1), Point(2, y=4, x=3.5))
    assert data_set.points("c") == ()
    with pytest.raises(InputError, match=r"has no points. Name their table in prepare.folder.points"):
        read(folder).points("a")


def test_masks_belong_to_their_class_name_and_unlisted_images_have_none(folder: Path):
    data_set = read(folder, annotations=folder / "masks.json")
    truth = data_set.ground_truth("a")
    assert truth is not None
    assert [(each.category_id, int(each.mask.sum())) for each in truth.instances] == [(1, 16)]
    assert np.unique(truth.semantic).tolist() == [0, 1]
    empty = data_set.ground_truth("c")
    assert empty is not None
    assert empty.instances == ()
    assert data_set.ground_truth("sub/a") is None
    assert read(folder).ground_truth("a") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file/labels\na.jpg/cat\n", r"labels.csv has the columns file/labels, but not file, labels. Name"),
        ("", r"labels.csv has the columns none, but not file, labels"),
        ("file,labels\n", "labels.csv names no image"),
        ("file,labels\na.jpg,\n", "labels.csv names no class"),
        ("file,labels\na.jpg,cat,dog\n", r"labels.csv, line 2 has another number of values than the header"),
        ("file,labels\na.jpg\n", r"labels.csv, line 2 has another number of values than the header"),
        ('file,labels\n"a.jpg,cat\n', "labels.csv is no readable CSV file"),
        ("file,labels\n/a.jpg,cat\n", r"labels.csv, line 2: '/a.jpg' is no path below the data set's folder"),
        ("file,labels\n../a.jpg,cat\n", r"labels.csv, line 2: '../a.jpg' is no path below"),
        ("file,labels\n,cat\n", r"labels.csv, line 2: '' is no path below"),
        ("file,labels\na.jpg,cat\na.png,dog\n", r"labels.csv, line 3: a.png is the image a, as a.jpg is \(.*line 2\)"),
        ("file,labels,split\na.jpg,cat,\n", "labels.csv, line 2: the split is ''"),
        ("file,labels,split\na.jpg,cat,test\n", "has no image of the split 'train', only of test"),
        # columns that may be no classes
        ("file,cat,dog\na.jpg,1,yes\n", "labels.csv, line 2: there is no column labels, and dog is 'yes'"),
        ("file,cat,dog\na.jpg,1,\n", "labels.csv, line 2: there is no column labels, and dog is ''"),
        ("file,label\na.jpg,1\n", "labels.csv has the columns file, label, but not labels"),
        ("file,label,fold\na.jpg,1,0\n", "labels.csv has the columns file, label, fold, but not labels"),
        ("file,cat\na.jpg,1\n", "labels.csv has the columns file, cat, but not labels"),
    ],
)
def test_a_wrong_label_table_is_named_with_its_line(folder: Path, text: str, message: str):
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read(folder)


def test_other_wrong_files_are_named(folder: Path):
    with pytest.raises(InputError, match=r"none\.csv does not exist. Put the table there"):
        read(folder, "none.csv")
    with pytest.raises(InputError, match=r"masks\.json is neither a \.csv nor a \.parquet file"):
        read(folder, "masks.json")
    (folder / "bad.parquet").write_text("no", encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.parquet is no readable Parquet file"):
        read(folder, "bad.parquet")
    pq.write_table(pa.table({"file": ["a.jpg"], "labels": [[1, 2]]}), folder / "numbers.parquet")
    with pytest.raises(InputError, match=r"numbers\.parquet, row 1: the labels '\[1, 2\]' are no class names"):
        read(folder, "numbers.parquet")
    (folder / "latin.csv").write_bytes("file,labels\na.jpg,bär\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.csv is no readable CSV file"):
        read(folder, "latin.csv")


def test_a_label_that_is_no_category_and_a_missing_image_are_named_with_their_line(folder: Path):
    with pytest.raises(InputError, match=r"labels.csv, line 2: 'dog' is no category of the data set"):
        read(folder, categories=["cat"])
    data_set = read(folder)
    (folder / "sub" / "a.png").unlink()
    with pytest.raises(InputError, match=r"labels.csv, line 3: .*sub/a.png does not exist. Add the image or remove"):
        data_set.record("sub/a", row=0, split="train")
    with pytest.raises(InputError, match="labels no image b"):
        data_set.record("b", row=0, split="train")


def test_one_split_cannot_be_both(folder: Path):
    with pytest.raises(InputError, match="both name the split 'train'"):
        read(folder, splits={"train": "train", "val": "val,train"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x,y\n", "points.csv has the columns file, x, y, but not label"),
        ("file,x,y,label\na.jpg,1,2,bird\n", r"points.csv, line 2: a.jpg is not labeled 'bird'"),
        ("file,x,y,label\na.jpg,1,,cat\n", r"points.csv, line 2: y is '', which is no number"),
        ("file,x,y,label\na.jpg,inf,1,cat\n", r"points.csv, line 2: x is 'inf', which is no number"),
        ("file,x,y,label\na.jpg,8,1,cat\n", r"points.csv, line 2: the point x=8, y=1 is outside the image of 8x6"),
        ("file,x,y,label\na.jpg,1,1,cat\n", r"points.csv has no point of the label 'dog' of a.jpg"),
    ],
)
def test_wrong_points_are_named_with_their_line(folder: Path, text: str, message: str):
    (folder / "points.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read(folder, points=folder / "points.csv").points("a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["categories"][1].update(name="bird"), r"masks.json, a.jpg: 'bird' is no category"),
        (lambda c: c["images"][0].update(height=7), r"a.jpg is 6x8 \(height x width\), but .*masks.json says 7x8"),
        (lambda c: c["images"][1].update(file_name="a.jpg"), "masks.json lists the image a.jpg twice"),
        (lambda c: c["annotations"][0].update(category_id=1), "annotation 1: there is no category 1"),
        (lambda c: [i.update(file_name=f"x/{i['file_name']}") for i in c["images"]], "none of the images of the label"),
    ],
)
def test_wrong_masks_are_named(folder: Path, change: Any, message: str):
    content = json.loads(json.dumps(MASKS))
    change(content)
    (folder / "masks.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read(folder, annotations=folder / "masks.json").ground_truth("a")


def test_a_missing_file_of_masks_is_named(folder: Path):
    with pytest.raises(InputError, match=r"none\.json does not exist. Put it there or correct its name in prepare"):
        read(folder, annotations=folder / "none.json")


def test_splits_may_be_written_with_capitals_and_in_full(folder: Path):
    text = "file,labels,split\na.jpg,cat,Training\nsub/a.png,dog,TRAIN\nc.jpg,dog,Valid\n"
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    data_set = read(folder)
    assert (data_set.samples("train"), data_set.samples("val")) == (("a", "sub/a"), ("c",))
    assert data_set.other_splits == {}
    assert read(folder, splits={"train": "train", "val": "Validation"}).samples("val") == ("c",)


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_accented_file_names_are_found_in_either_spelling(folder: Path, on_disk: str, in_table: str):
    stored, written = unicodedata.normalize(on_disk, "garçon.jpg"), unicodedata.normalize(in_table, "garçon.jpg")
    (folder / "a.jpg").rename(folder / stored)
    masks = copy.deepcopy(MASKS)
    masks["images"][0]["file_name"] = written
    for name, text in (("labels.csv", TABLE), ("points.csv", POINTS)):
        (folder / name).write_text(text.replace("\na.jpg", f"\n{written}"), encoding="utf-8")
    (folder / "masks.json").write_text(json.dumps(masks), encoding="utf-8")
    data_set = read(folder, points=folder / "points.csv", annotations=folder / "masks.json")
    image_id = data_set.samples("train")[0]
    record = data_set.record(image_id, row=0, split="train")
    assert (image_id, record.path) == (unicodedata.normalize("NFC", "garçon"), stored)
    assert read_image(folder, record).shape == (HEIGHT, WIDTH, 3)
    assert len(data_set.points(image_id)) == 2
    assert len(data_set.ground_truth(image_id).instances) == 1


def test_true_masks_give_images_their_number(folder: Path):
    data_set = read(folder, annotations=folder / "masks.json")
    numbers = [data_set.record(name, row=0, split="train").source_id for name in ("a", "sub/a", "c")]
    assert numbers == [1, None, 2]


def test_boxes_among_the_true_masks_are_counted(folder: Path):
    masks = copy.deepcopy(MASKS)
    masks["annotations"][0]["segmentation"] = []
    (folder / "masks.json").write_text(json.dumps(masks), encoding="utf-8")
    data_set = read(folder, annotations=folder / "masks.json")
    assert data_set.without_masks == 1
    assert data_set.ground_truth("a") is None

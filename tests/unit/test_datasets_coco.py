"""COCO: gaps in its ids closed, polygons, crowds and empty images kept, mistakes named by annotation."""

import contextlib
import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as reference
from pycocotools.coco import COCO

from bestie.artifacts.instances import encode_mask
from bestie.datasets.base import DataSet
from bestie.datasets.coco import CocoDataSet
from bestie.datasets.coco_results import read_results
from bestie.datasets.image_reading import read_image
from bestie.errors import InputError
from bestie.records import Category, Point

HEIGHT, WIDTH = 6, 8
SQUARE = [[1, 1, 5, 1, 5, 5, 1, 5]]
CONTENT: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "000000000007.jpg", "height": HEIGHT, "width": WIDTH},
        {"id": 5, "file_name": "000000000005.jpg", "height": HEIGHT, "width": WIDTH},
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 90, "iscrowd": 0, "segmentation": SQUARE},
        {
            "id": 2,
            "image_id": 7,
            "category_id": 3,
            "iscrowd": 1,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]},
        },
    ],
}


def write(root: Path, content: dict[str, Any], name: str = "val2017") -> CocoDataSet:
    (root / "annotations").mkdir(exist_ok=True)
    (root / name).mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{name}.json").write_text(json.dumps(content))
    for image in content["images"]:
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / name / image["file_name"])
    return CocoDataSet(root, {"val": name})


def test_it_is_a_data_set(tmp_path: Path) -> None:
    assert isinstance(write(tmp_path, CONTENT), DataSet)


def test_categories_close_the_gaps_and_keep_cocos_ids(tmp_path: Path) -> None:
    assert write(tmp_path, CONTENT).categories == (Category(1, "car", 3), Category(2, "toothbrush", 90))


def test_images_without_objects_are_kept_with_no_label(tmp_path: Path) -> None:
    data_set = write(tmp_path, CONTENT)
    assert data_set.samples("val") == ("000000000005", "000000000007")
    records = [data_set.record(k, row=n, split="val") for n, k in enumerate(data_set.samples("val"))]
    assert [record.labels for record in records] == [(), (1, 2)]
    assert records[1].path == "val2017/000000000007.jpg"
    assert read_image(tmp_path, records[0]).shape == (HEIGHT, WIDTH, 3)
    truth = data_set.ground_truth("000000000005")
    assert truth.instances == ()
    assert not truth.semantic.any()


def test_small_objects_lie_on_large_ones_in_the_semantic_map(tmp_path: Path) -> None:
    truth = write(tmp_path, CONTENT).ground_truth("000000000007")
    assert [(i.category_id, int(i.mask.sum()), i.is_crowd) for i in truth.instances] == [
        (2, 16, False),
        (1, HEIGHT * WIDTH, True),
    ]
    assert np.array_equal(truth.semantic == 2, truth.instances[0].mask)
    assert (truth.semantic == 1).sum() == HEIGHT * WIDTH - 16


def test_compressed_counts_are_read_and_masks_without_pixels_left_out(tmp_path: Path) -> None:
    content = copy.deepcopy(CONTENT)
    mask = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 7 < 2
    counts = reference.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    content["annotations"][0]["segmentation"] = {"size": [HEIGHT, WIDTH], "counts": counts}
    content["annotations"][1]["segmentation"]["counts"] = [HEIGHT * WIDTH]
    (instance,) = write(tmp_path, content).ground_truth("000000000007").instances
    assert np.array_equal(instance.mask, mask)


def test_points_are_read_where_somebody_made_them(tmp_path: Path) -> None:
    data_set = write(tmp_path, CONTENT)
    with pytest.raises(InputError, match=r"Center_points/000000000007\.txt does not exist"):
        data_set.points("000000000007")
    (tmp_path / "Center_points").mkdir()
    (tmp_path / "Center_points" / "000000000007.txt").write_text("3 2 1 1.0")
    assert data_set.points("000000000007") == (Point(2, y=2.0, x=3.0, score=1.0),)


def every(entries: list[dict[str, Any]], change: Callable[[dict[str, Any]], object]) -> None:
    for entry in entries:
        change(entry)


def as_text(*keys: str) -> Callable[[dict[str, Any]], None]:
    return lambda entry: entry.update({key: str(entry[key]) for key in keys if key in entry})


@pytest.mark.parametrize(
    "change",
    [
        lambda content: every(content["annotations"], as_text("iscrowd")),
        lambda content: every(content["annotations"], lambda a: a.update(iscrowd=str(bool(a["iscrowd"])).lower())),
        lambda content: every(content["annotations"], lambda a: a.update(iscrowd=bool(a["iscrowd"]))),
        lambda content: every(content["annotations"], lambda a: a.update(iscrowd=a["iscrowd"] or None)),
        lambda content: content["annotations"][0].pop("iscrowd"),
        lambda content: every(content["annotations"], lambda a: a.pop("id")),
        lambda content: every(
            content["images"] + content["annotations"] + content["categories"],
            as_text("id", "image_id", "category_id", "height"),
        ),
        lambda content: every(content["annotations"], lambda a: a.update(category_id=float(a["category_id"]))),
        lambda content: every(content["images"], lambda i: i.update(height=float(HEIGHT), id=float(i["id"]))),
        lambda content: content["categories"].append(content["categories"][0]),
        lambda content: content["annotations"][0].update(segmentation=SQUARE[0]),
        lambda content: content["annotations"][0].update(segmentation=[str(value) for value in SQUARE[0]]),
        lambda content: content["annotations"][0].update(segmentation=[[str(value) for value in SQUARE[0]]]),
    ],
)
def test_numbers_are_read_as_other_tools_write_them(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    expected = write(tmp_path, CONTENT)
    content = copy.deepcopy(CONTENT)
    change(content)
    assert json.dumps(content) != json.dumps(CONTENT)
    path = tmp_path / "annotations/instances_val2017.json"
    path.write_text(json.dumps(content), encoding="utf-8-sig")
    found = CocoDataSet(tmp_path, {"val": "val2017"})
    assert found.categories == expected.categories
    assert found.samples("val") == expected.samples("val")
    for image_id in found.samples("val"):
        assert found.record(image_id, row=0, split="val") == expected.record(image_id, row=0, split="val")
        one, other = found.ground_truth(image_id), expected.ground_truth(image_id)
        np.testing.assert_array_equal(one.semantic, other.semantic)
        assert [each.is_crowd for each in one.instances] == [each.is_crowd for each in other.instances]
        assert [each.category_id for each in one.instances] == [each.category_id for each in other.instances]


@pytest.mark.parametrize(
    "written", ["val2017\\{}", "val2017/{}", "../../media/upload/4/{}", "/data/upload/{}", "C:\\x\\{}"]
)
def test_images_are_found_by_their_name_where_a_tool_wrote_another_path(tmp_path: Path, written: str) -> None:
    expected = write(tmp_path, CONTENT)
    content = copy.deepcopy(CONTENT)
    every(content["images"], lambda image: image.update(file_name=written.format(image["file_name"])))
    (tmp_path / "annotations/instances_val2017.json").write_text(json.dumps(content))
    found = CocoDataSet(tmp_path, {"val": "val2017"})
    assert found.samples("val") == expected.samples("val")
    for image_id in found.samples("val"):
        assert found.record(image_id, row=0, split="val") == expected.record(image_id, row=0, split="val")


def test_an_image_in_a_folder_is_that_one_and_no_other_of_its_name(tmp_path: Path) -> None:
    write(tmp_path, CONTENT)
    (tmp_path / "val2017/sub").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(tmp_path / "val2017/sub/000000000007.jpg")
    content = copy.deepcopy(CONTENT)
    content["images"][0]["file_name"] = "sub/000000000007.jpg"
    (tmp_path / "annotations/instances_val2017.json").write_text(json.dumps(content))
    found = CocoDataSet(tmp_path, {"val": "val2017"}).record("000000000007", row=0, split="val")
    assert found.path == "val2017/sub/000000000007.jpg"


def break_annotation(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["annotations"][0].update(changes)


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (break_annotation(category_id=4), "annotation 1: there is no category 4"),
        (break_annotation(segmentation=[[]]), "annotation 1: its segmentation is malformed"),
        (break_annotation(segmentation=[["a"] * 6]), "annotation 1: its segmentation is malformed"),
        (break_annotation(segmentation=[1.0, 2.0]), r"annotation 1: its segmentation is malformed \(a polygon of 2"),
        (break_annotation(segmentation={"size": [6, 8], "counts": [3]}), "annotation 1: its segmentation"),
        (
            break_annotation(segmentation={"size": [3, 4], "counts": [0, 12]}),
            r"annotation 1: its mask is \(3, 4\)",
        ),
        (
            break_annotation(image_id=8),
            "annotates the image 8, which it does not list. Add it to its images, or remove",
        ),
        (lambda content: content["images"][0].pop("width"), "has no width of the image 000000000007.jpg. Add it"),
        (lambda content: content["images"][0].update(file_name=".."), "the file_name '..' is no name of an image"),
        (lambda content: content["images"][0].update(file_name=7), "the file_name '7' is no name of an image"),
        (lambda content: content.pop("images"), "is not in COCO's format"),
        (lambda content: content["annotations"].append([]), "is not in COCO's format"),
        (break_annotation(iscrowd="maybe"), "annotation 1: iscrowd 'maybe' is neither 0 nor 1"),
        (break_annotation(iscrowd=2), "annotation 1: iscrowd '2' is neither 0 nor 1"),
        (break_annotation(image_id="b"), "is not in COCO's format"),
        (break_annotation(category_id=1.5), "is not in COCO's format"),
        (
            lambda content: content["images"][1].update(id=7),
            r"has the image 7 twice, as 000000000007.jpg and as 000000000005.jpg.*an id of its own",
        ),
        (
            lambda content: content["categories"].append({"id": 3, "name": "cart"}),
            "has the category 3 twice, as 'car' and as 'cart'",
        ),
        (lambda content: content["images"][1].update(file_name="b/000000000007.jpg"), "lists two images"),
    ],
)
def test_malformed_annotations_are_named(
    tmp_path: Path, breakage: Callable[[dict[str, Any]], None], message: str
) -> None:
    write(tmp_path, CONTENT)
    content = copy.deepcopy(CONTENT)
    breakage(content)
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"instances_val2017\.json.* {message}"):
        CocoDataSet(tmp_path, {"val": "val2017"}).ground_truth("000000000007")


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"instances_train2017\.json does not exist"):
        CocoDataSet(tmp_path)
    data_set = write(tmp_path, CONTENT)
    with pytest.raises(InputError, match="no split 'train', only"):
        data_set.samples("train")
    with pytest.raises(InputError, match="annotates no image 9"):
        data_set.ground_truth("9")
    Image.new("RGB", (3, 3)).save(tmp_path / "val2017" / "000000000007.jpg")
    with pytest.raises(InputError, match=r"000000000007\.jpg is 3x3 .* says 6x8"):
        data_set.record("000000000007", row=0, split="val")
    (tmp_path / "annotations" / "instances_val2017.json").write_text("{")
    with pytest.raises(InputError, match=r"instances_val2017\.json is no valid JSON"):
        CocoDataSet(tmp_path, {"val": "val2017"})


def test_splits_that_disagree_are_refused(tmp_path: Path) -> None:
    write(tmp_path, CONTENT)
    write(tmp_path, CONTENT, name="train2017")
    with pytest.raises(InputError, match=r"lists the image 000000000005 of another split"):
        CocoDataSet(tmp_path)
    write(tmp_path, {**CONTENT, "categories": CONTENT["categories"][:1]}, name="train2017")
    with pytest.raises(InputError, match="other categories than the other splits"):
        CocoDataSet(tmp_path)


def test_the_coco_subset_is_what_its_description_says(shared_dir: Path) -> None:
    coco = CocoDataSet(shared_dir / "data" / "coco")
    assert len(coco.categories) == 80
    assert coco.categories[-1] == Category(80, "toothbrush", 90)
    for split, n_images, n_instances in (("train", 48, 410), ("val", 32, 223)):
        truths = [coco.ground_truth(image_id) for image_id in coco.samples(split)]
        assert (len(truths), sum(len(truth.instances) for truth in truths)) == (n_images, n_instances)
        assert sum(instance.is_crowd for truth in truths for instance in truth.instances) == 2


def test_masks_are_those_of_pycocotools(shared_dir: Path) -> None:
    coco = CocoDataSet(shared_dir / "data" / "coco", {"val": "val2017"})
    with contextlib.redirect_stdout(io.StringIO()):
        expected = COCO(shared_dir / "data" / "coco" / "annotations" / "instances_val2017.json")
    for image_id in coco.samples("val"):
        annotations = expected.imgToAnns[int(image_id)]
        instances = coco.ground_truth(image_id).instances
        for instance, annotation in zip(instances, annotations, strict=True):
            assert encode_mask(instance.mask).encode() == expected.annToRLE(annotation)["counts"]


def test_the_file_gives_each_image_its_number(tmp_path: Path) -> None:
    data_set = write(tmp_path, CONTENT)
    assert [data_set.record(name, row=0, split="val").source_id for name in data_set.samples("val")] == [5, 7]


@pytest.mark.parametrize("boxes", [{"segmentation": []}, {"segmentation": None}, {}])
def test_boxes_without_masks_give_labels_and_no_truth(tmp_path: Path, boxes: dict[str, Any]) -> None:
    content = copy.deepcopy(CONTENT)
    for annotation in content["annotations"]:
        del annotation["segmentation"]
        annotation |= {"bbox": [1, 1, 4, 4], **boxes}
    data_set = write(tmp_path, content)
    assert data_set.without_masks == 1
    assert data_set.record("000000000007", row=0, split="val").labels == (1, 2)
    assert [data_set.ground_truth(name) for name in data_set.samples("val")] == [None, None]


def test_an_image_with_one_box_among_its_masks_has_no_truth_and_the_others_have(tmp_path: Path) -> None:
    content = copy.deepcopy(CONTENT)
    content["annotations"].append({"id": 3, "image_id": 5, "category_id": 3, "segmentation": []})
    data_set = write(tmp_path, content)
    assert data_set.without_masks == 1
    assert data_set.ground_truth("000000000005") is None
    assert len(data_set.ground_truth("000000000007").instances) == 2


@pytest.mark.parametrize("number", [3, 6])
def test_an_image_that_is_stored_turned(tmp_path: Path, number: int) -> None:
    data_set, name = write(tmp_path, CONTENT), "000000000007"
    exif = Image.Exif()
    exif[0x0112] = number
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "val2017" / f"{name}.jpg", exif=exif)
    if number == 6:  # the file's size is that of the stored pixels
        with pytest.raises(InputError, match=r"is 8x6 .*, turned as its EXIF orientation 6 says, but .* says 6x8"):
            data_set.record(name, row=0, split="val")
    else:
        with pytest.raises(InputError, match=r"EXIF orientation 3, and nothing shows whether its masks"):
            data_set.ground_truth(name)


def test_a_truncated_image_is_found_when_its_record_is_read(tmp_path: Path) -> None:
    data_set = write(tmp_path, CONTENT)
    path = tmp_path / "val2017" / "000000000007.jpg"
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(InputError, match=r"000000000007\.jpg cannot be decoded"):
        data_set.record("000000000007", row=0, split="val")


@pytest.mark.parametrize(("image", "category"), [(7, 3), ("7", "3"), (7.0, 3), ("000000000007", 3), ("07", " 3")])
def test_results_may_write_numbers_as_text_and_begin_with_a_mark(tmp_path: Path, image: Any, category: Any) -> None:
    data_set = write(tmp_path, CONTENT)
    record = data_set.record("000000000007", row=0, split="val")
    entry = {"image_id": image, "category_id": category, "segmentation": SQUARE, "score": 0.5}
    (tmp_path / "r.json").write_text(json.dumps([entry]), encoding="utf-8-sig")
    known = {7: record, record.image_id: record}
    ((found, ((category_id, score, mask),)),) = read_results(
        tmp_path / "r.json", images=known, categories=data_set.categories
    )
    assert (found, category_id, score, mask.sum()) == (record, 1, 0.5, 16)


def test_boxes_of_a_turned_image_are_labels_like_any_others(tmp_path: Path) -> None:
    content = copy.deepcopy(CONTENT)
    for annotation in content["annotations"]:
        annotation["segmentation"] = []
    data_set, name = write(tmp_path, content), "000000000007"
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "val2017" / f"{name}.jpg", exif=exif)
    assert data_set.ground_truth(name) is None
    assert data_set.record(name, row=0, split="val").labels == (1, 2)

"""VOC's layout: labels, masks and points with one meaning, and mistakes named by file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bestie.datasets.base import DataSet
from bestie.datasets.image_reading import read_image
from bestie.datasets.voc import VOC_CATEGORIES, VocDataSet
from bestie.errors import InputError
from bestie.records import Category, Point

HEIGHT, WIDTH = 6, 8


def write_png(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette(list(range(256)) * 3)
    image.save(path)


def write_xml(root: Path, image_id: str, names: list[str]) -> None:
    objects = "".join(
        f"<object><name>{name}</name><difficult>1</difficult><part><name>head</name></part></object>" for name in names
    )
    (root / "Annotations" / f"{image_id}.xml").write_text(f"<annotation>{objects}</annotation>")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images: `a` (train) with two cats, a dog and void; `b` (val) with nothing."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Segmentation", "ImageSets/Main", "Center_points"):
        (tmp_path / name).mkdir(parents=True)
    for image_id, names in (("a", ["cat", "dog", "cat"]), ("b", [])):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "JPEGImages" / f"{image_id}.jpg")
        write_xml(tmp_path, image_id, names)
    semantic, objects = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    semantic[:, 0:2], objects[:, 0:2] = 1, 1
    semantic[:, 3:5], objects[:, 3:5] = 1, 2
    semantic[0, 6:8], objects[0, 6:8] = 2, 3
    semantic[5], objects[5] = 255, 255
    objects[0, 5] = 3  # one background pixel in the mask of object 3
    write_png(tmp_path / "SegmentationClass" / "a.png", semantic)
    write_png(tmp_path / "SegmentationObject" / "a.png", objects)
    (tmp_path / "Center_points" / "a.txt").write_text("1 2 0 1.000\n7 0 1 0.500\n\n")
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("b\n")
    return tmp_path


def data_set(root: Path, splits: dict[str, str] | None = None) -> VocDataSet:
    return VocDataSet(root, splits, categories=["cat", "dog"])


def test_it_is_a_data_set(root: Path) -> None:
    assert isinstance(data_set(root), DataSet)


def test_categories_count_from_one_in_vocs_order(root: Path) -> None:
    assert data_set(root).categories == (Category(1, "cat", 1), Category(2, "dog", 2))
    assert len(VOC_CATEGORIES) == 20
    assert list(VOC_CATEGORIES) == sorted(VOC_CATEGORIES)


def test_a_record_says_where_an_image_is_and_what_it_shows(root: Path) -> None:
    record = data_set(root).record("a", row=4, split="train")
    assert (record.row, record.image_id, record.split, record.path) == (4, "a", "train", "JPEGImages/a.jpg")
    assert (record.height, record.width, record.labels) == (HEIGHT, WIDTH, (1, 2))
    assert read_image(root, record).shape == (HEIGHT, WIDTH, 3)


def test_an_instance_has_the_class_of_most_of_its_pixels(root: Path) -> None:
    truth = data_set(root).ground_truth("a")
    assert truth is not None
    assert [(i.category_id, int(i.mask.sum()), i.is_crowd) for i in truth.instances] == [
        (1, 10, False),
        (1, 10, False),
        (2, 3, False),
    ]
    assert sorted(np.unique(truth.semantic)) == [0, 1, 2, 255]


def test_images_without_both_masks_have_no_truth(root: Path) -> None:
    assert data_set(root).ground_truth("b") is None
    (root / "SegmentationObject" / "a.png").unlink()
    assert data_set(root).ground_truth("a") is None


def test_points_are_x_then_y_with_the_class_from_zero(root: Path) -> None:
    assert data_set(root).points("a") == (
        Point(1, y=2.0, x=1.0, score=1.0),
        Point(2, y=0.0, x=7.0, score=0.5),
    )


def test_lists_are_found_in_both_folders_joined_and_read_with_two_columns(root: Path) -> None:
    lists = root / "ImageSets" / "Segmentation"
    (lists / "aug.txt").write_text(
        "/JPEGImages/c.d.jpg /SegmentationClassAug/c.d.png\n/JPEGImages/a.jpg /SegmentationClassAug/a.png\n"
    )
    found = data_set(root, {"train": "train, aug", "val": "val"})
    assert found.samples("train") == ("a", "c.d")
    assert found.samples("val") == ("b",)


def test_wrong_lists_are_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"no image list .*Segmentation/none\.txt"):
        data_set(root, {"train": "none"})
    (root / "ImageSets" / "Segmentation" / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match=r"empty\.txt names no image"):
        data_set(root, {"train": "empty"})
    with pytest.raises(InputError, match=r"image a .* is in the splits 'train' and 'val'"):
        data_set(root, {"train": "train", "val": "train"})
    with pytest.raises(InputError, match=r"no split 'test', only \['train', 'val'\]"):
        data_set(root).samples("test")


def test_a_list_that_names_an_absent_image_is_reported(root: Path) -> None:
    (root / "JPEGImages" / "a.jpg").unlink()
    with pytest.raises(InputError, match=r"JPEGImages/a\.jpg does not exist, but an image list names it"):
        data_set(root).record("a", row=0, split="train")


def test_images_without_labels_are_refused_for_training_only(root: Path) -> None:
    assert data_set(root).record("b", row=0, split="val").labels == ()
    with pytest.raises(InputError, match=r"b\.xml names no object, so the training image b has no label"):
        data_set(root).record("b", row=0, split="train")


def test_objects_that_were_deleted_are_no_labels(root: Path) -> None:
    path = root / "Annotations" / "a.xml"
    removed = (
        "<object><name>bird</name><deleted>1</deleted></object><object><name>cat</name><deleted>0</deleted></object>"
    )
    path.write_text(f"<annotation>{removed}</annotation>", encoding="utf-16")
    assert data_set(root).record("a", row=0, split="train").labels == (1,)


@pytest.mark.parametrize(("encoding", "end"), [("utf-8-sig", "\n"), ("utf-8", "\r\n"), ("utf-8", " -1\n")])
def test_lists_as_other_programs_write_them(root: Path, encoding: str, end: str) -> None:
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text(f"a{end}", encoding=encoding)
    assert data_set(root).samples("train") == ("a",)


def test_a_label_outside_the_categories_is_named(root: Path) -> None:
    write_xml(root, "a", ["cat", "unicorn"])
    with pytest.raises(InputError, match=r"a\.xml labels an object 'unicorn'"):
        data_set(root).record("a", row=0, split="train")


@pytest.mark.parametrize(
    "text",
    [
        "<annotation><object>",
        '<!DOCTYPE a [<!ENTITY e "cat">]><annotation><object><name>&e;</name></object></annotation>',
        '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><annotation>&e;</annotation>',
        "",
    ],
    ids=["cut off", "entity", "external entity", "empty"],
)
def test_malformed_xml_and_entities_are_refused(root: Path, text: str) -> None:
    (root / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(InputError, match=r"a\.xml is no acceptable XML file"):
        data_set(root).record("a", row=0, split="train")


def test_a_missing_annotation_is_named(root: Path) -> None:
    (root / "Annotations" / "a.xml").unlink()
    with pytest.raises(InputError, match=r"a\.xml does not exist\. Without it the image has no labels"):
        data_set(root).record("a", row=0, split="train")


def test_wrong_masks_are_named(root: Path) -> None:
    classes, objects = (root / name / "a.png" for name in ("SegmentationClass", "SegmentationObject"))
    good = np.zeros((HEIGHT, WIDTH), np.uint8)
    write_png(classes, good)
    with pytest.raises(InputError, match=r"SegmentationObject/a\.png, object 1 covers no class"):
        data_set(root).ground_truth("a")
    write_png(classes, np.full((HEIGHT, WIDTH), 3))
    with pytest.raises(InputError, match=r"SegmentationClass/a\.png has the class 3, but only 0 to 2"):
        data_set(root).ground_truth("a")
    write_png(objects, good[1:])
    write_png(classes, good)
    with pytest.raises(InputError, match=r"SegmentationObject/a\.png has the shape \(5, 8\)"):
        data_set(root).ground_truth("a")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 0", "is not 'x y class confidence'"),
        ("1 2 cat 1.0", "is not 'x y class confidence'"),
        ("1 nan 0 1.0", "is not 'x y class confidence'"),
        ("1 2 2 1.0", "class 2 is outside 0 to 1"),
        ("1 2 -1 1.0", "class -1 is outside 0 to 1"),
        ("8 2 0 1.0", r"x=8, y=2 is outside the image of 8x6 \(width x height\)"),
        ("1 6 0 1.0", r"x=1, y=6 is outside the image"),
        ("-1 2 0 1.0", r"x=-1, y=2 is outside the image"),
    ],
)
def test_a_malformed_point_is_named_with_its_line(root: Path, line: str, message: str) -> None:
    (root / "Center_points" / "a.txt").write_text(f"1 2 0 1.0\n{line}\n")
    with pytest.raises(InputError, match=rf"a\.txt, line 2: .*{message}"):
        data_set(root).points("a")


def test_missing_and_binary_points_are_named(root: Path) -> None:
    with pytest.raises(InputError, match=r"b\.txt does not exist"):
        data_set(root).points("b")
    (root / "Center_points" / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"b\.txt is no text in UTF-8"):
        data_set(root).points("b")


def test_the_voc_subset_is_what_its_description_says(shared_dir: Path) -> None:
    voc = VocDataSet(shared_dir / "data" / "VOC2012")
    ids = {split: voc.samples(split) for split in ("train", "val")}
    assert {split: len(found) for split, found in ids.items()} == {"train": 949, "val": 250}
    every_id = ids["train"] + ids["val"]
    assert sum(len(voc.points(image_id)) for image_id in every_id) == 2626
    truths = {image_id: voc.ground_truth(image_id) for image_id in ids["val"][:50] + ids["train"][:50]}
    assert all(truths[image_id] for image_id in ids["val"][:50])
    for image_id, truth in truths.items():
        labels = voc.record(image_id, row=0, split="val").labels
        assert truth is None or {instance.category_id for instance in truth.instances} <= set(labels)


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".bmp", ".tif", ".webp", ".PNG"])
def test_images_may_have_any_suffix_that_is_read(root: Path, suffix: str) -> None:
    (root / "JPEGImages" / "a.jpg").unlink()
    kind = {".JPG": "JPEG", ".PNG": "PNG"}.get(suffix)
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "JPEGImages" / f"a{suffix}", format=kind)
    assert data_set(root).record("a", row=0, split="train").path == f"JPEGImages/a{suffix}"


def test_a_list_may_name_files_and_an_id_may_have_a_dot(root: Path) -> None:
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("a.jpg\nb.v2\n")
    assert data_set(root, {"train": "train"}).samples("train") == ("a", "b.v2")


@pytest.mark.parametrize("number", [3, 6])
def test_masks_and_points_of_a_turned_image_are_refused(root: Path, number: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = number
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "JPEGImages" / "a.jpg", exif=exif)
    message = {3: r"a\.jpg is stored with the EXIF orientation 3", 6: r"has the shape .*, but its image is"}[number]
    with pytest.raises(InputError, match=message):
        data_set(root).ground_truth("a")
    assert data_set(root).record("a", row=0, split="train").orientation == number
    (root / "Center_points" / "a.txt").write_text("1 2 0 1.000\n")
    with pytest.raises(InputError, match=rf"a\.jpg is stored with the EXIF orientation {number}.* points"):
        data_set(root).points("a")

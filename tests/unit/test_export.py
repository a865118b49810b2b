"""Exports come back as they went out: read by pycocotools, torchvision and the project's own readers."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from torchvision.datasets import CocoDetection, VOCSegmentation, wrap_dataset_for_transforms_v2

from bestie.artifacts.coco_json import write_coco, write_coco_results
from bestie.artifacts.image_index import write_images
from bestie.artifacts.instances import decode_mask, instance_rows
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, iter_rows, write_categories
from bestie.errors import InputError
from bestie.export.source import Source, open_source
from bestie.export.to_voc import write_voc
from bestie.export.to_yolo import write_yolo
from bestie.records import Category, ImageRecord

# pycocotools lacks the keyword that NumPy 2 asks for.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEIGHT, WIDTH = 30, 40
CATEGORIES = [Category(1, "cat", 7), Category(2, "a dog: <b>", 9)]


def blob(top: int, left: int, size: int, *, hole: bool = False) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + size, left : left + size] = True
    if hole:
        mask[top + 2 : top + size - 2, left + 2 : left + size - 2] = False
    return mask


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of four images, and a table: image 0 two instances of one part and a ring, 1 none, 2 overlaps, 3 val."""
    monkeypatch.chdir(tmp_path)
    images = []
    for row in range(4):
        split = "val" if row == 3 else "train"
        image_id = f"img_{row:03d}"
        (tmp_path / "photos").mkdir(exist_ok=True)
        pixels = np.random.default_rng(row).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{image_id}.png")
        images.append(ImageRecord(row, image_id, split, f"photos/{image_id}.png", HEIGHT, WIDTH, "00", (1,)))
    write_images(tmp_path / "images.parquet", images)
    write_categories(tmp_path / "categories.parquet", CATEGORIES)
    two_parts = blob(2, 2, 6) | blob(20, 25, 8)
    hidden = blob(12, 12, 3)
    with TableWriter(tmp_path / "instances.parquet", INSTANCES) as table:
        table.append_rows(instance_rows(images[0], [two_parts, blob(10, 5, 9, hole=True)], [1, 2], scores=[0.9, 0.4]))
        overlapping = [blob(10, 10, 12), blob(5, 5, 10), hidden]
        table.append_rows(instance_rows(images[2], overlapping, [2, 1, 1], scores=[0.8, 0.7, 0.2]))
        table.append_rows(instance_rows(images[3], [blob(1, 1, 5)], [1], scores=[0.6]))
    return tmp_path


def masks_of(folder: Path, row: int) -> list[np.ndarray]:
    rows = [each for each in iter_rows(folder / "instances.parquet", INSTANCES) if each["row"] == row]
    return [decode_mask(each["rle"], HEIGHT, WIDTH) for each in rows]


def source(folder: Path, **options: object) -> Source:
    return open_source(folder / "instances.parquet", folder, **options)  # type: ignore[arg-type]


def coco_file(folder: Path, name: str) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(folder / name)


def test_by_default_the_splits_of_the_table_are_exported(folder: Path):
    assert [record.row for record, _ in source(folder)] == [0, 1, 2, 3]
    assert [(record.row, len(found)) for record, found in source(folder, split="train")] == [(0, 2), (1, 0), (2, 3)]
    with TableWriter(folder / "instances.parquet", INSTANCES) as table:
        table.append_rows(instance_rows(source(folder, split="val").images[0], [blob(1, 1, 5)], [1], scores=[0.6]))
    assert [record.row for record, _ in source(folder)] == [3]


def test_instances_come_best_first_and_above_the_limit(folder: Path):
    found = {record.row: found for record, found in source(folder, min_score=0.5)}
    assert [round(each.score, 1) for each in found[2]] == [0.8, 0.7]
    assert [round(each.score, 1) for each in found[0]] == [0.9]


def test_coco_annotations_give_torchvision_the_masks(folder: Path):
    images = source(folder).images
    write_coco(folder / "a.json", folder / "instances.parquet", images=images, categories=CATEGORIES)
    with contextlib.redirect_stdout(io.StringIO()):
        data_set = wrap_dataset_for_transforms_v2(
            CocoDetection(str(folder), str(folder / "a.json")), target_keys=("masks", "labels")
        )
    for row in (0, 2, 3):
        _, target = data_set[row]
        assert (target["masks"].numpy().astype(bool) == np.stack(masks_of(folder, row))).all()
    assert data_set[2][1]["labels"].tolist() == [9, 7, 7]


def test_coco_results_load_in_pycocotools(folder: Path):
    images = source(folder).images
    table = folder / "instances.parquet"
    write_coco(folder / "a.json", table, images=images, categories=CATEGORIES)
    count = write_coco_results(folder / "r.json", table, images=images, categories=CATEGORIES, min_score=0.5)
    with contextlib.redirect_stdout(io.StringIO()):
        results = coco_file(folder, "a.json").loadRes(str(folder / "r.json"))
    assert count == len(results.anns) == 4
    decoded = [results.annToMask(each) for each in results.imgToAnns[2]]
    assert all((one == other).all() for one, other in zip(decoded, masks_of(folder, 2)[:2], strict=True))


def test_of_several_splits_coco_can_list_one(folder: Path):
    images = source(folder, split="val").images
    table = folder / "instances.parquet"
    written = write_coco(folder / "a.json", table, images=images, categories=CATEGORIES, skip_others=True)
    assert written == 1
    assert coco_file(folder, "a.json").getImgIds() == [3]


def test_voc_gives_torchvision_the_class_maps(folder: Path):
    home = folder / "VOCdevkit" / "VOC2012"
    written = write_voc(home, source(folder), root=folder)
    assert (written.images, written.instances, written.left_out) == (4, 5, 1)
    for image in (home / "JPEGImages").iterdir():  # torchvision asks for .jpg
        image.rename(image.with_suffix(".jpg"))
    data_set = VOCSegmentation(str(folder), year="2012", image_set="train")
    assert len(data_set) == 3
    classes = np.array(data_set[0][1])
    two_parts, ring = masks_of(folder, 0)
    assert (classes == two_parts + 2 * ring).all()
    assert not np.array(data_set[1][1]).any()


def test_voc_instances_are_the_masks_and_the_better_score_lies_above(folder: Path):
    write_voc(folder / "voc", source(folder))
    with Image.open(folder / "voc/SegmentationObject/img_002.png") as image:
        assert image.mode == "P"
        assert image.getpalette()[3:6] == [128, 0, 0]
        objects = np.array(image)
    best, second, _hidden = masks_of(folder, 2)
    assert (objects == best + 2 * (second & ~best)).all()
    assert (folder / "voc/ImageSets/Segmentation/val.txt").read_text() == "img_003\n"
    assert not (folder / "voc/JPEGImages").exists()


def test_a_crowd_is_void_and_hides_nothing(folder: Path):
    record = source(folder).images[0]
    with TableWriter(folder / "instances.parquet", INSTANCES) as table:
        masks = [blob(0, 0, 20), blob(5, 5, 6)]
        table.append_rows(instance_rows(record, masks, [1, 1], scores=[0.9, 0.5], is_crowd=[True, False]))
    write_voc(folder / "voc", source(folder))
    objects = np.array(Image.open(folder / "voc/SegmentationObject/img_000.png"))
    assert (objects == np.where(masks[1], 1, np.where(masks[0], 255, 0))).all()
    assert write_yolo(folder / "yolo", source(folder)).left_out == 1


def test_yolo_polygons_are_the_masks(folder: Path):
    written = write_yolo(folder / "yolo", source(folder), root=folder)
    assert (written.images, written.instances, written.left_out) == (4, 6, 0)
    for row in (0, 2):
        lines = (folder / f"yolo/labels/train/img_{row:03d}.txt").read_text().splitlines()
        for line, mask in zip(lines, masks_of(folder, row), strict=True):
            outline = np.array(line.split()[1:], float).reshape(-1, 2) * (WIDTH, HEIGHT)
            decoded = coco_mask.decode(coco_mask.frPyObjects([outline.ravel().tolist()], HEIGHT, WIDTH))[..., 0]
            assert (decoded == mask).all()
    assert [line[0] for line in (folder / "yolo/labels/train/img_002.txt").read_text().splitlines()] == ["1", "0", "0"]
    assert (folder / "yolo/labels/train/img_001.txt").read_text() == ""
    assert (folder / "yolo/images/val/img_003.png").resolve() == folder / "photos/img_003.png"
    described = yaml.safe_load((folder / "yolo/data.yaml").read_text())
    assert described == {"train": "images/train", "val": "images/val", "names": {0: "cat", 1: "a dog: <b>"}}


@pytest.mark.parametrize("write", [write_voc, write_yolo])
def test_a_folder_with_something_in_it_is_left_alone(folder: Path, write):
    (folder / "mine").mkdir()
    (folder / "mine/notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mine exists. Remove it"):
        write(folder / "mine", source(folder))
    assert (folder / "mine/notes.txt").read_text() == "mine"


def test_a_missing_image_leaves_no_half_export(folder: Path):
    (folder / "photos/img_002.png").unlink()
    with pytest.raises(InputError, match=r"img_002.png does not exist. Correct --root"):
        write_voc(folder / "voc", source(folder), root=folder)
    assert not (folder / "voc").exists()


def test_an_index_of_another_run_is_refused(folder: Path):
    write_categories(folder / "categories.parquet", CATEGORIES[:1])
    with pytest.raises(InputError, match=r"disagree about image img_000 in row 0"):
        list(source(folder))


def test_an_unknown_split_is_refused(folder: Path):
    with pytest.raises(InputError, match=r"no images of the split 'test', only of train, val"):
        source(folder, split="test")


def test_results_are_strict_json(folder: Path):
    images = source(folder).images
    write_coco_results(folder / "r.json", folder / "instances.parquet", images=images, categories=CATEGORIES)
    entries = json.loads((folder / "r.json").read_text())
    assert entries[0].keys() == {"image_id", "category_id", "segmentation", "bbox", "score"}
    assert [entry["category_id"] for entry in entries] == [7, 9, 9, 7, 7, 7]

"""COCO 2017 as it is distributed, or a part of it in the same folders and files."""

import json
from array import array
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from jaxtyping import Bool

from bestie.datasets.base import (
    Category,
    GroundTruth,
    ImageRecord,
    Point,
    TruthInstance,
    hash_file,
    image_size,
)
from bestie.datasets.points import read_points
from bestie.errors import InputError

COCO_SPLITS = {"train": "train2017", "val": "val2017"}


@dataclass(frozen=True)
class _Entry:
    """One image of an annotation file."""

    path: str
    source_id: int
    height: int
    width: int
    annotations: tuple[dict[str, Any], ...]
    file: Path


class CocoDataSet:
    """Images, labels and masks of COCO.

    COCO's category ids have gaps; `category_id` counts them from 1 and `source_id` keeps COCO's own. The
    `image_id` is the file name without suffix. Images without objects belong to their split and have the
    labels (); a classifier learns from them too, so they are legal for training. Crowds count as labels.
    Polygons and RLE stay as they are until an image's masks are asked for. COCO has no point labels; where
    `Center_points/<image_id>.txt` exists, it is read as in VOC.

    Args:
        root: the folder with `annotations/` and the image folders.
        splits: split -> its name in COCO: `annotations/instances_<name>.json` and the folder `<name>/`.

    Raises:
        InputError: an annotation file is missing, is malformed, contradicts itself or the other one.
    """

    def __init__(self, root: Path, splits: Mapping[str, str] | None = None) -> None:
        self.root = root
        self._samples: dict[str, tuple[str, ...]] = {}
        self._entries: dict[str, _Entry] = {}
        categories: tuple[Category, ...] = ()
        for split, name in (COCO_SPLITS if splits is None else splits).items():
            path = root / "annotations" / f"instances_{name}.json"
            found, entries = _read_split(path, folder=name)
            if categories and found != categories:
                raise InputError(f"{path} has other categories than the other splits. Restore the file.")
            if shared := entries.keys() & self._entries.keys():
                raise InputError(f"{path} lists the image {min(shared)} of another split. Remove it from one.")
            categories = found
            self._entries |= entries
            self._samples[split] = tuple(entries)
        self.categories = categories
        self._id_of_source = {category.source_id: category.category_id for category in categories}

    def samples(self, split: str) -> tuple[str, ...]:
        """The image ids of a split, in ascending order of COCO's numbers. InputError for an unknown split."""
        if split not in self._samples:
            raise InputError(f"{self.root} has no split '{split}', only {sorted(self._samples)}.")
        return self._samples[split]

    def record(self, image_id: str, *, row: int, split: str) -> ImageRecord:
        """The record of one image. InputError when the file is missing or of another size than COCO says."""
        entry = self._entry(image_id)
        path = self.root / entry.path
        if (size := image_size(path)) != (entry.height, entry.width):
            raise InputError(
                f"{path} is {size[0]}x{size[1]} (height x width), but {entry.file} says "
                f"{entry.height}x{entry.width}. Restore the image."
            )
        return ImageRecord(
            row=row,
            image_id=image_id,
            split=split,
            path=entry.path,
            height=entry.height,
            width=entry.width,
            sha256=hash_file(path),
            labels=tuple(sorted({self._category_id(entry, a) for a in entry.annotations})),
        )

    def ground_truth(self, image_id: str) -> GroundTruth:
        """The true masks. The semantic map is painted from them, large ones first; crowds have their class.

        InputError for a malformed mask. Masks that cover no pixel are left out.
        """
        entry = self._entry(image_id)
        instances = [
            TruthInstance(self._category_id(entry, a), _decode(entry, a), bool(a.get("iscrowd", 0)))
            for a in entry.annotations
        ]
        instances = [instance for instance in instances if instance.mask.any()]
        semantic = np.zeros((entry.height, entry.width), np.uint8)
        for instance in sorted(instances, key=lambda instance: -int(instance.mask.sum())):
            semantic[instance.mask] = instance.category_id
        return GroundTruth(tuple(instances), semantic)

    def points(self, image_id: str) -> tuple[Point, ...]:
        """The point labels of one image. InputError when the file is missing or a line is malformed."""
        entry = self._entry(image_id)
        path = self.root / "Center_points" / f"{image_id}.txt"
        return read_points(path, n_categories=len(self.categories), height=entry.height, width=entry.width)

    def _entry(self, image_id: str) -> _Entry:
        if image_id not in self._entries:
            raise InputError(f"{self.root} annotates no image {image_id}. Run prepare again for this data set.")
        return self._entries[image_id]

    def _category_id(self, entry: _Entry, annotation: Mapping[str, Any]) -> int:
        source_id = annotation["category_id"]
        if source_id not in self._id_of_source:
            raise InputError(
                f"{entry.file}, annotation {annotation['id']}: there is no category {source_id}. Correct the file."
            )
        return self._id_of_source[source_id]


def _read_split(path: Path, *, folder: str) -> tuple[tuple[Category, ...], dict[str, _Entry]]:
    content = _load(path)
    try:
        return _categories(content["categories"]), _entries(path, folder, content)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not in COCO's format ({error!r}). Restore the file.") from error


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file, object_hook=_pack_polygons)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist. Correct dataset.root, prepare.train_list or prepare.val_list."
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is no valid JSON ({error}). Restore the file.") from error


def _pack_polygons(entry: dict[str, Any]) -> dict[str, Any]:
    """Called for each JSON object as it is read: packed, COCO's polygons take a quarter of the memory."""
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, list):
        with suppress(TypeError):  # what is no polygon is reported with its annotation when it is decoded
            entry["segmentation"] = [array("d", polygon) for polygon in segmentation]
    return entry


def _categories(listed: list[dict[str, Any]]) -> tuple[Category, ...]:
    ordered = sorted(listed, key=lambda category: category["id"])
    return tuple(Category(k, entry["name"], entry["id"]) for k, entry in enumerate(ordered, start=1))


def _entries(path: Path, folder: str, content: Mapping[str, Any]) -> dict[str, _Entry]:
    annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        kept = ("id", "category_id", "iscrowd", "segmentation")
        annotations[annotation["image_id"]].append({k: annotation[k] for k in kept})
    entries = {}
    for image in sorted(content["images"], key=lambda image: image["id"]):
        image_id = Path(image["file_name"]).stem
        if image_id in entries:
            raise InputError(f"{path} lists two images {image_id}. Give their files different names.")
        entries[image_id] = _Entry(
            path=f"{folder}/{image['file_name']}",
            source_id=image["id"],
            height=image["height"],
            width=image["width"],
            annotations=tuple(annotations.pop(image["id"], ())),
            file=path,
        )
    if annotations:
        raise InputError(f"{path} annotates the image {min(annotations)}, which it does not list. Restore the file.")
    return entries


def _decode(entry: _Entry, annotation: Mapping[str, Any]) -> Bool[np.ndarray, "h w"]:
    coded, size = annotation["segmentation"], (entry.height, entry.width)
    try:
        if isinstance(coded, list):
            coded = coco_mask.merge(coco_mask.frPyObjects([list(polygon) for polygon in coded], *size))
        elif isinstance(coded["counts"], list):
            coded = coco_mask.frPyObjects(coded, *size)
        mask = coco_mask.decode(coded).astype(bool, order="C")
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise InputError(
            f"{entry.file}, annotation {annotation['id']}: its segmentation is malformed. Correct the file."
        ) from error
    if mask.shape != size:
        raise InputError(
            f"{entry.file}, annotation {annotation['id']}: its mask is {mask.shape}, its image {size}. "
            "Correct the file."
        )
    return mask

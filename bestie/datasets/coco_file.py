"""One annotation file in COCO's format; masks are decoded when those of an image are read."""

import json
import operator
from array import array
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool

from bestie.datasets.base import GroundTruth, TruthInstance
from bestie.datasets.image_reading import MAX_IMAGE_PX
from bestie.datasets.segmentation import decode_segmentation
from bestie.datasets.text_files import is_path_below
from bestie.errors import InputError

#: How files write that an annotation is a group of objects, or is none.
CROWD = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


@dataclass(frozen=True)
class AnnotatedImage:
    """One image of an annotation file; `source_id` is its id in the file, `height` and `width` are in px."""

    file_name: str
    source_id: int
    height: int
    width: int
    annotations: tuple[dict[str, Any], ...]

    @property
    def has_masks(self) -> bool:
        """Whether each of its annotations has a mask."""
        return all(annotation["segmentation"] for annotation in self.annotations)


class CocoFile:
    """The categories and images of one annotation file, each in ascending order of their ids in the file.

    Attributes:
        path: the file.
        category_names: the id of a category in the file -> its name.
        images: all listed images, including those without objects.
        without_masks: number of images with an object that has a box, but no mask.

    Args:
        path: the file.
        missing: what to do if it does not exist, for the message.

    Raises:
        InputError: the file is missing or malformed, or contradicts itself.
    """

    def __init__(self, path: Path, *, missing: str) -> None:
        self.path = path
        content = _load(path, missing)
        try:
            self.category_names = _categories(path, content)
            self.images = _images(path, content)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(f"{path} is not in COCO's format ({error!r}). Restore the file.") from error
        self.without_masks = sum(not image.has_masks for image in self.images)
        self._only_boxes = 0 < self.without_masks == sum(bool(image.annotations) for image in self.images)

    def categories_in(self, image: AnnotatedImage) -> set[int]:
        """Return the ids, in the file, of the categories in an image, including those of crowds.

        Raises:
            InputError: an annotation has a category that the file does not list.
        """
        return {self._category(annotation) for annotation in image.annotations}

    def ground_truth(self, image: AnnotatedImage, category_id_of: Mapping[int, int]) -> GroundTruth | None:
        """Return the true masks of an image, and the semantic map painted from them, larger masks first.

        None if an object has no mask, or if the whole file has none: it then holds boxes, whose classes are labels.
        Crowds have the class of their annotation. Masks that cover no pixel are left out.

        Args:
            image: one of `images`.
            category_id_of: the id of a category in the file -> category_id, for every category in the image.

        Raises:
            InputError: a mask is malformed or not of the size of the image.
        """
        if self._only_boxes or not image.has_masks:
            return None
        instances = [
            TruthInstance(
                category_id_of[self._category(annotation)],
                self._decode(image, annotation),
                annotation["iscrowd"],
            )
            for annotation in image.annotations
        ]
        instances = [instance for instance in instances if instance.mask.any()]
        semantic = np.zeros((image.height, image.width), np.uint8)
        for instance in sorted(instances, key=lambda instance: -int(instance.mask.sum())):
            semantic[instance.mask] = instance.category_id
        return GroundTruth(tuple(instances), semantic)

    def _category(self, annotation: Mapping[str, Any]) -> int:
        number = annotation["category_id"]
        if number not in self.category_names:
            raise InputError(
                f"{self.path}, annotation {annotation['id']}: there is no category {number}. Correct the file."
            )
        return number

    def _decode(self, image: AnnotatedImage, annotation: Mapping[str, Any]) -> Bool[np.ndarray, "h w"]:
        coded, size = annotation["segmentation"], (image.height, image.width)
        where = f"{self.path}, annotation {annotation['id']}"
        return decode_segmentation(coded, size, where)


def _load(path: Path, missing: str) -> Any:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return json.load(file, object_hook=_pack_polygons)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. {missing}") from error
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is no valid JSON ({error}). Restore the file.") from error


def _pack_polygons(entry: dict[str, Any]) -> dict[str, Any]:
    """Pack the polygons of a JSON object as it is read, because packed polygons take a quarter of the memory."""
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, list):
        with suppress(TypeError, OverflowError):  # anything else is reported, with its annotation, when it is decoded
            entry["segmentation"] = [array("d", polygon) for polygon in segmentation]
    return entry


def _categories(path: Path, content: Mapping[str, Any]) -> dict[int, str]:
    """Return id -> name of all categories, in ascending order. Raises InputError if an id belongs to two names."""
    names: dict[int, str] = {}
    for category in content["categories"]:
        number, name = _whole(category["id"]), str(category["name"])
        if names.setdefault(number, name) != name:
            raise InputError(
                f"{path} has the category {number} twice, as '{names[number]}' and as '{name}'. "
                "If files were put together, give each category an id of its own."
            )
    return dict(sorted(names.items()))


def _images(path: Path, content: Mapping[str, Any]) -> tuple[AnnotatedImage, ...]:
    annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for number, annotation in enumerate(content["annotations"], start=1):
        name = annotation.get("id", f"number {number}")
        kept = {
            "id": name,
            "category_id": _whole(annotation["category_id"]),
            "iscrowd": _is_crowd(annotation.get("iscrowd"), f"{path}, annotation {name}"),
            "segmentation": annotation.get("segmentation"),
        }
        annotations[_whole(annotation["image_id"])].append(kept)
    listed: dict[int, Any] = {}
    for image in content["images"]:
        first = listed.setdefault(number := _whole(image["id"]), image)
        if first is not image:
            raise InputError(
                f"{path} has the image {number} twice, as {str(first['file_name'])[:80]} and as "
                f"{str(image['file_name'])[:80]}. If files were put together, give each image an id of its own."
            )
    images = tuple(
        AnnotatedImage(
            file_name=_file_name(path, image["file_name"]),
            source_id=number,
            height=_side(path, image, "height"),
            width=_side(path, image, "width"),
            annotations=tuple(annotations.pop(number, ())),
        )
        for number, image in sorted(listed.items())
    )
    if large := [i for i in images if not (i.height > 0 and i.width > 0 and i.height * i.width <= MAX_IMAGE_PX)]:
        raise InputError(f"{path} has the image {large[0].file_name} of {large[0].height}x{large[0].width} pixels.")
    if annotations:
        raise InputError(
            f"{path} annotates the image {min(annotations)}, which it does not list. Add it to its images, "
            "or remove the annotations."
        )
    return images


def _whole(value: Any) -> int:
    """Return a whole number that may be written as text or with a decimal point. Raises ValueError for others."""
    if isinstance(value, str):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return operator.index(value)


def _side(path: Path, image: Mapping[str, Any], name: str) -> int:
    """Return the height or width of an image. Raises InputError if it is missing."""
    if image.get(name) is None:
        raise InputError(f"{path} has no {name} of the image {str(image['file_name'])[:80]}. Add it, in pixels.")
    return _whole(image[name])


def _is_crowd(value: Any, where: str) -> bool:
    """Return whether `iscrowd` says so, which is also missing, null or a text in files of other tools.

    Raises InputError, naming `where`, if it means neither.
    """
    text = "0" if value is None else str(value).strip().casefold()
    if text not in CROWD:
        raise InputError(f"{where}: iscrowd {str(value)[:80]!r} is neither 0 nor 1. Correct the file.")
    return CROWD[text]


def _file_name(source: Path, name: Any) -> str:
    """Return the path of an image, with forward slashes; of a path elsewhere (`/data/upload/a.png`), its last part.

    Raises InputError, naming the `source`, if that is no name of a file.
    """
    path = name.replace("\\", "/") if isinstance(name, str) else ""
    if not is_path_below(path):
        path = PurePosixPath(path).name
    if not is_path_below(path):
        raise InputError(
            f"{source} is not in COCO's format: the file_name {str(name)[:80]!r} is no name of an image. Correct it."
        )
    return path

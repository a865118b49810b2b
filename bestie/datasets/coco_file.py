"""One annotation file in COCO's format; masks are decoded when those of an image are read."""

import json
import operator
from array import array
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from bestie.datasets.base import GroundTruth, TruthInstance
from bestie.datasets.image_reading import MAX_IMAGE_PX
from bestie.datasets.segmentation import decode_segmentation
from bestie.datasets.text_files import is_path_below
from bestie.errors import InputError


@dataclass(frozen=True)
class AnnotatedImage:
    """One image of an annotation file; `source_id` is its id in the file, `height` and `width` are in px."""

    file_name: str
    source_id: int
    height: int
    width: int
    annotations: tuple[dict[str, Any], ...]


class CocoFile:
    """The categories and images of one annotation file, each in ascending order of their ids in the file.

    Attributes:
        path: the file.
        category_names: the id of a category in the file -> its name.
        images: all listed images, including those without objects.

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
            categories = sorted(content["categories"], key=lambda category: category["id"])
            self.category_names = {int(category["id"]): str(category["name"]) for category in categories}
            self.images = _images(path, content)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path} is not in COCO's format ({error!r}). Restore the file.") from error

    def categories_in(self, image: AnnotatedImage) -> set[int]:
        """Return the ids, in the file, of the categories in an image, including those of crowds.

        Raises:
            InputError: an annotation has a category that the file does not list.
        """
        return {self._category(annotation) for annotation in image.annotations}

    def ground_truth(self, image: AnnotatedImage, category_id_of: Mapping[int, int]) -> GroundTruth:
        """Return the true masks of an image, and the semantic map painted from them, larger masks first.

        Crowds have the class of their annotation. Masks that cover no pixel are left out.

        Args:
            image: one of `images`.
            category_id_of: the id of a category in the file -> category_id, for every category in the image.

        Raises:
            InputError: a mask is malformed or not of the size of the image.
        """
        instances = [
            TruthInstance(
                category_id_of[self._category(annotation)],
                self._decode(image, annotation),
                bool(annotation.get("iscrowd", 0)),
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
        with path.open(encoding="utf-8") as file:
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


def _images(path: Path, content: Mapping[str, Any]) -> tuple[AnnotatedImage, ...]:
    annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        kept = ("id", "category_id", "iscrowd", "segmentation")
        operator.index(annotation["category_id"])
        annotations[annotation["image_id"]].append({k: annotation[k] for k in kept})
    images = tuple(
        AnnotatedImage(
            file_name=_file_name(image["file_name"]),
            source_id=operator.index(image["id"]),
            height=operator.index(image["height"]),
            width=operator.index(image["width"]),
            annotations=tuple(annotations.pop(image["id"], ())),
        )
        for image in sorted(content["images"], key=lambda image: image["id"])
    )
    if large := [i for i in images if not (i.height > 0 and i.width > 0 and i.height * i.width <= MAX_IMAGE_PX)]:
        raise InputError(f"{path} has the image {large[0].file_name} of {large[0].height}x{large[0].width} pixels.")
    if annotations:
        raise InputError(
            f"{path} annotates the image {min(annotations, key=str)}, which it does not list. Restore the file."
        )
    return images


def _file_name(name: Any) -> str:
    """Return the name. Raises ValueError unless it is a path below the folder of images."""
    if not (isinstance(name, str) and is_path_below(name)):
        raise ValueError(f"file_name {str(name)[:80]!r} is no path below the folder of images")
    return name

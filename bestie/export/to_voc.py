"""Export to VOC's PNG files: two palette pictures per image, one of the instances and one of their classes.

A pixel belongs to at most one instance: of several masks, to the one with the best score. Crowd regions are void
(255).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from bestie.artifacts.instances import decode_mask
from bestie.export.output_folder import link_image, new_folder
from bestie.export.source import Instance, Source
from bestie.pictures.color import category_colors
from bestie.records import VOID, ImageRecord
from bestie.runtime.progress import track

MAX_INSTANCES = VOID - 1
LISTS = Path("ImageSets/Segmentation")


@dataclass(frozen=True)
class WrittenImages:
    """The counts of an export; `left_out` are the instances that the format has no place for."""

    images: int
    instances: int
    left_out: int


def write_voc(folder: Path, source: Source, *, root: Path | None = None) -> WrittenImages:
    """Write `SegmentationObject/`, `SegmentationClass/` and the image lists in `ImageSets/Segmentation/`.

    An instance is left out if better ones cover it completely, or if it is not among the 254 best of its image.

    Args:
        folder: the folder to write; it must be empty or not exist yet.
        source: the instances.
        root: the folder of the images, to link them in `JPEGImages/`; None: no links.

    Raises:
        InputError: see `new_folder`, `Source` and `link_image`.
    """
    instances, left_out = 0, 0
    lists: dict[str, list[str]] = {}
    with new_folder(folder) as partial:
        for record, found in track(source, "export: voc"):
            objects, classes, kept = paint(record, found)
            save_label_png(partial / "SegmentationObject" / f"{record.image_id}.png", objects)
            save_label_png(partial / "SegmentationClass" / f"{record.image_id}.png", classes)
            if root is not None:
                link_image(root, record, partial / "JPEGImages" / record.image_id)
            lists.setdefault(record.split, []).append(record.image_id)
            instances += kept
            left_out += len(found) - kept
        for split, names in lists.items():
            (partial / LISTS).mkdir(parents=True, exist_ok=True)
            (partial / LISTS / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return WrittenImages(len(source.images), instances, left_out)


def paint(record: ImageRecord, found: list[Instance]) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"], int]:
    """Paint one image's map of instances and map of classes.

    Args:
        record: the image.
        found: its instances, the best score first; crowd regions get the pixels that no instance has.

    Returns:
        The instances (1..n), the classes (category_id), and the number of instances of `found` that are in the maps.
        In both maps 0 is background and 255 a crowd region.
    """
    objects = np.zeros((record.height, record.width), np.uint8)
    classes = np.zeros_like(objects)
    visible = 0
    for instance in sorted(found, key=lambda each: each.is_crowd):
        mask = decode_mask(instance.rle, record.height, record.width) & (objects == 0)
        if instance.is_crowd:
            objects[mask], classes[mask] = VOID, VOID
        elif mask.any() and visible < MAX_INSTANCES:
            visible += 1
            objects[mask], classes[mask] = visible, instance.category_id
    crowds = sum(instance.is_crowd for instance in found)
    return objects, classes, visible + crowds


def save_label_png(path: Path, labels: UInt8[np.ndarray, "h w"]) -> None:
    """Write a map of labels as a palette PNG with VOC's colors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    image.putpalette(category_colors(VOID).ravel().tolist())
    image.save(path, format="PNG", compress_level=6)

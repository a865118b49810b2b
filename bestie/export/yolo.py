"""YOLO's segmentation labels: one text file an image, one polygon an instance.

Polygons run along the edges of pixels; parts and holes of a mask are joined by bridges without width. So a mask comes
back exactly from its polygon by the even-odd rule.
"""

from pathlib import Path

import yaml

from bestie.artifacts.instances import decode_mask
from bestie.datasets.base import ImageRecord
from bestie.export.folders import link_image, new_folder
from bestie.export.source import Instance, Source
from bestie.export.voc import Written
from bestie.pictures.outlines import exact_outlines, joined_outline
from bestie.progress import track


def write_yolo(folder: Path, source: Source, *, root: Path | None = None) -> Written:
    """Write `labels/<split>/<image_id>.txt` and `data.yaml`.

    A line is the class, counted from 0, and the polygon's x and y as parts of the image's width and height. An image
    without instances has an empty file. Crowd regions, which the format does not know, are left out.

    Args:
        folder: the folder to write; it must not exist, or be empty.
        source: the instances.
        root: where the images are, to link them into `images/<split>/`; None: no links.

    Raises:
        InputError: as `new_folder`, `Source` and `link_image`.
    """
    instances, left_out = 0, 0
    splits = list(dict.fromkeys(record.split for record in source.images))
    with new_folder(folder) as partial:
        for record, found in track(source, "export: yolo"):
            lines = [polygon_line(record, each) for each in found if not each.is_crowd]
            path = partial / "labels" / record.split / f"{record.image_id}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            if root is not None:
                link_image(root, record, partial / "images" / record.split / record.image_id)
            instances += len(lines)
            left_out += len(found) - len(lines)
        names = {category.category_id - 1: category.name for category in source.categories}
        described = {**{split: f"images/{split}" for split in splits}, "names": names}
        (partial / "data.yaml").write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
    return Written(len(source.images), instances, left_out)


def polygon_line(record: ImageRecord, instance: Instance) -> str:
    """An instance as YOLO's line."""
    mask = decode_mask(instance.rle, record.height, record.width)
    outline = joined_outline(exact_outlines(mask)) / (record.width, record.height)
    return f"{instance.category_id - 1} " + " ".join(f"{value:.6g}" for value in outline.ravel())

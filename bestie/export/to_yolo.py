"""Export to YOLO's segmentation labels: one text file per image, one polygon per instance.

Polygons run along the edges of pixels, and bridges without width join the parts and holes of a mask. So the even-odd
rule gives exactly the mask back from its polygon.
"""

from pathlib import Path

import yaml

from bestie.artifacts.instances import decode_mask
from bestie.export.output_folder import link_image, new_folder
from bestie.export.source import Instance, Source
from bestie.export.to_voc import WrittenImages
from bestie.pictures.outlines import exact_outlines, joined_outline
from bestie.records import ImageRecord
from bestie.runtime.progress import track


def write_yolo(folder: Path, source: Source, *, root: Path | None = None) -> WrittenImages:
    """Write `labels/<split>/<image_id>.txt` and `data.yaml`.

    A line holds the class, counted from 0, and the x and y of the polygon's corners as fractions of the image's width
    and height. An image without instances has an empty file. Crowd regions, which the format does not know, are left
    out.

    Args:
        folder: the folder to write; it must be empty or not exist yet.
        source: the instances.
        root: the folder of the images, to link them in `images/<split>/`; None: no links.

    Raises:
        InputError: see `new_folder`, `Source` and `link_image`.
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
        # Trainers ask for both; of a table of one split, its images are both, and the file says so.
        shown = {**dict.fromkeys(("train", "val"), splits[0]), **{split: split for split in splits}}
        described = {**{name: f"images/{split}" for name, split in shown.items()}, "names": names}
        note = f"# Only {splits[0]} was exported: train and val are the same images.\n" if len(splits) == 1 else ""
        (partial / "data.yaml").write_text(note + yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
    return WrittenImages(len(source.images), instances, left_out)


def polygon_line(record: ImageRecord, instance: Instance) -> str:
    """Return the line of an instance."""
    mask = decode_mask(instance.rle, record.height, record.width)
    outline = joined_outline(exact_outlines(mask)) / (record.width, record.height)
    return f"{instance.category_id - 1} " + " ".join(f"{value:.6g}" for value in outline.ravel())

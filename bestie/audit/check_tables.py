"""The check that tables agree with the index: their rows, ids, classes, areas, boxes and masks."""

from collections.abc import Container, Iterator

import numpy as np
from jaxtyping import Bool

from bestie.artifacts.instances import decode_mask
from bestie.artifacts.schemas import CUES as CUES_SCHEMA
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import Columns, iter_images
from bestie.audit.findings import Finding
from bestie.audit.sources import CATEGORIES, IMAGES, Artifacts
from bestie.records import ImageRecord

SPLITS = ("train", "val")


def check_index(artifacts: Artifacts) -> Iterator[Finding]:
    """Check that `images.parquet` has unique image ids, and splits and labels that exist.

    Rows and sizes are checked when it is read.
    """
    known = len(artifacts.categories)
    seen: set[str] = set()
    for record in artifacts.images:
        place = _image(record)
        if record.image_id in seen:
            yield Finding(IMAGES, place, "its image_id occurs twice")
        if record.split not in SPLITS:
            yield Finding(IMAGES, place, f"its split is '{record.split}', neither train nor val")
        labels = list(record.labels)
        if labels != sorted(set(labels)) or any(not 1 <= label <= known for label in labels):
            yield Finding(IMAGES, place, f"its labels {labels} are not ascending category ids of 1 to {known}")
        seen.add(record.image_id)


def check_category_table(artifacts: Artifacts) -> Iterator[Finding]:
    """Check that `categories.parquet` has ids from 1 without gaps, and unique names."""
    for expected, category in enumerate(artifacts.categories, start=1):
        if category.category_id != expected:
            yield Finding(CATEGORIES, category.name, f"its category_id is {category.category_id}, not {expected}")
    names = [category.name for category in artifacts.categories]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Finding(CATEGORIES, name, "the name occurs twice")


def check_cues(artifacts: Artifacts, path: str) -> Iterator[Finding]:
    """Check that each cue or point of a table is on its image, of one of its classes, with a score from 0 to 1."""
    for row, columns in iter_images(artifacts.file(path), CUES_SCHEMA):
        record, problem = _record(artifacts, row, columns)
        if record is None:
            yield Finding(path, f"row {row}", problem)
            continue
        y, x = columns["y"], columns["x"]
        wrong = {
            "it lies outside the image": ~((y >= 0) & (y < record.height) & (x >= 0) & (x < record.width)),
            "the image has no such label": ~np.isin(columns["category_id"], record.labels),
            "its score is not in 0..1": ~((columns["score"] >= 0) & (columns["score"] <= 1)),
        }
        for problem, cues in wrong.items():
            for number in np.flatnonzero(cues):
                yield Finding(path, f"{_image(record)}, cue {number + 1}", problem)


def check_instances(
    artifacts: Artifacts,
    path: str,
    *,
    splits: tuple[str, ...] = SPLITS,
    labels_only: bool = False,
    corrected: Container[tuple[int, int]] = (),
) -> Iterator[Finding]:
    """Check a table of instances against the index and against its own masks.

    Args:
        artifacts: the files of the version.
        path: the table's path.
        splits: the splits whose images it may contain.
        labels_only: whether the class of each instance must be one of its image's labels.
        corrected: (row, instance_id) of the instances that a person corrected, whose class may be any.
    """
    known = len(artifacts.categories)
    for row, columns in iter_images(artifacts.file(path), INSTANCES):
        record, problem = _record(artifacts, row, columns)
        if record is None:
            yield Finding(path, f"row {row}", problem)
            continue
        if record.split not in splits:
            yield Finding(path, _image(record), f"the image is of the split {record.split}")
        ids = columns["instance_id"]
        if ids.tolist() != list(range(1, len(ids) + 1)):
            yield Finding(path, _image(record), f"its instance ids are {ids.tolist()[:10]}, not 1 to {len(ids)}")
        for number in range(len(ids)):
            entry = {name: values[number] for name, values in columns.items()}
            automatic = (row, int(entry["instance_id"])) not in corrected
            allowed = record.labels if labels_only and automatic else range(1, known + 1)
            place = f"{_image(record)}, instance {entry['instance_id']}"
            if int(entry["category_id"]) not in allowed:
                yield Finding(path, place, f"its category_id {entry['category_id']} is not one of {list(allowed)}")
            for problem in _wrong_geometry(entry, record):
                yield Finding(path, place, problem)


def _record(artifacts: Artifacts, row: int, columns: Columns) -> tuple[ImageRecord | None, str]:
    """Return the image of a row, or None and the reason why the index has no such image."""
    if not 0 <= row < len(artifacts.images):
        return None, f"{IMAGES} has no such row, only {len(artifacts.images)}"
    record = artifacts.images[row]
    strangers = sorted({str(each) for each in columns["image_id"]} - {record.image_id})
    if strangers:
        return None, f"its image_id is {', '.join(strangers[:3])}, but {IMAGES} has {record.image_id} there"
    return record, ""


def _wrong_geometry(entry: dict, record: ImageRecord) -> Iterator[str]:
    """Yield what is wrong with the score, center, area, box or mask of an instance."""
    if not 0 <= entry["score"] <= 1:
        yield f"its score is {entry['score']}, not in 0..1"
    if not (0 <= entry["center_y"] < record.height and 0 <= entry["center_x"] < record.width):
        yield (
            f"its center ({entry['center_y']:.1f}, {entry['center_x']:.1f}) lies outside the image of "
            f"{record.height}x{record.width}"
        )
    try:
        mask = decode_mask(str(entry["rle"]), record.height, record.width)
    except ValueError as error:
        yield f"its rle is damaged: {error}"
        return
    if (area := int(mask.sum())) != entry["area_px"]:
        yield f"its area_px is {entry['area_px']}, but its mask has {area} px"
    if area and (box := mask_box(mask)) != [float(side) for side in entry["bbox_xywh"]]:
        yield f"its bbox_xywh is {entry['bbox_xywh'].tolist()}, but that of its mask is {box}"
    if not area:
        yield "its mask is empty"


def mask_box(mask: Bool[np.ndarray, "h w"]) -> list[float]:
    """Return left, top, width and height, in px, of a mask that is not empty."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [float(xs[0]), float(ys[0]), float(xs[-1] - xs[0] + 1), float(ys[-1] - ys[0] + 1)]


def _image(record: ImageRecord) -> str:
    return f"image {record.image_id}"

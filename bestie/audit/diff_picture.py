"""The picture of a difference: the images that changed most, before and after, and what became of each label."""

from typing import Any

import numpy as np
from jaxtyping import UInt8

from bestie.artifacts.instances import decode_mask
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import read_table
from bestie.audit.diff import Difference, ImageDiff, InstanceDiff
from bestie.audit.matching import Change
from bestie.audit.sources import Artifacts, instances_of
from bestie.errors import InputError
from bestie.pictures import contact_sheet, draw_instances, draw_regions, fit_image, fit_map, swatches
from bestie.records import ImageRecord

CELL_PX = 280
BLANK = 120
#: Colors that can be told apart with any kind of color vision.
CHANGE_COLORS = {
    Change.UNCHANGED: (150, 150, 150),
    Change.MOVED: (86, 180, 233),
    Change.CLASS_CHANGED: (230, 159, 0),
    Change.APPEARED: (0, 158, 115),
    Change.VANISHED: (213, 94, 0),
}

Picture = UInt8[np.ndarray, "_h _w 3"]
Masks = dict[int, tuple[np.ndarray, int]]


def draw_difference(difference: Difference, before: Artifacts, after: Artifacts) -> Picture:
    """Draw a row for each image in `difference.largest`, from the files of both versions.

    Raises:
        InputError: an artifact is missing or malformed.
    """
    rows = [(_caption(image), _pictures(image, before, after)) for image in difference.largest]
    return contact_sheet(
        rows,
        headers=(f"before: {difference.before}", f"after: {difference.after}", "what became of each label"),
        cell_px=CELL_PX,
        legend=swatches((change.replace("_", " "), color) for change, color in CHANGE_COLORS.items()),
        title="Images with the largest change of labels",
    )


def _caption(image: ImageDiff) -> str:
    counts = [f"{count} {change.replace('_', ' ')}" for change, count in image.counts.items() if count]
    return "\n".join([image.image_id, *counts])


def _pictures(image: ImageDiff, before: Artifacts, after: Artifacts) -> list[Picture | None]:
    """Draw the labels before and after, and the changes on the newer image, or on the older one if it was removed."""
    sides = [_side(artifacts, image.image_id) for artifacts in (before, after)]
    drawn: list[Picture | None] = [None if side is None else _draw_labels(*side) for side in sides]
    base = next(side[0] for side in reversed(sides) if side is not None)
    shown = [(each, mask) for each in image.instances if (mask := _mask(each, sides)) is not None]
    same_size = [(each, mask) for each, mask in shown if mask.shape == base.shape[:2]]
    changes = draw_regions(
        base,
        [mask for _, mask in same_size],
        np.array([CHANGE_COLORS[each.change] for each, _ in same_size], np.uint8).reshape(-1, 3),
        [_texts(each) for each, _ in same_size],
    )
    return [*drawn, changes]


Side = tuple[Picture, Masks, list[str]]


def _side(artifacts: Artifacts, image_id: str) -> Side | None:
    """Return the fitted image, masks and classes by instance_id, and all class names; None without such an image."""
    try:
        record = artifacts.record(image_id)
    except InputError:
        return None
    path = artifacts.file(instances_of(artifacts.version.stage))
    columns = read_table(path, INSTANCES, ["instance_id", "category_id", "rle"], where={"row": record.row})
    masks = {
        int(number): (fit_map(decode_mask(str(rle), record.height, record.width), CELL_PX), int(category_id))
        for number, category_id, rle in zip(*columns.values(), strict=True)
    }
    return _base(artifacts, record), masks, [category.name for category in artifacts.categories]


def _base(artifacts: Artifacts, record: ImageRecord) -> Picture:
    image = artifacts.picture(record)
    return fit_image(np.full((record.height, record.width, 3), BLANK, np.uint8) if image is None else image, CELL_PX)


def _draw_labels(base: Picture, masks: Masks, names: list[str]) -> Picture:
    category_id = np.array([category for _, category in masks.values()], np.int64)
    return draw_instances(base, [mask for mask, _ in masks.values()], category_id, names=names)


def _mask(instance: InstanceDiff, sides: list[Any]) -> np.ndarray | None:
    side, number = (sides[0], instance.before_id) if instance.after_id is None else (sides[1], instance.after_id)
    return None if side is None else side[1][number][0]


def _texts(instance: InstanceDiff) -> list[str]:
    if instance.change is Change.CLASS_CHANGED:
        return [f"{instance.before_class} -> {instance.after_class}", str(instance.after_class)]
    word = f"{instance.change} {instance.iou:.2f}" if instance.change is Change.MOVED else str(instance.change)
    return [f"{instance.after_class or instance.before_class} {word}", word]

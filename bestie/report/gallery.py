"""The images of the gallery: pixels, outlines of the true and of every table's instances, errors and changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bestie.artifacts.instances import decode_mask
from bestie.datasets.image_reading import read_image
from bestie.evaluation.error_analysis import read_images_of
from bestie.metrics.detection_errors import ImageErrors, Verdict, find_errors
from bestie.metrics.masks import MaskTable
from bestie.pictures.color import instance_colors
from bestie.pictures.scaling import fitted_size
from bestie.prediction.shown import SHOWN_PART
from bestie.records import ImageRecord
from bestie.report.analysis import AnalysedTable
from bestie.report.images import SIDE_PX, data_uri, path_data
from bestie.report.instance_tables import TRUTH
from bestie.report.label_changes import CHANGE_NAMES, ImageChanges, LabelChanges, read_changes
from bestie.runtime.progress import track

Entry = dict[str, Any]

SPLITS = ("train", "val")
DETECTOR = Path("train_mrcnn/detector.zarr")


@dataclass(frozen=True)
class Gallery:
    """The data from which the page's script builds the gallery.

    Attributes:
        content: JSON values: the names of the `categories` and their `colors`; the `tables`; the names of the
            `changes`; and the `images`, each with its picture, its labels, its true instances and, by table, what was
            found and what changed.
        shown: the number of images in the gallery.
        total: the number of all images.
        changed: table -> the number of shown images with changed labels.
    """

    content: Entry
    shown: int
    total: int
    changed: dict[str, int]


def build_gallery(
    data: Path,
    root: Path,
    records: Sequence[ImageRecord],
    *,
    chosen: Sequence[int],
    known: set[int],
    tables: Sequence[AnalysedTable],
    labels: Sequence[LabelChanges],
    categories: Sequence[str],
) -> Gallery:
    """Read and draw the chosen images.

    Args:
        data: the folder of artifacts.
        root: the folder that the images' paths are relative to.
        records: all images, in order of row.
        chosen: the rows to show.
        known: the rows of the images whose truth is known.
        tables: the instance tables to show.
        labels: the changes of the labels since the other version.
        categories: the names of the classes, those of the run first.

    Raises:
        InputError: an image is missing or is not the one that was indexed.
    """
    shown = [records[row] for row in chosen]
    masks = _read_masks(data, shown, known, tables, labels, categories)
    content = {
        "categories": list(categories),
        "colors": [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in instance_colors(len(categories))[1:]],
        "tables": [_describe(data, each, masks) for each in tables],
        "changes": [(change.value, name) for change, name in CHANGE_NAMES.items()],
        "images": [_image_entry(root, record, masks) for record in track(shown, "report: images")],
    }
    changed = {key: sum(image.is_changed for image in each.values()) for key, each in masks.changes.items()}
    return Gallery(content, len(shown), len(records), changed)


@dataclass(frozen=True)
class _Masks:
    """The masks on the images shown, by row: the known truth, and by table the instances found and the changes."""

    truth: dict[int, MaskTable]
    found: dict[str, dict[int, MaskTable]]
    changes: dict[str, dict[int, ImageChanges]]


def _read_masks(
    data: Path,
    shown: Sequence[ImageRecord],
    known: set[int],
    tables: Sequence[AnalysedTable],
    labels: Sequence[LabelChanges],
    categories: Sequence[str],
) -> _Masks:
    of_split = {split: [record for record in shown if record.split == split] for split in SPLITS}
    return _Masks(
        truth=read_images_of(data / TRUTH, [record for record in shown if record.row in known]) if known else {},
        found={
            each.table.key: read_images_of(data / each.table.path, of_split[each.table.split], min_score=each.min_score)
            for each in tables
        },
        changes={
            each.table.key: read_changes(each, of_split[each.table.split], categories)
            for each in labels
            if each.difference is not None
        },
    )


def _image_entry(root: Path, record: ImageRecord, masks: _Masks) -> Entry:
    """Return one image with its picture, its true instances, and its instances in each table."""
    truth = masks.truth.get(record.row)
    return {
        **_picture(root, record),
        "labels": list(record.labels),
        "truth": [] if truth is None else _true_entries(truth),
        "tables": {
            key: _table_entry(found[record.row], truth, masks.changes.get(key, {}).get(record.row))
            for key, found in masks.found.items()
            if record.row in found
        },
    }


def _describe(data: Path, each: AnalysedTable, masks: _Masks) -> Entry:
    """Return what filters ask of a table. `least` is the score from which on its instances are shown at first."""
    least = each.min_score if each.counts is not None or not each.table.is_scored else _worth_showing(data, each, masks)
    return {
        "compared": each.table.key in masks.changes,
        "least": round(least, 2),
        "key": each.table.key,
        "name": each.table.name,
        "split": each.table.split,
        "judged": each.counts is not None,
        "scored": each.table.is_scored,
    }


def _worth_showing(data: Path, each: AnalysedTable, masks: _Masks) -> float:
    """Return a score without a truth: what Mask R-CNN's training found, or half of what is best in a usual image."""
    if each.table.key == "mrcnn" and (data / DETECTOR).is_dir():
        from bestie.training.saved_models import stored_shown_score  # torch, which nothing else here needs

        if (score := stored_shown_score(data / DETECTOR)) is not None:
            return score
    best = [found.score.max() for found in masks.found.get(each.table.key, {}).values() if len(found)]
    return SHOWN_PART * float(np.median(best)) if best else 0.0


def _picture(root: Path, record: ImageRecord) -> Entry:
    height, width = fitted_size(record.height, record.width, size_px=SIDE_PX)
    return {
        "id": record.image_id,
        "split": record.split,
        "width": width,
        "height": height,
        "src": data_uri(read_image(root, record)),
    }


def _true_entries(masks: MaskTable) -> list[Entry]:
    return [
        {"category": int(category_id), "path": _outline(rle), **({"crowd": True} if crowd else {})}
        for category_id, rle, crowd in zip(masks.category_id, masks.rle, masks.is_crowd, strict=True)
    ]


def _table_entry(masks: MaskTable, truth: MaskTable | None, changes: ImageChanges | None) -> Entry:
    """Return the instances of one image in one table, with their changes if the table was compared."""
    entry = _found(masks, truth)
    if changes is not None:
        for each, change in zip(entry["found"], changes.found, strict=True):
            each |= change
        entry |= {"vanished": changes.vanished, "changed": changes.share}
    return entry


def _found(masks: MaskTable, truth: MaskTable | None) -> Entry:
    """Return the instances of one image in one table; with a truth, also their verdicts and the missed objects."""
    entries = [
        {"category": int(category_id), "score": round(float(score), 3), "path": _outline(rle)}
        for category_id, score, rle in zip(masks.category_id, masks.score, masks.rle, strict=True)
    ]
    if truth is None:
        return {"found": entries, "missed": []}
    errors = find_errors(truth, masks)
    for entry, verdict in zip(entries, _verdicts(errors, truth), strict=True):
        entry |= verdict
    return {"found": entries, "missed": errors.missed.nonzero()[0].tolist()}


def _verdicts(errors: ImageErrors, truth: MaskTable) -> list[Entry]:
    """Return each instance's verdict, the IoU with its true object, and that object's class if it is another one."""
    return [
        {
            "verdict": verdict.value,
            "iou": round(float(iou), 2),
            **({"truth": int(truth.category_id[about])} if verdict is Verdict.WRONG_CLASS else {}),
        }
        for verdict, iou, about in zip(errors.verdict, errors.iou, errors.truth, strict=True)
    ]


def _outline(rle: dict[str, Any]) -> str:
    return path_data(decode_mask(rle["counts"].decode("ascii"), *rle["size"]))

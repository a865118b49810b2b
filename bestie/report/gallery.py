"""The images of the gallery: pixels, outlines of the truth and of every table, and what is wrong with these."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bestie.artifacts.instances import decode_mask
from bestie.datasets.base import Category, ImageRecord, read_image
from bestie.error_analysis import read_images_of
from bestie.metrics.errors import ImageErrors, Verdict, find_errors
from bestie.metrics.masks import MaskTable
from bestie.pictures.scaling import fitted_size
from bestie.progress import track
from bestie.report.analysis import AnalysedTable
from bestie.report.images import SIDE_PX, data_uri, path_data
from bestie.report.tables import TRUTH

Entry = dict[str, Any]


@dataclass(frozen=True)
class Gallery:
    """What the page's script builds the gallery from.

    `content` is plain JSON: `categories`, the names; `tables`; `images`, each with its picture, its true instances
    and, by table, what was found. `shown` of `total` images are in it.
    """

    content: Entry
    shown: int
    total: int


def build_gallery(
    data: Path,
    root: Path,
    records: Sequence[ImageRecord],
    *,
    chosen: Sequence[int],
    known: set[int],
    tables: Sequence[AnalysedTable],
    categories: Sequence[Category],
) -> Gallery:
    """Read and draw the chosen images.

    Args:
        data: the folder of artifacts.
        root: the folder that the images' paths start from.
        records: all images, in order of row.
        chosen: the rows to show.
        known: the rows of the images whose truth is known.
        tables: the tables to show.
        categories: for their names.

    Raises:
        InputError: an image is missing or is not the one indexed.
    """
    shown = [records[row] for row in chosen]
    truth = read_images_of(data / TRUTH, [record for record in shown if record.row in known]) if known else {}
    found = {
        each.table.key: read_images_of(
            data / each.table.path, [r for r in shown if r.split == each.table.split], min_score=each.min_score
        )
        for each in tables
    }
    images = []
    for record in track(shown, "report: images"):
        true_masks = truth.get(record.row)
        images.append(
            {
                **_picture(root, record),
                "truth": [] if true_masks is None else _true_entries(true_masks),
                "tables": {
                    key: _found(masks[record.row], true_masks) for key, masks in found.items() if record.row in masks
                },
            }
        )
    content = {
        "categories": [category.name for category in categories],
        "tables": [_describe(each) for each in tables],
        "images": images,
    }
    return Gallery(content, len(shown), len(records))


def _describe(each: AnalysedTable) -> Entry:
    return {
        "key": each.table.key,
        "name": each.table.name,
        "split": each.table.split,
        "judged": each.counts is not None,
    }


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


def _found(masks: MaskTable, truth: MaskTable | None) -> Entry:
    """The instances of one image in one table; with a truth also their verdicts and the true objects missed."""
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
    """What each instance is, its IoU with the true object that this is about, and the class of that one if another."""
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

"""Instance average precision as COCO defines it (Table 2), by faster-coco-eval, with the digits of pycocotools."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from jaxtyping import Float64

from bestie.metrics.masks import MaskTable

_NAMES = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
_RECALL_NAMES = ("AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large")


@dataclass(frozen=True)
class CocoAp:
    """COCO's twelve numbers by name, and AP (the mean over IoU 0.5 to 0.95) by class; nan if undefined.

    Element c - 1 of `per_class` is category_id c. All values are in [0, 1].
    """

    summary: dict[str, float]
    per_class: Float64[np.ndarray, " c"]


def coco_ap(truth: MaskTable, predictions: MaskTable, *, rows: Sequence[int], num_classes: int) -> CocoAp:
    """Compute average precision and recall over the images `rows`, with at most 100 predictions per image.

    Small, medium and large objects are told apart by their mask area, with edges at 32^2 and 96^2 px.

    Raises:
        ValueError: a table has a row that is not in `rows`.
    """
    for name, table in (("true", truth), ("predicted", predictions)):
        strangers = np.setdiff1d(table.row, rows)
        if len(strangers):
            raise ValueError(f"the {name} masks have the row {strangers[0]}, which is not among the images")
    # Classes do not meet in COCO's measures, and the library keeps a record of every image, class and size at a time.
    found = [_evaluated(_of_class(truth, c), _of_class(predictions, c)) for c in range(1, num_classes + 1)]
    precision = np.stack([each[0] for each in found], axis=2)
    recall = np.stack([each[1] for each in found], axis=1)
    most = precision[..., -1]  # with 100 predictions; the IoUs are 0.5 to 0.95, and the sixth is 0.75
    by_name = dict(
        zip(_NAMES, (most[..., 0], most[0, ..., 0], most[5, ..., 0], *np.moveaxis(most[..., 1:], -1, 0)), strict=True)
    )
    recalls = (*np.moveaxis(recall[:, :, 0], -1, 0), *np.moveaxis(recall[:, :, 1:, -1], -1, 0))
    by_name |= dict(zip(_RECALL_NAMES, recalls, strict=True))
    summary = {name: _defined_mean(values) for name, values in by_name.items()}
    per_class = [_defined_mean(each[0][:, :, 0, -1]) for each in found]
    return CocoAp(summary, np.array(per_class, np.float64))


def _evaluated(
    truth: MaskTable, predictions: MaskTable
) -> tuple[Float64[np.ndarray, "10 101 4 3"], Float64[np.ndarray, "10 4 3"]]:
    """Return precision (by IoU, recall, size, number of predictions) and recall of one class; -1 if undefined."""
    rows = np.union1d(truth.row, predictions.row)
    sets = [_data_set(truth, rows, is_truth=True), _data_set(predictions, rows, is_truth=False)]
    evaluation: Any = COCOeval_faster(*sets, iouType="segm", print_function=_silent)
    evaluation.evaluate()
    evaluation.accumulate()
    precision, recall = (np.asarray(evaluation.eval[name], np.float64) for name in ("precision", "recall"))
    return precision[:, :, 0], recall[:, 0]


def _of_class(table: MaskTable, category_id: int) -> MaskTable:
    chosen = np.flatnonzero(table.category_id == category_id)
    return MaskTable(
        row=table.row[chosen],
        category_id=np.ones(len(chosen), np.int64),
        score=table.score[chosen],
        rle=[table.rle[number] for number in chosen.tolist()],
        is_crowd=table.is_crowd[chosen],
    )


def _defined_mean(values: np.ndarray) -> float:
    """Return the mean of the values that are defined (not -1), nan if none is."""
    defined = values[values >= 0]
    return float(defined.mean()) if len(defined) else float("nan")


def _data_set(table: MaskTable, rows: np.ndarray, *, is_truth: bool) -> COCO:
    """Return masks of one class in the library's form."""
    sizes: dict[int, Any] = {int(row): rle["size"] for row, rle in zip(table.row, table.rle, strict=True)}
    # The size of an image without masks is not known here, and its evaluation does not need it.
    images = []
    for row in rows.tolist():
        height, width = sizes.get(row, (1, 1))
        images.append({"id": row, "height": height, "width": width})
    columns = (table.row, table.rle, table.area_px, table.is_crowd, table.score)
    entries: list[dict[str, Any]] = [
        {
            "id": number,
            "image_id": int(row),
            "category_id": 1,
            "segmentation": rle,
            "area": int(area_px),
            "iscrowd": int(is_crowd and is_truth),
            "score": float(score),
        }
        for number, (row, rle, area_px, is_crowd, score) in enumerate(zip(*columns, strict=True), start=1)
    ]
    classes = [{"id": 1, "name": "1"}]
    return COCO({"images": images, "categories": classes, "annotations": entries}, print_function=_silent)


def _silent(*_: object) -> None:
    """Discard what the library reports about its steps."""

"""COCO's AP on tables of the size of val2017, computed in three ways: `python -m benchmarks.coco_evaluation`.

pycocotools is the reference, faster-coco-eval is the fast library, and `coco_ap` is what the pipeline calls.
"""

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from benchmarks.common import line, measure, start
from benchmarks.scenes import draw_mask_tables
from bestie.metrics.coco_scores import coco_ap
from bestie.metrics.masks import MaskTable

IMAGES, TRUE_MASKS, PREDICTED_MASKS, CLASSES = 5_000, 36_000, 60_000, 80
NAMES = ("AP", "AP50", "AP75")


def data_set(table: MaskTable) -> dict[str, Any]:
    """Return a table in COCO's JSON form."""
    columns = zip(table.row, table.category_id, table.score, table.rle, strict=True)
    return {
        "images": [{"id": row, "height": 375, "width": 500} for row in range(IMAGES)],
        "categories": [{"id": c, "name": str(c)} for c in range(1, CLASSES + 1)],
        "annotations": [
            {
                "id": number,
                "image_id": int(row),
                "category_id": int(category_id),
                "score": float(score),
                "segmentation": rle,
                "area": int(coco_mask.area(rle)),
                "iscrowd": 0,
            }
            for number, (row, category_id, score, rle) in enumerate(columns, start=1)
        ],
    }


def evaluate(coco_type: Any, eval_type: Any, truth: dict[str, Any], found: dict[str, Any]) -> np.ndarray:
    """Return COCO's twelve scores, computed with the classes of one of the two libraries."""
    sides = []
    with contextlib.redirect_stdout(io.StringIO()):
        for values in (truth, found):
            side = coco_type()
            side.dataset = {**values, "annotations": [dict(each) for each in values["annotations"]]}
            side.createIndex()
            sides.append(side)
        evaluation = eval_type(*sides, iouType="segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.asarray(evaluation.stats[:12])


def main() -> None:
    """Time all three on the same tables, and compare their digits."""
    options = start(
        f"COCO evaluation: {IMAGES:,} images of 375 x 500 px, {CLASSES} classes, {TRUE_MASKS:,} true and "
        f"{PREDICTED_MASKS:,} predicted masks",
        repeats=3,
    )
    tables = draw_mask_tables(
        images=IMAGES, true_masks=TRUE_MASKS, predicted_masks=PREDICTED_MASKS, num_classes=CLASSES
    )
    sides = [data_set(table) for table in tables]
    results: dict[str, np.ndarray] = {}

    def ours() -> None:
        found = coco_ap(*tables, rows=range(IMAGES), num_classes=CLASSES)
        results["ours"] = np.array([found.summary[name] for name in NAMES])

    line("coco_ap", measure(ours, repeats=options.repeats).per(1))
    try:
        from faster_coco_eval import COCO as FastCoco  # noqa: N811  the library's own spelling
        from faster_coco_eval import COCOeval_faster
    except ImportError:
        line("faster-coco-eval", "is not installed")
    else:

        def fast() -> None:
            results["faster-coco-eval"] = evaluate(FastCoco, COCOeval_faster, *sides)[:3]

        line("faster-coco-eval", measure(fast, repeats=options.repeats).per(1))
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def reference() -> None:
        results["pycocotools"] = evaluate(COCO, COCOeval, *sides)[:3]

    line("pycocotools", measure(reference, repeats=1, warm_up=0).per(1))
    for name, values in results.items():
        line(f"AP, AP50, AP75 by {name}", ", ".join(f"{value:.12f}" for value in values))
    same = all(np.array_equal(values, results["pycocotools"]) for values in results.values())
    line("the same digits", "yes" if same else "NO")
    line("wanted", "at most 1.2 times faster-coco-eval, the same digits")


if __name__ == "__main__":
    main()

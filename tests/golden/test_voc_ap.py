"""VOC instance average precision against the numbers of the authors' release."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bestie.metrics.masks import MaskTable
from bestie.metrics.voc_scores import voc_ap


def read_table(recorded: np.lib.npyio.NpzFile, kind: str) -> MaskTable:
    rows, labels, scores, codes = [], [], [], []
    for image in range(int(recorded["n_images"])):
        shape = recorded[f"{kind}_shape_{image}"]
        bits = np.unpackbits(recorded[f"{kind}_masks_{image}"], count=int(np.prod(shape)))
        codes += [coco_mask.encode(np.asfortranarray(mask)) for mask in bits.reshape(shape)]
        rows += [image] * len(recorded[f"{kind}_labels_{image}"])
        labels.append(recorded[f"{kind}_labels_{image}"])
        scores.append(recorded.get(f"{kind}_scores_{image}", np.ones(shape[0], np.float32)))
    return MaskTable(
        row=np.array(rows),
        category_id=np.concatenate(labels) + 1,
        score=np.concatenate(scores),
        rle=codes,
        is_crowd=np.zeros(len(rows), bool),
    )


def test_average_precision_is_that_of_the_release(golden_files: Callable[[str], list[Path]]):
    for path in golden_files("voc_ap*.npz"):
        recorded = np.load(path)
        thresholds = sorted(float(name.removeprefix("ap_")) for name in recorded if name.startswith("ap_"))
        truth, predictions = read_table(recorded, "gt"), read_table(recorded, "pred")
        num_classes = len(recorded[f"ap_{thresholds[0]}"])

        result = voc_ap(truth, predictions, num_classes=num_classes, iou_thresholds=thresholds)

        for ap, mean, threshold in zip(result.ap, result.mean, thresholds, strict=True):
            np.testing.assert_allclose(ap, recorded[f"ap_{threshold}"], atol=1e-9, err_msg=str(path))
            assert mean == pytest.approx(float(recorded[f"map_{threshold}"]), abs=1e-9), path

"""The score from which on detections on new images are worth showing, where no true mask says so."""

from collections.abc import Sequence

import numpy as np
import torch
from torchvision.models.detection import MaskRCNN

from bestie.artifacts.instances import instance_rows
from bestie.method.detector import detect
from bestie.metrics.detection_errors import Verdict, find_errors
from bestie.metrics.masks import MaskTable
from bestie.metrics.operating_point import ScoreHistogram
from bestie.records import ImageRecord
from bestie.runtime.device import autocast
from bestie.training.detector_training import DetectorImages
from bestie.training.samples import image_tensor

#: Training images that are looked at: enough for a score of two digits, and few seconds on a CPU.
MAX_IMAGES = 100


def find_shown_score(detector: MaskRCNN, samples: DetectorImages, device: torch.device, precision: str) -> float:
    """Return the score from which on F1 against the labels of some training images is largest, 0 to 1.

    Args:
        detector: a trained Mask R-CNN on `device`; it is switched to evaluation mode.
        samples: the training images with the labels that it learned.
        device: where to compute.
        precision: that of the training.

    Raises InputError like `read_image`.
    """
    histogram, num_labels = ScoreHistogram(), 0
    places = np.linspace(0, len(samples.records) - 1, min(MAX_IMAGES, len(samples.records)))
    for record in (samples.records[int(place)] for place in places):
        image = image_tensor(samples.root, record).to(device).float() / 255
        with autocast(device, precision):
            found = detect(detector, [image])[0]
        rows = instance_rows(record, found["masks"], found["category_id"], scores=found["score"])
        predicted = _table(record, [(row["rle"], row["category_id"]) for row in rows], [row["score"] for row in rows])
        labels = _table(record, entries := samples.instances[record.row], [1.0] * len(entries))
        right = [verdict == Verdict.CORRECT for verdict in find_errors(labels, predicted).verdict]
        histogram.update(predicted.score, np.array(right, bool))
        num_labels += len(labels)
    return histogram.best_score(num_labels)


def _table(record: ImageRecord, entries: Sequence[tuple[str, int]], scores: Sequence[float]) -> MaskTable:
    """Return a table of (RLE, category_id) of one image."""
    return MaskTable(
        row=np.full(len(entries), record.row, np.int64),
        category_id=np.array([category for _, category in entries], np.int64),
        score=np.array(scores, np.float64),
        rle=[{"size": [record.height, record.width], "counts": rle.encode("ascii")} for rle, _ in entries],
        is_crowd=np.zeros(len(entries), bool),
    )

"""How many labels a version has, by class, and how many of them are right: counted in one pass, and remembered."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bestie.artifacts.metrics_json import write_json
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import Columns, as_rows, iter_images
from bestie.audit.lock import short_hash
from bestie.audit.pairing import ImageStream
from bestie.audit.sources import CATEGORIES, GROUND_TRUTH, IMAGES, Artifacts, instances_of
from bestie.datasets.base import ImageRecord
from bestie.errors import InputError

#: Images that are compared with the truth at a time.
BATCH_IMAGES = 256
# Counted anew when what is counted changes its meaning.
FORMAT = 1


@dataclass(frozen=True)
class Counts:
    """The labels of a version.

    Attributes:
        images: training images.
        labelled_images: those with a label.
        instances: labels.
        by_class: labels by the name of their class.
        true_images: training images that have a truth; the numbers below are of these, None without any.
        true_positives: labels that are right at IoU 0.5 (Figure 6).
        precision: share of the labels that are right.
        recall: share of the true instances that have a right label.
    """

    images: int
    labelled_images: int
    instances: int
    by_class: Mapping[str, int]
    true_images: int = 0
    true_positives: int | None = None
    precision: float | None = None
    recall: float | None = None


def count_labels(artifacts: Artifacts, memory: Path | None = None) -> Counts:
    """Count the labels of a version.

    Args:
        artifacts: of the version.
        memory: a folder in which counts are kept by the hashes of what was counted; None counts anew.

    Raises:
        InputError: an artifact is missing or is not what it should be.
    """
    stage = artifacts.version.stage
    counted = {path: artifacts.hashes.get(path, "") for path in (instances_of(stage), IMAGES, CATEGORIES, GROUND_TRUTH)}
    kept = None if memory is None else memory / f"counts_{FORMAT}_{stage}_{short_hash(counted)}.json"
    if kept is not None and (known := _recall(kept)) is not None:
        return known
    counts = _count(artifacts)
    if kept is not None:
        write_json(kept, asdict(counts))
    return counts


def _recall(path: Path) -> Counts | None:
    """Counts that were kept, or None where there are none or they cannot be read: they are counted anew then."""
    try:
        return Counts(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _count(artifacts: Artifacts) -> Counts:
    names = [category.name for category in artifacts.categories]
    found = np.zeros(len(names) + 1, np.int64)
    labelled = 0
    for _row, columns in iter_images(artifacts.file(instances_of(artifacts.version.stage)), INSTANCES, ["category_id"]):
        if (largest := int(columns["category_id"].max())) > len(names):
            raise InputError(
                f"{artifacts.name(instances_of(artifacts.version.stage))} has the category_id {largest}, but there are "
                f"{len(names)} categories. `bestie audit verify {artifacts.version.hash}` says what else is wrong."
            )
        found += np.bincount(columns["category_id"], minlength=len(names) + 1)
        labelled += 1
    return Counts(
        images=sum(1 for _ in artifacts.training_images),
        labelled_images=labelled,
        instances=int(found.sum()),
        by_class=dict(zip(names, found[1:].tolist(), strict=True)),
        **_compare_with_truth(artifacts, len(names)),
    )


def _compare_with_truth(artifacts: Artifacts, num_classes: int) -> dict[str, Any]:
    """The true positives among the labels of images that have a truth; nothing where there is none."""
    if not artifacts.has(GROUND_TRUTH):
        return {}
    from bestie.evaluation import mask_table  # not needed for counts that are remembered, and slow to load
    from bestie.metrics import count_true_positives

    known = _with_truth(artifacts)
    images = right = counted = true = 0
    while batch := list(islice(known, BATCH_IMAGES)):
        records = {record.row: record for record, _, _ in batch}
        sides = zip(*((true, labels) for _, true, labels in batch), strict=True)
        tables = [mask_table((row for each in side for row in as_rows(each)), records) for side in sides]
        total = count_true_positives(*tables, num_classes=num_classes).total
        images += len(batch)
        right += int(total.true_positives[0])
        counted += int(total.num_labels[0])
        true += int(total.num_truth[0])
    if not images:
        return {}
    return {
        "true_images": images,
        "true_positives": right,
        "precision": round(right / counted, 6) if counted else None,
        "recall": round(right / true, 6) if true else None,
    }


def _with_truth(artifacts: Artifacts) -> Iterator[tuple[ImageRecord, Columns, Columns]]:
    """Each training image that has a truth, its true instances and its labels."""
    truth, labels = (
        ImageStream(iter_images(artifacts.file(path), INSTANCES))
        for path in (GROUND_TRUTH, instances_of(artifacts.version.stage))
    )
    for record in artifacts.training_images:
        if true := truth.take(record.row):
            yield record, true, labels.take(record.row)

"""How many labels a version has, by class, and how many of them are right: counted in one pass, and cached."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bestie.artifacts.metrics_json import write_json
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import Columns, as_rows, iter_images
from bestie.audit.lock import short_hash
from bestie.audit.pairing import ImageStream
from bestie.audit.sources import (
    CATEGORIES,
    EXPORT_ORIGINS,
    GROUND_TRUTH,
    IMAGES,
    Artifacts,
    corrected_labels,
    instances_of,
)
from bestie.errors import InputError
from bestie.records import ImageRecord

#: Number of images to compare with the truth at a time.
BATCH_IMAGES = 256
#: Increase it when the meaning of a count changes, so that cached counts are no longer used.
FORMAT = 2


@dataclass(frozen=True)
class Counts:
    """The labels of a version.

    Attributes:
        images: number of training images.
        labeled_images: number of those that have a label.
        instances: number of labels.
        by_class: number of labels by class name.
        corrected: number of labels that each person corrected; empty for stages that record none.
        true_images: number of training images with a truth; what follows counts only these, and is None without any.
        true_positives: number of labels that are right at IoU 0.5 (Figure 6).
        precision: fraction of the labels that are right, 0 to 1; None without labels.
        recall: fraction of the true instances that have a right label, 0 to 1; None without true instances.
    """

    images: int
    labeled_images: int
    instances: int
    by_class: Mapping[str, int]
    corrected: Mapping[str, int] = field(default_factory=dict)
    true_images: int = 0
    true_positives: int | None = None
    precision: float | None = None
    recall: float | None = None


def count_labels(artifacts: Artifacts, memory: Path | None = None) -> Counts:
    """Count the labels of a version.

    Args:
        artifacts: the files of the version.
        memory: a folder that caches counts by the hashes of the counted files; None: always count anew.

    Raises:
        InputError: an artifact is missing or malformed.
    """
    stage = artifacts.version.stage
    paths = (instances_of(stage), IMAGES, CATEGORIES, GROUND_TRUTH, EXPORT_ORIGINS)
    counted = {path: artifacts.hashes.get(path, "") for path in paths}
    kept = None if memory is None else memory / f"counts_{FORMAT}_{stage}_{short_hash(counted)}.json"
    if kept is not None and (known := _recall(kept)) is not None:
        return known
    counts = _count(artifacts)
    if kept is not None:
        write_json(kept, asdict(counts))
    return counts


def _recall(path: Path) -> Counts | None:
    """Return cached counts; None if there are none or they cannot be read."""
    try:
        return Counts(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _count(artifacts: Artifacts) -> Counts:
    names = [category.name for category in artifacts.categories]
    found = np.zeros(len(names) + 1, np.int64)
    labeled = 0
    for _row, columns in iter_images(artifacts.file(instances_of(artifacts.version.stage)), INSTANCES, ["category_id"]):
        if (largest := int(columns["category_id"].max())) > len(names):
            raise InputError(
                f"{artifacts.name(instances_of(artifacts.version.stage))} has the category_id {largest}, but there are "
                f"{len(names)} categories. `bestie audit verify {artifacts.version.hash}` says what else is wrong."
            )
        found += np.bincount(columns["category_id"], minlength=len(names) + 1)
        labeled += 1
    return Counts(
        images=len(artifacts.training_images),
        labeled_images=labeled,
        instances=int(found.sum()),
        by_class=dict(zip(names, found[1:].tolist(), strict=True)),
        corrected=_corrected(artifacts),
        **_compare_with_truth(artifacts, len(names)),
    )


def _corrected(artifacts: Artifacts) -> dict[str, int]:
    """Return how many exported labels each person corrected."""
    if artifacts.version.stage != "export_mrcnn":
        return {}
    return dict(sorted(Counter(corrected_labels(artifacts).values()).items()))


def _compare_with_truth(artifacts: Artifacts, num_classes: int) -> dict[str, Any]:
    """Count the true positives among the labels of images with a truth; return nothing if there is no truth."""
    if not artifacts.has(GROUND_TRUTH):
        return {}
    from bestie.evaluation.scores import mask_table  # slow to load, and not needed for cached counts
    from bestie.metrics.voc_scores import count_true_positives

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
    """Yield each training image that has a truth, with its true instances and its labels."""
    truth, labels = (
        ImageStream(iter_images(artifacts.file(path), INSTANCES))
        for path in (GROUND_TRUTH, instances_of(artifacts.version.stage))
    )
    for record in artifacts.training_images:
        if true := truth.take(record.row):
            yield record, true, labels.take(record.row)

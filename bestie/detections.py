"""Instances of whole image lists: networks and detectors to instance tables, tables to metric columns."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from scipy import ndimage

from bestie.artifacts.instances import instance_rows
from bestie.datasets.base import VOID, ImageRecord
from bestie.inference import Confidence, Instances, predict_instances
from bestie.network import BestieNetwork, Outputs
from bestie.params import Evaluate, ExportMrcnn, Grouping
from bestie.prediction import padded_image, predict_batch


def predict_images(
    network: BestieNetwork,
    records: list[ImageRecord],
    root: Path,
    *,
    device: torch.device,
    precision: str,
    flip: bool,
    instance_scales: Sequence[float] = (1.0,),
    rows: Collection[int] | None = None,
) -> Iterator[tuple[ImageRecord, Outputs]]:
    """Full-size maps of each image, or of those with `rows`, a batch of one, on `device`, by `predict_batch`."""
    for record in records:
        if rows is not None and record.row not in rows:
            continue
        image = padded_image(root, record)
        outputs = predict_batch(
            network, image, device=device, precision=precision, flip=flip, instance_scales=instance_scales
        )
        yield record, Outputs(*(each[:, :, : record.height, : record.width] for each in outputs))


def predict_as(
    params: Evaluate | ExportMrcnn,
    network: BestieNetwork,
    records: list[ImageRecord],
    root: Path,
    *,
    device: torch.device,
    rows: Collection[int] | None = None,
) -> Iterator[tuple[ImageRecord, Outputs]]:
    """`predict_images` with the precision, mirror image and scales that a section of the parameters names."""
    return predict_images(
        network,
        records,
        root,
        device=device,
        precision=params.precision,
        flip=params.flip,
        instance_scales=params.instance_scales,
        rows=rows,
    )


def group_instances(
    outputs: Outputs,
    record: ImageRecord,
    grouping: Grouping,
    *,
    num_classes: int,
    min_area_px: int,
    use_image_labels: bool = False,
    semantic: np.ndarray | None = None,
    confidence: Confidence = "product",
) -> Instances:
    """`predict_instances` for one image, with a given `semantic` map in place of the predicted one if there is one."""
    device = outputs.center.device
    labels = torch.from_numpy(record.label_vector(num_classes)).to(device)[None] if use_image_labels else None
    given = None if semantic is None else torch.from_numpy(semantic).to(device)[None]
    return predict_instances(
        outputs.semantic.float(),
        outputs.center.float(),
        outputs.offset.float(),
        image_labels=labels,
        semantic=given,
        threshold=grouping.threshold,
        window_px=grouping.window_px,
        min_area_px=min_area_px,
        confidence=confidence,
    )[0]


def read_instances(
    outputs: Outputs, record: ImageRecord, params: Evaluate, *, num_classes: int, semantic: np.ndarray | None = None
) -> Instances:
    """`group_instances` as the section `evaluate` of the parameters says."""
    return group_instances(
        outputs,
        record,
        params.grouping,
        num_classes=num_classes,
        min_area_px=params.min_area_px,
        semantic=semantic,
        confidence=params.confidence,
    )


def find_instances(
    network: BestieNetwork,
    records: list[ImageRecord],
    root: Path,
    params: Evaluate,
    *,
    num_classes: int,
    device: torch.device,
) -> Iterator[tuple[ImageRecord, Instances]]:
    """What a network finds in each image, read as the section `evaluate` of the parameters says."""
    for record, outputs in predict_as(params, network, records, root, device=device):
        yield record, read_instances(outputs, record, params, num_classes=num_classes)


def table_rows(record: ImageRecord, found: Instances, *, min_score: float = 0.0) -> list[dict[str, Any]]:
    """Rows of the instance table; a score below 0, from a centre value below 0, is written as 0."""
    score = found.score.clip(min=0)
    keep = np.flatnonzero(score >= min_score)
    masks = (found.instance == number + 1 for number in keep)
    return instance_rows(
        record,
        masks,
        found.category_id[keep],
        scores=score[keep],
        centers_yx=found.center_yx[keep].astype(np.float64),
    )


def fill_void(semantic: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"] | None:
    """A true semantic map with void filled by the nearest label; None where all is void, as without a truth.

    Void must be filled: the void border itself would separate touching objects.
    """
    void = semantic == VOID
    if void.all():
        return None
    nearest = ndimage.distance_transform_edt(void, return_distances=False, return_indices=True)
    return semantic[tuple(nearest)]

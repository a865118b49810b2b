"""Mask R-CNN as a predictor: from images to rows of an instance table."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torchvision.models.detection import MaskRCNN

from bestie.artifacts.instances import instance_rows
from bestie.method.detector import detect
from bestie.records import ImageRecord
from bestie.runtime.device import autocast
from bestie.training.samples import image_tensor


class DetectorPredictor:
    """A trained Mask R-CNN, as the stages and the `bestie` command use it.

    Args:
        detector: the model, on `device`.
        num_classes: C, without background.
        device: where to compute.
        precision: `fp32` or `bf16`.
    """

    kind = "Mask R-CNN"

    def __init__(self, detector: MaskRCNN, *, num_classes: int, device: torch.device, precision: str) -> None:
        self._detector, self.num_classes = detector, num_classes
        self._device, self._precision = device, precision

    def find(self, records: Iterable[ImageRecord], root: Path) -> Iterator[tuple[ImageRecord, list[dict[str, Any]]]]:
        """Yield each image with the rows of its instances, in order. Raises InputError like `read_image`."""
        for record in records:
            image = image_tensor(root, record).to(self._device).float() / 255
            with autocast(self._device, self._precision):
                found = detect(self._detector, [image])[0]
            yield record, instance_rows(record, found["masks"], found["category_id"], scores=found["score"])

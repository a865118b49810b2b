"""Mask R-CNN as a predictor: from images to rows of an instance table."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torchvision.models.detection import MaskRCNN

from bestie.artifacts.instances import instance_rows
from bestie.method.detector import detect
from bestie.params.map_reading import MapReading
from bestie.records import ImageRecord
from bestie.runtime.device import autocast
from bestie.training.samples import image_tensor


class DetectorPredictor:
    """A trained Mask R-CNN, as the stages and the `bestie` command use it.

    Args:
        detector: the model, on `device`.
        reading: precision, and whether masks are refined by color.
        num_classes: C, without background.
        device: where to compute.
    """

    kind = "Mask R-CNN"

    def __init__(self, detector: MaskRCNN, reading: MapReading, *, num_classes: int, device: torch.device) -> None:
        self._detector, self._reading, self.num_classes = detector, reading, num_classes
        self._device = device

    def find(self, records: Iterable[ImageRecord], root: Path) -> Iterator[tuple[ImageRecord, list[dict[str, Any]]]]:
        """Yield each image with the rows of its instances, in order. Raises InputError like `read_image`."""
        reading = self._reading
        for record in records:
            image = image_tensor(root, record).to(self._device).float() / 255
            with autocast(self._device, reading.precision):
                found = detect(
                    self._detector,
                    [image],
                    color_steps=reading.color_steps,
                    refined_side_px=reading.refined_side_px,
                )[0]
            yield record, instance_rows(record, found["masks"], found["category_id"], scores=found["score"])

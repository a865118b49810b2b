"""Mask R-CNN as a predictor: from images to rows of an instance table."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from bestie.artifacts.instances import instance_rows
from bestie.artifacts.weights import read_attributes
from bestie.method.detector import Selection, detect
from bestie.method.pixel_adaptive import refine_masks
from bestie.params.evaluate import Evaluate
from bestie.records import ImageRecord
from bestie.runtime.device import autocast
from bestie.training.detector_model import load_detector
from bestie.training.samples import image_tensor
from bestie.training.saved_models import stored_shown_score


class DetectorPredictor:
    """A trained Mask R-CNN, as the stages and the `bestie` command use it.

    Args:
        detector: the model, on `device`.
        reading: precision, and whether masks are refined by color.
        num_classes: C, without background.
        device: where to compute.
        shown_score: from which score on instances are worth showing; None: not known.
    """

    kind = "Mask R-CNN"

    def __init__(
        self,
        detector: MaskRCNN,
        reading: Evaluate,
        *,
        num_classes: int,
        device: torch.device,
        shown_score: float | None = None,
    ) -> None:
        self._detector, self.num_classes, self.device = detector, num_classes, device
        self.shown_score = shown_score
        self._precision = reading.precision
        self._options: dict[str, Any] = {}
        if reading.mrcnn_color_steps:
            self._options["to_masks"] = partial(
                refine_masks, steps=reading.mrcnn_color_steps, longest_px=reading.refined_side_px
            )

    def find(self, records: Iterable[ImageRecord], root: Path) -> Iterator[tuple[ImageRecord, list[dict[str, Any]]]]:
        """Yield each image with the rows of its instances, in order. Raises InputError like `read_image`."""
        for record in records:
            yield record, self.find_on(record, root)

    def find_on(self, record: ImageRecord, root: Path) -> list[dict[str, Any]]:
        """Return the rows of the instances on an image. Raises InputError like `read_image`."""
        return self.find_in(image_tensor(root, record), record)

    def find_in(self, image: UInt8[Tensor, "3 h w"], record: ImageRecord) -> list[dict[str, Any]]:
        """Return the rows of the instances in the pixels (RGB, 0..255) of an image."""
        with autocast(self.device, self._precision):
            found = detect(self._detector, [image.to(self.device).float() / 255], **self._options)[0]
        return instance_rows(record, found["masks"], found["category_id"], scores=found["score"])


def load_detector_predictor(path: Path, reading: Evaluate, *, device: torch.device) -> DetectorPredictor:
    """Return a trained Mask R-CNN, ready to predict. Raises InputError like `load_detector`."""
    detector = load_detector(path, selection_of(reading)).to(device)
    return DetectorPredictor(
        detector,
        reading,
        num_classes=read_attributes(path)["num_classes"],
        device=device,
        shown_score=stored_shown_score(path),
    )


def selection_of(reading: Evaluate) -> Selection:
    """Return what is kept of the proposals and detections."""
    return Selection(reading.mrcnn_proposals, reading.mrcnn_nms)

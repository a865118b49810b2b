"""Section `evaluate`: how both models are scored on the validation split."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from bestie.params.map_reading import MapReading
from bestie.params.section import Count, CountOrZero, Fraction, option


def _with_half(values: tuple[float, ...]) -> tuple[float, ...]:
    if 0.5 not in values:
        raise ValueError("0.5 must be among them: curves and comparisons are made there")
    return values


class Evaluate(MapReading):
    """How both models are scored on the validation split."""

    iou_thresholds: Annotated[tuple[Fraction, ...], AfterValidator(_with_half)] = option(
        (0.25, 0.5, 0.7, 0.75), "IoU from which a detection counts as right", "paper, Table 1"
    )
    confidence: Literal["product", "center", "probability", "release"] = option(
        "product",
        "score of an instance: center value times class probability, one of the two alone, or the release's",
    )
    mrcnn_color_steps: CountOrZero = option(0, "steps of pixel-adaptive refinement of Mask R-CNN's masks; 0: none")
    mrcnn_proposals: Count | None = option(
        None, "proposals of each image that Mask R-CNN looks at; null: as many as in its training"
    )
    mrcnn_nms: Fraction = option(
        0.5, "of two detections of one class by Mask R-CNN whose boxes have a larger IoU, the better one is kept"
    )
    sheet_images: Count = option(12, "images on the contact sheet")

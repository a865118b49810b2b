"""A data set generated from a seed: PASCAL VOC's layout, the difficulties of photographs in miniature."""

from bestie.datasets.shapes.classes import SHAPE_CLASS_NAMES
from bestie.datasets.shapes.writer import generate_shapes
from bestie.datasets.shapes.wsss import measure_miou

__all__ = ["SHAPE_CLASS_NAMES", "generate_shapes", "measure_miou"]

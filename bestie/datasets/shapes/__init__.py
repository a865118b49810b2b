"""A data set generated from a seed, in PASCAL VOC's layout, with the difficulties of photographs in miniature."""

from bestie.datasets.shapes.shape_classes import SHAPE_CLASS_NAMES
from bestie.datasets.shapes.simulated_wsss import measure_miou
from bestie.datasets.shapes.writer import generate_shapes

__all__ = ["SHAPE_CLASS_NAMES", "generate_shapes", "measure_miou"]

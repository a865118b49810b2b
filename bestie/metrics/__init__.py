"""How good labels, masks and maps are: VOC and COCO average precision, true positives, mIoU, classifier mAP.

Masks come as run-length codes and are never unpacked. A score that is not defined, of a class that does not
occur for instance, is nan and left out of means.
"""

from bestie.metrics.classes import ClassificationMap, SemanticScore, classification_map
from bestie.metrics.coco import CocoAp, coco_ap
from bestie.metrics.masks import MaskTable, Overlaps, measure_overlaps
from bestie.metrics.voc import (
    SIZE_EDGES_PX,
    TruePositives,
    VocAp,
    VocCurve,
    count_true_positives,
    voc_ap,
    voc_ap_by_size,
)

__all__ = [
    "SIZE_EDGES_PX",
    "ClassificationMap",
    "CocoAp",
    "MaskTable",
    "Overlaps",
    "SemanticScore",
    "TruePositives",
    "VocAp",
    "VocCurve",
    "classification_map",
    "coco_ap",
    "count_true_positives",
    "measure_overlaps",
    "voc_ap",
    "voc_ap_by_size",
]

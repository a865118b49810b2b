"""Scores of labels, masks and maps: VOC and COCO average precision, true positives, mIoU, classifier mAP (Section 4).

Masks are run-length codes and never unpacked. A score that is undefined, for example because its class does not
occur, is nan and left out of means.
"""

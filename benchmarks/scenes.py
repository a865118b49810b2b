"""Drawn inputs of any size: semantic maps, activation maps, and tables of masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from bestie.method.own_classes import find_own_classes
from bestie.method.regions import MIN_REGION_PX, Components, label_regions
from bestie.metrics.masks import MaskTable
from bestie.training.samples import InstanceBatch


@dataclass(frozen=True)
class Scene:
    """The objects of one image: `instance` (h w, 0 or 1..n), `semantic` (h w, their classes), `category_id` of each."""

    instance: np.ndarray
    semantic: np.ndarray
    category_id: np.ndarray


def draw_scene(rng: np.random.Generator, *, height: int, width: int, classes: list[int], objects: int) -> Scene:
    """Draw ellipses of a fifth to half of the image's shorter side, later ones over earlier ones."""
    instance = np.zeros((height, width), np.int32)
    category_id = rng.choice(classes, objects)
    side = min(height, width)
    for number in range(1, objects + 1):
        center = (int(rng.integers(width)), int(rng.integers(height)))
        axes = tuple(int(each) for each in rng.integers(side // 10, side // 4, 2))
        cv2.ellipse(instance, center, axes, float(rng.integers(180)), 0, 360, number, -1)
    semantic = np.r_[0, category_id].astype(np.uint8)[instance]
    return Scene(instance, semantic, category_id)


def batch_of_scenes(
    rng: np.random.Generator, scenes: Sequence[Scene], labels: Tensor, *, min_area_px: int = MIN_REGION_PX
) -> InstanceBatch:
    """Return scenes of one size and one number of objects as a training batch, with images of noise.

    Args:
        rng: draws the images.
        scenes: the objects; a class per object is both pseudo label and semantic map.
        labels: the image-level labels, (images, classes), above 0 for classes of an image.
        min_area_px: components with fewer pixels are not refined.
    """
    semantic = np.stack([scene.semantic for scene in scenes])
    category = _categories(scenes)
    regions = [
        label_regions(each, own, min_area_px=min_area_px) for each, own in zip(semantic, labels.numpy(), strict=True)
    ]
    pixels = rng.integers(0, 256, (len(scenes), 3, *semantic.shape[1:]), dtype=np.uint8)
    return InstanceBatch(
        images=torch.from_numpy(pixels),
        labels=labels,
        semantic=torch.from_numpy(semantic),
        instance=torch.from_numpy(np.stack([scene.instance for scene in scenes])),
        category=category,
        components=Components.stack(regions),
        points_yx=None,
        points_category=None,
        own_classes=find_own_classes(labels, category),
    )


def labels_of_scenes(scenes: Sequence[Scene], *, num_classes: int) -> Tensor:
    """Return the image-level labels of scenes, (images, classes), 1 for each class that has an object."""
    category = _categories(scenes)
    return torch.zeros(len(scenes), num_classes).scatter_(1, category - 1, 1.0)


def _categories(scenes: Sequence[Scene]) -> Tensor:
    return torch.from_numpy(np.stack([scene.category_id for scene in scenes]).astype(np.int64))


def draw_activation(rng: np.random.Generator, *, channels: int, height: int, width: int) -> np.ndarray:
    """Return smooth maps (channels h w, 0 to 1) with several maxima each."""
    coarse = rng.random((channels, height // 32 + 1, width // 32 + 1)).astype(np.float32)
    large = np.stack([cv2.resize(each, (width, height), interpolation=cv2.INTER_CUBIC) for each in coarse])
    return np.clip(large / large.max(axis=(1, 2), keepdims=True), 0, 1)


def draw_mask_tables(
    *, images: int, true_masks: int, predicted_masks: int, num_classes: int = 20, height: int = 375, width: int = 500
) -> tuple[MaskTable, MaskTable]:
    """Return true masks, spread over the images, and predicted masks, which are shifted copies of them."""
    rng = np.random.default_rng(0)
    true_rows = np.sort(rng.integers(0, images, true_masks))
    chosen = rng.choice(true_masks, predicted_masks, replace=predicted_masks > true_masks)
    boxes = [_ellipse(rng, height, width) for _ in range(true_masks)]
    category_id = rng.integers(1, num_classes + 1, true_masks)
    moved = [(tuple(np.add(boxes[k][0], rng.integers(-12, 13, 2))), *boxes[k][1:]) for k in chosen]
    truth = _table(true_rows, category_id, np.ones(true_masks), [_encode(box, height, width) for box in boxes])
    found = [_encode(box, height, width) for box in moved]
    return truth, _table(true_rows[chosen], category_id[chosen], rng.random(predicted_masks), found)


def _ellipse(rng: np.random.Generator, height: int, width: int) -> tuple:
    center = (int(rng.integers(60, width - 60)), int(rng.integers(60, height - 60)))
    return center, tuple(int(each) for each in rng.integers(15, 110, 2)), float(rng.integers(180))


def _encode(ellipse: tuple, height: int, width: int) -> dict:
    center, axes, angle = ellipse
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, tuple(int(each) for each in center), axes, angle, 0, 360, 1, -1)
    return coco_mask.encode(np.asfortranarray(mask))


def _table(rows: np.ndarray, category_id: np.ndarray, score: np.ndarray, rle: list[dict]) -> MaskTable:
    return MaskTable(rows, category_id, score, rle, np.zeros(len(rle), bool))

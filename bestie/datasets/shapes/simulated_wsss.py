"""Simulated semantic maps with the errors that maps from weak supervision have.

Each map starts from the truth. Then small objects get lost, bodies lose pieces far from their class-specific part, a
part is confused with another class, a distractor is taken for a class of the picture, nearby objects of one class grow
together, and boundaries wander. A severity in 0..1 scales all these errors. They are unevenly spread: most objects are
outlined fairly well, and some are badly wrong.
"""

from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from bestie.datasets.shapes.noise import smooth_noise
from bestie.datasets.shapes.scene import Scene
from bestie.datasets.shapes.shape_classes import SHAPE_CLASSES

# Mean IoU of the default data set (seeds 0 to 3, 200 images each) at each severity, by `measure_miou`.
CALIBRATION_SEVERITY = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
CALIBRATION_MIOU = (1.0, 0.958, 0.904, 0.849, 0.800, 0.742, 0.671, 0.614, 0.558, 0.502, 0.455)


def severity_for(miou: float) -> float:
    """Return the severity, in 0..1, at which the maps of a default data set have this mean IoU (1.0: exact truth).

    Raises:
        ValueError: the mean IoU is outside the range of the calibration.
    """
    if not CALIBRATION_MIOU[-1] <= miou <= 1.0:
        raise ValueError(f"wsss_miou must be between {CALIBRATION_MIOU[-1]} and 1, not {miou}")
    return float(np.interp(-miou, -np.array(CALIBRATION_MIOU), CALIBRATION_SEVERITY))


def simulate_wsss(rng: np.random.Generator, scene: Scene, *, severity: float) -> UInt8[np.ndarray, "h w"]:
    """Return a flawed class map of the scene: 0 for background, 1..C, no void. Severity 0 gives the truth."""
    if severity == 0.0:
        return scene.semantic
    flawed = _flaw_objects(rng, scene, severity)
    flawed = _label_distractor(rng, scene, flawed, severity)
    return _redraw_boundaries(rng, flawed, severity)


def _flaw_objects(rng: np.random.Generator, scene: Scene, severity: float) -> UInt8[np.ndarray, "h w"]:
    """Return the class map with objects lost, pieces of bodies missing, and parts confused."""
    flawed = scene.semantic
    height, width = flawed.shape
    for instance_id, category_id in enumerate(scene.category_ids, start=1):
        mask = scene.instance == instance_id
        area_px = int(mask.sum())
        draws = rng.random(3)
        if draws[0] < severity * (0.24 + 0.6 * np.exp(-area_px / 150)):
            flawed[mask] = 0
            continue
        bites = smooth_noise(rng, height, width, cells=8)
        from_part_px = cv2.distanceTransform((scene.part != instance_id).astype(np.uint8), cv2.DIST_L2, 3)
        farness = from_part_px / max(1.0, float(from_part_px[mask].max()))
        if draws[1] < 0.45 * severity:
            flawed[mask & (bites * 0.35 + farness > 1.2 - 0.85 * severity)] = 0
        if draws[2] < 0.1 * severity:
            near = mask & (from_part_px < 3)
            flawed[near] = rng.choice(_other_classes(scene, category_id))
    return flawed


def _other_classes(scene: Scene, category_id: int) -> list[int]:
    """Return the classes that a part may be confused with: the picture's other ones, or all others if it has one."""
    present = sorted(set(scene.category_ids) - {category_id})
    return present or [k for k in range(1, len(SHAPE_CLASSES) + 1) if k != category_id]


def _label_distractor(
    rng: np.random.Generator, scene: Scene, flawed: UInt8[np.ndarray, "h w"], severity: float
) -> UInt8[np.ndarray, "h w"]:
    for distractor_id in range(1, int(scene.distractor.max()) + 1):
        draw, category_id = rng.random(), rng.choice(scene.category_ids)
        if draw < 0.45 * severity:
            flawed = np.where(scene.distractor == distractor_id, category_id, flawed).astype(np.uint8)
    return flawed


def _redraw_boundaries(
    rng: np.random.Generator, flawed: UInt8[np.ndarray, "h w"], severity: float
) -> UInt8[np.ndarray, "h w"]:
    """Close gaps inside each class, then move its outline in and out by smooth noise."""
    height, width = flawed.shape
    reach_px = 1 + round(2 * severity)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach_px + 1,) * 2)
    wander = smooth_noise(rng, height, width, cells=12) * 0.5 * severity
    # Smoothing alone shrinks small convex objects, but real maps are about as often too large as too small.
    bias = rng.normal(0.07, 0.15) * severity
    best = np.full((height, width), 0.5, np.float32)
    redrawn = np.zeros_like(flawed)
    for category_id in np.unique(flawed[flawed > 0]):
        mask = (flawed == category_id).astype(np.uint8)
        closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel).astype(np.float32)
        soft = cv2.GaussianBlur(closed, (0, 0), 0.5 + 1.5 * severity)
        soft = np.where(soft > 0.02, soft + wander + bias, 0)  # no islands far from any object
        redrawn[soft > best] = category_id
        best = np.maximum(best, soft).astype(np.float32)
    return redrawn


def confusion_counts(
    truth: UInt8[np.ndarray, "h w"], predicted: UInt8[np.ndarray, "h w"]
) -> Float64[np.ndarray, "k k"]:
    """Count pixels by true class (rows) and predicted class, background first; true void (255) is left out."""
    count = len(SHAPE_CLASSES) + 1
    known = truth != 255
    pairs = truth[known].astype(np.int64) * count + predicted[known]
    return np.bincount(pairs, minlength=count * count).reshape(count, count).astype(np.float64)


def measure_miou(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Compute the mean IoU of all (truth, predicted) uint8 class maps together, with background and without void.

    Classes that are neither in the truth nor in the predictions do not count.
    """
    total = sum(confusion_counts(truth, predicted) for truth, predicted in pairs)
    union = np.sum(total, axis=0) + np.sum(total, axis=1) - np.diagonal(total)
    return float((np.diagonal(total)[union > 0] / union[union > 0]).mean())

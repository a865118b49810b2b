"""The classes of the generated shapes: the outlines of their bodies, and the patterns that tell them apart."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Part:
    """A patterned disc on the body.

    Attributes:
        pattern: a function of the disc's own coordinates (x and y in -1..1, x toward the head); positive is light.
        position: its place on the axis from tail (-1) to head (1).
        hue: the middle of the hues (0..1) of its light tone.
    """

    pattern: Pattern
    position: float
    hue: float


@dataclass(frozen=True)
class ShapeClass:
    """What tells one class from another.

    Attributes:
        name: its name in the annotation files.
        frequency: how often it is drawn, relative to the others.
        silhouette: the half-width of the body at t from -1 (tail) to 1 (head), for a body of half-width 1.
        badge: the part at the head, which every object has.
        tail: a smaller and fainter part at the other end, which some objects lack; two classes share its pattern.
    """

    name: str
    frequency: float
    silhouette: Callable[[np.ndarray], np.ndarray]
    badge: Part
    tail: Part


def _oval(t: np.ndarray) -> np.ndarray:
    return np.sqrt(1 - t**2)


def _drop(t: np.ndarray) -> np.ndarray:
    return np.sqrt(1 - t**2) * (0.62 + 0.5 * t)


def _shield(t: np.ndarray) -> np.ndarray:
    return np.sqrt(1 - t**6) * (0.8 - 0.25 * t)


def _bars(x: np.ndarray, _y: np.ndarray) -> np.ndarray:
    return -np.cos(2 * math.pi * 1.25 * x) / 3


def _rings(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -np.cos(2 * math.pi * 1.3 * np.hypot(x, y)) / 3


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.27 - np.minimum(np.abs(x), np.abs(y))


def _half_moon(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x - 0.5, y) - 0.72


def _blades(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.cos(3 * np.arctan2(y, x)) * np.hypot(x, y) * 0.6


def _spiral(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.cos(np.arctan2(y, x) - 2 * math.pi * 1.2 * np.hypot(x, y)) / 3


def _fringe(_x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.cos(2 * math.pi * 1.3 * y) / 3


def _spots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.36 - np.hypot(x, np.abs(y) - 0.5)


def _chevron(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.26 - np.abs(np.abs(y) - 0.2 - x)


SHAPE_CLASSES: tuple[ShapeClass, ...] = (
    ShapeClass("beetle", 3.0, _oval, badge=Part(_bars, 0.75, 0.02), tail=Part(_spots, -0.75, 0.02)),
    ShapeClass("fish", 2.0, _drop, badge=Part(_rings, 0.6, 0.50), tail=Part(_fringe, -0.8, 0.50)),
    ShapeClass("kite", 1.0, _shield, badge=Part(_cross, 0.7, 0.83), tail=Part(_chevron, -0.7, 0.83)),
    ShapeClass("lantern", 1.0, _oval, badge=Part(_half_moon, 0.6, 0.15), tail=Part(_spots, -0.8, 0.15)),
    ShapeClass("mill", 2.0, _shield, badge=Part(_blades, 0.8, 0.33), tail=Part(_chevron, -0.75, 0.33)),
    ShapeClass("snail", 1.0, _drop, badge=Part(_spiral, 0.75, 0.66), tail=Part(_fringe, -0.75, 0.66)),
)
SHAPE_CLASS_NAMES: tuple[str, ...] = tuple(shape.name for shape in SHAPE_CLASSES)

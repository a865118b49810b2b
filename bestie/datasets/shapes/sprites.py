"""Generated objects that are to a classifier what animals are: small parts tell the class, the large body does not.

Bodies share their colors and textures and, two classes each, their silhouettes. Only the badge at the head belongs to
one class, by its pattern; its range of hues also occurs on the plain heads of distractors. At the other end most
objects have a tail mark in the hues of their class: smaller and fainter, with a pattern that two classes share. The
activation map of a plain classifier therefore lights up the head, often the tail as well, and leaves the body dark.
With `class_colors` bodies have the hues of their class, too, and a class is seen all over an object.
With `repeats` the body has fainter copies of its own badge instead, as fur repeats what a face shows: one object then
has several activations, the difficulty that peak attention addresses.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from bestie.datasets.shapes.noise import octave_noise, random_color
from bestie.datasets.shapes.shape_classes import SHAPE_CLASSES, Part, ShapeClass

Field = Float32[np.ndarray, "s s"]


@dataclass(frozen=True)
class Sprite:
    """A drawn object on a square patch of its own.

    Attributes:
        size_px: length from tail to head.
        color: RGB in 0..1.
        alpha: coverage in 0..1, with anti-aliased edges.
        part: the pixels of the badge; all False for a distractor.
        mark: the pixels of the tail mark or the repeats; all False if there are none.
    """

    size_px: float
    color: Float32[np.ndarray, "s s 3"]
    alpha: Field
    part: Bool[np.ndarray, "s s"]
    mark: Bool[np.ndarray, "s s"]

    @property
    def mask(self) -> Bool[np.ndarray, "s s"]:
        """The pixels that are at least half covered."""
        return self.alpha >= 0.5


MIN_BADGE_RADIUS_PX = 5.0
MIN_MARK_RADIUS_PX = 3.0
HUE_SPREAD = 0.05
MARK_FRACTION, DECOY_FRACTION = 0.75, 0.4
CLASS_SATURATION = (0.35, 0.8)
REPEAT_STRENGTH = (0.3, 0.65)  # of a badge: 0.6 to 1


def render_sprite(
    rng: np.random.Generator,
    *,
    category_id: int,
    size_px: float,
    background: Float32[np.ndarray, " 3"],
    light_angle: float,
    repeats: int = 0,
    class_colors: bool = False,
) -> Sprite:
    """Draw one object.

    Args:
        rng: the source of everything random in it.
        category_id: its class, 1..C, or 0 for a distractor, which has such a body but no pattern.
        size_px: length from tail to head.
        background: the mean color behind it, RGB in 0..1, which the body's color differs from.
        light_angle: the direction that the light comes from, in radians.
        repeats: the largest number of fainter copies of the badge on the body, of which there are half to all; with 0
            most objects have a tail mark instead.
        class_colors: draw the body in the hues of its class; otherwise in any color. Distractors have any color.
    """
    shape = SHAPE_CLASSES[category_id - 1 if category_id else int(rng.integers(len(SHAPE_CLASSES)))]
    rotation = rng.uniform(0, 2 * math.pi)
    side = math.ceil(size_px * 1.35) + 6
    outline_xy = _outline(rng, shape, rotation=rotation, half_px=size_px / 2) + side / 2
    alpha = _fill(outline_xy, side)
    color = _body_color(rng, alpha, background, hue=shape.badge.hue if category_id and class_colors else None)
    mark = part = np.zeros((side, side), np.float32)
    if category_id and repeats:
        color, mark = _add_repeats(rng, shape.badge, color, alpha, most=repeats, rotation=rotation, size_px=size_px)
    elif rng.random() < (MARK_FRACTION if category_id else DECOY_FRACTION):
        tail = shape.tail if category_id else None
        color, mark = _add_mark(rng, tail, color, rotation=rotation, size_px=size_px)
    if category_id:
        color, part = _add_badge(rng, shape.badge, color, rotation=rotation, size_px=size_px)
    elif rng.random() < DECOY_FRACTION:
        color, part = _add_decoy(rng, color, rotation=rotation, size_px=size_px)
    alpha = np.maximum(alpha, np.maximum(part, mark))
    color = _shade(color, alpha, light_angle=light_angle, strength=rng.uniform(0.1, 0.35))
    badge, tail_mark = ((covered >= 0.5) & bool(category_id) for covered in (part, mark))
    return Sprite(size_px=size_px, color=color, alpha=alpha, part=badge, mark=tail_mark & ~badge)


def _outline(
    rng: np.random.Generator, shape: ShapeClass, *, rotation: float, half_px: float
) -> Float32[np.ndarray, "n 2"]:
    """Return the body's contour (x, y) around (0, 0), in px: the class's silhouette, bent, with bumps, and rotated."""
    t = np.cos(np.linspace(0, math.pi, 24))
    half_width = rng.uniform(0.45, 0.68) * shape.silhouette(t)
    u = np.concatenate([t, t[-2:0:-1]])
    v = np.concatenate([half_width, -half_width[-2:0:-1]]) + rng.uniform(-0.25, 0.25) * (u**2 - 0.4)
    angle = np.linspace(0, 2 * math.pi, len(u), endpoint=False)
    bumps = np.ones_like(u)
    for frequency in (3, 5, 8):
        bumps += rng.normal(0, 0.09 / math.sqrt(frequency)) * np.sin(frequency * angle + rng.uniform(0, 2 * math.pi))
    u, v = u * bumps * half_px, v * bumps * half_px
    cos, sin = math.cos(rotation), math.sin(rotation)
    return np.stack([u * cos - v * sin, u * sin + v * cos], axis=1).astype(np.float32)


def _fill(outline_xy: Float32[np.ndarray, "n 2"], side: int) -> Field:
    shift = 4  # cv2's fixed-point coordinates: sixteenths of a pixel
    canvas = np.zeros((side, side), np.uint8)
    points = np.rint(outline_xy * 2**shift).astype(np.int32)
    cv2.fillPoly(canvas, [points], 255, cv2.LINE_AA, shift)
    return canvas.astype(np.float32) / 255


def _body_color(
    rng: np.random.Generator, alpha: Field, background: Float32[np.ndarray, " 3"], *, hue: float | None
) -> Float32[np.ndarray, "s s 3"]:
    """Draw color and texture, usually at least faintly unlike the background; without `hue` for all classes alike."""
    for _ in range(8):
        if hue is None:
            base = random_color(rng, saturation=(0.05, 0.5), value=(0.3, 0.85))
        else:
            base = random_color(rng, hue=hue + rng.normal(0, HUE_SPREAD), saturation=CLASS_SATURATION, value=(0.4, 0.9))
        if np.abs(base - background).max() > 0.18:
            break
    side = alpha.shape[0]
    texture = octave_noise(rng, side, side, cells=int(rng.integers(3, 9)), octaves=2)
    if rng.random() < 0.3:
        texture = np.where(texture > 0.6, np.float32(1.6), np.float32(-0.2))
    tint = rng.uniform(-1, 1, 3).astype(np.float32) * 0.5 + 1
    return base + rng.uniform(0.02, 0.09) * texture[..., None] * tint


def _badge_grid(
    rng: np.random.Generator, side: int, *, position: float, radius_px: float, rotation: float, half_px: float
) -> tuple[Field, Field]:
    """Return the badge coordinates (x along the body) of each pixel; the badge covers -1..1."""
    center = position * half_px
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) - np.float32(side / 2 - 0.5)
    x, y = x - center * math.cos(rotation), y - center * math.sin(rotation)
    turn = rotation + rng.normal(0, 0.2)
    cos, sin = math.cos(turn) / radius_px, math.sin(turn) / radius_px
    return (x * cos + y * sin).astype(np.float32), (y * cos - x * sin).astype(np.float32)


def _disc(x: Field, y: Field, *, radius_px: float) -> Field:
    """Return the coverage, in 0..1, of the disc with radius 1 in badge coordinates, with an anti-aliased edge."""
    return np.clip((1 - np.hypot(x, y)) * radius_px + 0.5, 0, 1)


def _add_badge(
    rng: np.random.Generator,
    badge: Part,
    color: Float32[np.ndarray, "s s 3"],
    *,
    rotation: float,
    size_px: float,
) -> tuple[Float32[np.ndarray, "s s 3"], Field]:
    """Return the colors with the class's badge at the head, and the badge's coverage."""
    half_px = size_px / 2
    radius_px = max(rng.uniform(0.38, 0.5) * half_px, MIN_BADGE_RADIUS_PX)
    position = min(badge.position + rng.uniform(-0.1, 0.1), 1.1 - radius_px / half_px / 2)
    x, y = _badge_grid(rng, color.shape[0], position=position, radius_px=radius_px, rotation=rotation, half_px=half_px)
    coverage = _disc(x, y, radius_px=radius_px)
    tone = _badge_tone(rng, badge, x, y, radius_px=radius_px)
    return color + rng.uniform(0.6, 1.0) * (tone - color) * coverage[..., None], coverage


def _add_mark(
    rng: np.random.Generator,
    tail: Part | None,
    color: Float32[np.ndarray, "s s 3"],
    *,
    rotation: float,
    size_px: float,
) -> tuple[Float32[np.ndarray, "s s 3"], Field]:
    """Return the colors with a tail mark, and its coverage; without `tail` the mark has one plain tone and no meaning.

    A mark is translucent: its dark tone is the body's own color, darkened.
    """
    half_px = size_px / 2
    radius_px = max(rng.uniform(0.32, 0.42) * half_px, MIN_MARK_RADIUS_PX)
    position = (tail.position if tail else -0.75) + rng.uniform(-0.08, 0.08)
    x, y = _badge_grid(rng, color.shape[0], position=position, radius_px=radius_px, rotation=rotation, half_px=half_px)
    coverage = _disc(x, y, radius_px=radius_px)
    hue = tail.hue + rng.normal(0, HUE_SPREAD) if tail else rng.random()
    light = random_color(rng, hue=hue, saturation=(0.45, 0.95), value=(0.7, 1.0))
    tone = np.clip(tail.pattern(x, y) * radius_px + 0.5, 0, 1) if tail else np.ones_like(x)
    strength = rng.uniform(0.65, 0.95)
    base = color * np.float32(1 - 0.6 * strength)
    mark = base + strength * (light - base) * tone.astype(np.float32)[..., None]
    return color + (mark - color) * coverage[..., None], coverage


def _add_repeats(
    rng: np.random.Generator,
    badge: Part,
    color: Float32[np.ndarray, "s s 3"],
    body: Field,
    *,
    most: int,
    rotation: float,
    size_px: float,
) -> tuple[Float32[np.ndarray, "s s 3"], Field]:
    """Return the colors with half to all of `most` smaller and fainter copies of the badge, and their coverage."""
    half_px = size_px / 2
    covered = np.zeros_like(body)
    for _ in range(int(rng.integers((most + 1) // 2, most + 1))):
        radius_px = max(rng.uniform(0.25, 0.42) * half_px, MIN_MARK_RADIUS_PX)
        position = rng.uniform(-0.85, 0.3)
        x, y = _badge_grid(
            rng, color.shape[0], position=position, radius_px=radius_px, rotation=rotation, half_px=half_px
        )
        y = y - np.float32(rng.uniform(-0.35, 0.35) * half_px / radius_px)  # beside the axis
        coverage = _disc(x, y, radius_px=radius_px) * body
        tone = _badge_tone(rng, badge, x, y, radius_px=radius_px)
        color = color + rng.uniform(*REPEAT_STRENGTH) * (tone - color) * coverage[..., None]
        covered = np.maximum(covered, coverage)
    return color, covered


def _badge_tone(
    rng: np.random.Generator, badge: Part, x: Field, y: Field, *, radius_px: float
) -> Float32[np.ndarray, "s s 3"]:
    """Return the badge's pattern in a light tone of its class's hues and a dark tone of any hue."""
    light = random_color(rng, hue=badge.hue + rng.normal(0, HUE_SPREAD), saturation=(0.45, 0.95), value=(0.8, 1.0))
    dark = random_color(rng, saturation=(0.2, 0.8), value=(0.03, 0.25))
    tone = np.clip(badge.pattern(x, y) * radius_px + 0.5, 0, 1).astype(np.float32)[..., None]
    return dark + (light - dark) * tone


def _add_decoy(
    rng: np.random.Generator, color: Float32[np.ndarray, "s s 3"], *, rotation: float, size_px: float
) -> tuple[Float32[np.ndarray, "s s 3"], Field]:
    """Return the colors with a badge of one plain tone, which belongs to no class, and the badge's coverage."""
    half_px = size_px / 2
    radius_px = max(rng.uniform(0.25, 0.4) * half_px, 3.0)
    x, y = _badge_grid(rng, color.shape[0], position=0.7, radius_px=radius_px, rotation=rotation, half_px=half_px)
    coverage = _disc(x, y, radius_px=radius_px)
    tone = random_color(rng, saturation=(0.2, 0.9), value=(0.2, 1.0))
    return color + (tone - color) * coverage[..., None], coverage


def _shade(
    color: Float32[np.ndarray, "s s 3"], alpha: Field, *, light_angle: float, strength: float
) -> Float32[np.ndarray, "s s 3"]:
    """Add light from one side and a darker rim, so that bodies look round and neighbors stay separable."""
    side = alpha.shape[0]
    y, x = (np.mgrid[0:side, 0:side].astype(np.float32) - side / 2) / (side / 2)
    slope = 1 + strength * (x * math.cos(light_angle) + y * math.sin(light_angle))
    depth_px = cv2.distanceTransform((alpha >= 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    rim = 1 - 0.4 * np.exp(-depth_px / max(1.0, side / 24))
    return np.clip(color * (slope * rim)[..., None], 0, 1).astype(np.float32)

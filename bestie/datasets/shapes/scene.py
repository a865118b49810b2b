"""A generated picture with its truth: which objects it has, where they are, and which hides which."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from bestie.datasets.shapes.backgrounds import render_background
from bestie.datasets.shapes.layout import (
    Layout,
    Placed,
    drop_hidden,
    has_touching_pair,
    spot_apart,
    spot_beside,
    void_border,
)
from bestie.datasets.shapes.shape_classes import SHAPE_CLASSES
from bestie.datasets.shapes.sprites import render_sprite

LAYOUT_ATTEMPTS = 100


@dataclass(frozen=True)
class SceneLimits:
    """The ranges from which every picture is drawn; sizes are in px.

    `two_class_fraction` is the share of pictures with two classes among those with several objects that keep apart;
    `repeats` and `class_colors` are those of `render_sprite`.
    """

    min_side_px: int = 112
    max_side_px: int = 144
    min_object_px: float = 18.0
    max_object_px: float = 72.0
    max_objects: int = 6
    max_distractors: int = 3
    two_class_fraction: float = 0.35
    repeats: int = 0
    class_colors: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            ValueError: a field is out of range; the message names the field and its range.
        """
        if not 48 <= self.min_side_px <= self.max_side_px:
            raise ValueError(
                f"sides need 48 <= min_side_px <= max_side_px, not {self.min_side_px} and {self.max_side_px}"
            )
        if not 12 <= self.min_object_px <= self.max_object_px <= 0.75 * self.min_side_px:
            raise ValueError(
                "object sizes need 12 <= min_object_px <= max_object_px <= 0.75 * min_side_px, "
                f"not {self.min_object_px} and {self.max_object_px} with min_side_px {self.min_side_px}"
            )
        if not 2 <= self.max_objects <= 100:
            raise ValueError(f"max_objects must be in 2..100, not {self.max_objects}")
        if not 0 <= self.max_distractors <= 100:
            raise ValueError(f"max_distractors must be in 0..100, not {self.max_distractors}")
        if not 0.0 <= self.two_class_fraction <= 1.0:
            raise ValueError(f"two_class_fraction must be in 0..1, not {self.two_class_fraction}")
        if not 0 <= self.repeats <= 100:
            raise ValueError(f"repeats must be in 0..100, not {self.repeats}")


@dataclass(frozen=True)
class Scene:
    """A picture and its truth.

    Attributes:
        image: RGB, 0..255.
        instance: ids 1..n, 0 elsewhere; a larger id is in front of a smaller one.
        part: the same ids, only on the visible pixels of badges.
        mark: the same ids, only on the visible pixels of tail marks or repeats.
        distractor: ids 1..m of the objects without a class, 0 elsewhere.
        category_ids: the class (1..C) of instance k at position k - 1.
    """

    image: UInt8[np.ndarray, "h w 3"]
    instance: UInt8[np.ndarray, "h w"]
    part: UInt8[np.ndarray, "h w"]
    mark: UInt8[np.ndarray, "h w"]
    distractor: UInt8[np.ndarray, "h w"]
    category_ids: tuple[int, ...]

    @property
    def semantic(self) -> UInt8[np.ndarray, "h w"]:
        """The class of each pixel, 0 for background, without void."""
        return np.array([0, *self.category_ids], np.uint8)[self.instance]

    @property
    def void(self) -> Bool[np.ndarray, "h w"]:
        """The 1 px border around each object, taken from what is behind it."""
        return void_border(self.instance)


def render_scene(rng: np.random.Generator, limits: SceneLimits, *, overlapping: bool) -> Scene:
    """Draw one picture.

    Args:
        rng: the source of everything random in it.
        limits: sizes and counts.
        overlapping: whether objects of one class touch or overlap; otherwise objects keep a distance.

    Raises:
        ValueError: no such picture was found in `LAYOUT_ATTEMPTS` attempts.
    """
    height, width = (int(n) for n in rng.integers(limits.min_side_px, limits.max_side_px + 1, 2))
    canvas = render_background(rng, height=height, width=width)
    backdrop = canvas.mean(axis=(0, 1))
    light_angle = rng.uniform(0, 2 * math.pi)
    layout = _lay_out(rng, limits, canvas, light_angle=light_angle, overlapping=overlapping)
    distractors = _place_distractors(rng, limits, layout, background=backdrop, light_angle=light_angle)
    for placed in (*distractors.objects, *layout.objects):
        _paste(canvas, placed, light_angle=light_angle)
    hidden = layout.occupied()
    return Scene(
        image=_photograph(rng, canvas),
        instance=layout.paint_ids(),
        part=layout.paint_ids(lambda sprite: sprite.part),
        mark=layout.paint_ids(lambda sprite: sprite.mark),
        distractor=np.where(hidden, np.uint8(0), distractors.paint_ids()),
        category_ids=tuple(placed.category_id for placed in layout.objects),
    )


def _lay_out(
    rng: np.random.Generator,
    limits: SceneLimits,
    canvas: Float32[np.ndarray, "h w 3"],
    *,
    light_angle: float,
    overlapping: bool,
) -> Layout:
    """Draw and place objects until a touching pair (if `overlapping`) or at least one object is visible."""
    height, width = canvas.shape[:2]
    backdrop = canvas.mean(axis=(0, 1))
    for _ in range(LAYOUT_ATTEMPTS):
        categories, sizes_px = _plan(rng, limits, height=height, width=width, overlapping=overlapping)
        sprites = [
            render_sprite(
                rng,
                category_id=c,
                size_px=s,
                background=backdrop,
                light_angle=light_angle,
                repeats=limits.repeats,
                class_colors=limits.class_colors,
            )
            for c, s in zip(categories, sizes_px, strict=True)
        ]
        layout = Layout(height, width)
        for sprite, category_id in zip(sprites, categories, strict=True):
            join = overlapping and layout.objects and (len(layout.objects) < 2 or rng.random() < 0.75)
            spot = spot_beside(rng, layout, sprite) if join else spot_apart(rng, layout, sprite)
            if spot is not None:
                layout.objects.append(Placed(sprite, category_id, *spot))
        drop_hidden(layout)
        if layout.objects and (not overlapping or has_touching_pair(layout)):
            return layout
    raise ValueError(f"no picture of {width} x {height} px holds such objects; make them smaller: {limits}")


def _plan(
    rng: np.random.Generator, limits: SceneLimits, *, height: int, width: int, overlapping: bool
) -> tuple[list[int], list[float]]:
    """Draw classes and sizes (px) of the objects, largest first, which together fill at most about half the picture."""
    fewest = 2 if overlapping else 1
    counts = np.arange(fewest, limits.max_objects + 1)
    count = int(rng.choice(counts, p=(1 / counts) / (1 / counts).sum()))
    frequency = np.array([shape.frequency for shape in SHAPE_CLASSES])
    two = not overlapping and count > 1 and rng.random() < limits.two_class_fraction
    chosen = rng.choice(len(SHAPE_CLASSES), size=2, replace=False, p=frequency / frequency.sum()) + 1
    categories = [int(c) for c in rng.permutation([chosen[k % 2 if two else 0] for k in range(count)])]
    low, high = math.log(limits.min_object_px), math.log(limits.max_object_px)
    if overlapping:  # members of a group are of similar size
        middle = low + rng.uniform(0.25, 0.85) * (high - low)
        logs = np.clip(middle + rng.uniform(-0.3, 0.3, count), low, high)
    else:
        logs = rng.uniform(low, high, count)
    sizes = np.exp(logs)
    crowding = math.sqrt(0.6 * height * width / float((sizes**2).sum()))
    sizes = np.sort(np.maximum(sizes * min(1.0, crowding), limits.min_object_px))[::-1]
    return categories, [float(size) for size in sizes]


def _place_distractors(
    rng: np.random.Generator,
    limits: SceneLimits,
    layout: Layout,
    *,
    background: Float32[np.ndarray, " 3"],
    light_angle: float,
) -> Layout:
    """Place objects without a class, of about the size of the others, where there is room."""
    size_px = float(np.mean([placed.sprite.size_px for placed in layout.objects]))
    everything = Layout(layout.height, layout.width, list(layout.objects))
    for _ in range(int(rng.integers(0, limits.max_distractors + 1))):
        size = float(np.clip(size_px * rng.uniform(0.5, 1.2), limits.min_object_px, limits.max_object_px))
        sprite = render_sprite(rng, category_id=0, size_px=size, background=background, light_angle=light_angle)
        spot = spot_apart(rng, everything, sprite, gap_px=1)
        if spot is not None:
            everything.objects.append(Placed(sprite, 0, *spot))
    return Layout(layout.height, layout.width, everything.objects[len(layout.objects) :])


def _paste(canvas: Float32[np.ndarray, "h w 3"], placed: Placed, *, light_angle: float) -> None:
    """Draw an object and the soft shadow that it casts away from the light, in place."""
    height, width = canvas.shape[:2]
    reach = max(1.0, placed.sprite.alpha.shape[0] / 24)
    moved = np.array([[1, 0, -reach * math.cos(light_angle)], [0, 1, -reach * math.sin(light_angle)]], np.float32)
    shadow = cv2.warpAffine(placed.sprite.alpha, moved, placed.sprite.alpha.shape[::-1])
    shadow = cv2.GaussianBlur(shadow, (0, 0), reach)
    inside, patch = placed.window(height, width)
    canvas[inside] *= 1 - 0.4 * shadow[patch][..., None]
    alpha = placed.sprite.alpha[patch][..., None]
    canvas[inside] += (placed.sprite.color[patch] - canvas[inside]) * alpha


def _photograph(rng: np.random.Generator, canvas: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Imitate a camera: uneven light, exposure, a little blur and sensor noise."""
    height, width = canvas.shape[:2]
    angle, strength = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.25)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    light = rng.uniform(0.8, 1.1) + strength * (math.cos(angle) * x + math.sin(angle) * y)
    blurred = cv2.GaussianBlur(canvas * light[..., None], (0, 0), rng.uniform(0.3, 0.8))
    noise = rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(rng.uniform(0.005, 0.03))
    return (np.clip(blurred + noise, 0, 1) * 255).round().astype(np.uint8)

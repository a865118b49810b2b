"""Where objects are in a picture: apart from each other, or touching and hiding one another."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from bestie.datasets.shapes.sprites import Sprite

MAX_OVERLAP_FRACTION = 0.35
MIN_VISIBLE_FRACTION = 0.25
MIN_VISIBLE_PART_FRACTION = 0.5
MIN_VISIBLE_PX = 40
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def void_border(instance: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return the 1 px border around each object, taken from what is behind it (smaller ids are behind)."""
    return cv2.dilate(instance, _CROSS) > instance


@dataclass
class Placed:
    """A sprite with the position of its patch in px, and its class (0 for a distractor)."""

    sprite: Sprite
    category_id: int
    top: int
    left: int

    def window(self, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return slices into the picture and into the patch where the two overlap."""
        side = self.sprite.alpha.shape[0]
        y0, y1 = max(self.top, 0), min(self.top + side, height)
        x0, x1 = max(self.left, 0), min(self.left + side, width)
        y1, x1 = max(y0, y1), max(x0, x1)
        return (slice(y0, y1), slice(x0, x1)), (
            slice(y0 - self.top, y1 - self.top),
            slice(x0 - self.left, x1 - self.left),
        )


@dataclass
class Layout:
    """The objects placed so far in a picture of a given size in px, back to front."""

    height: int
    width: int
    objects: list[Placed] = field(default_factory=list)

    def paint_ids(self, only: Callable[[Sprite], Bool[np.ndarray, "s s"]] | None = None) -> UInt8[np.ndarray, "h w"]:
        """Return 1..n where object 1..n is visible, later ones in front, limited to the pixels that `only` selects."""
        ids = np.zeros((self.height, self.width), np.uint8)
        for number, placed in enumerate(self.objects, start=1):
            inside, patch = placed.window(self.height, self.width)
            mask = placed.sprite.mask[patch]
            ids[inside][mask] = np.where(only(placed.sprite)[patch][mask], number, 0) if only else number
        return ids

    def occupied(self, *, gap_px: int = 0) -> Bool[np.ndarray, "h w"]:
        """Return the pixels of all objects, and those within `gap_px` of one in y and in x."""
        ids = (self.paint_ids() > 0).astype(np.uint8)
        return (cv2.dilate(ids, np.ones((2 * gap_px + 1,) * 2, np.uint8)) if gap_px else ids) > 0


def spot_apart(rng: np.random.Generator, layout: Layout, sprite: Sprite, *, gap_px: int = 4) -> tuple[int, int] | None:
    """Return a (top, left) where the sprite touches nothing and is at least 85 % inside, or None."""
    occupied = layout.occupied(gap_px=gap_px)
    side, area = sprite.alpha.shape[0], sprite.mask.sum()
    for _ in range(40):
        placed = Placed(
            sprite,
            0,
            int(rng.integers(-side // 4, layout.height - 3 * side // 4)),
            int(rng.integers(-side // 4, layout.width - 3 * side // 4)),
        )
        inside, patch = placed.window(layout.height, layout.width)
        mask = sprite.mask[patch]
        if mask.sum() >= 0.85 * area and not (occupied[inside] & mask).any():
            return placed.top, placed.left
    return None


def spot_beside(rng: np.random.Generator, layout: Layout, sprite: Sprite) -> tuple[int, int] | None:
    """Return a (top, left) found by sliding toward a placed object until the two touch or overlap, or None."""
    occupied, area = layout.occupied(), int(sprite.mask.sum())
    for _ in range(12):
        anchor = layout.objects[rng.integers(len(layout.objects))]
        angle = rng.uniform(0, 2 * math.pi)
        wanted_px = max(1.0, rng.uniform(-0.1, MAX_OVERLAP_FRACTION) * area)
        shift = (anchor.sprite.alpha.shape[0] - sprite.alpha.shape[0]) / 2
        for distance in range((anchor.sprite.alpha.shape[0] + sprite.alpha.shape[0]) // 2, 0, -1):
            top = round(anchor.top + shift + distance * math.sin(angle))
            left = round(anchor.left + shift + distance * math.cos(angle))
            inside, patch = Placed(sprite, 0, top, left).window(layout.height, layout.width)
            mask = sprite.mask[patch]
            if (occupied[inside] & mask).sum() >= wanted_px:
                if mask.sum() >= 0.8 * area:
                    return top, left
                break
    return None


def drop_hidden(layout: Layout) -> None:
    """Remove objects of which too little is visible, one at a time, because each removal uncovers others."""
    while layout.objects:
        ids, parts = layout.paint_ids(), layout.paint_ids(lambda sprite: sprite.part)
        ids[void_border(ids)] = 0
        hidden = [
            k
            for k, placed in enumerate(layout.objects)
            if (ids == k + 1).sum() < max(MIN_VISIBLE_PX, MIN_VISIBLE_FRACTION * placed.sprite.mask.sum())
            or (parts == k + 1).sum() < MIN_VISIBLE_PART_FRACTION * placed.sprite.part.sum()
        ]
        if not hidden:
            return
        del layout.objects[hidden[0]]


def has_touching_pair(layout: Layout) -> bool:
    """Return whether any two objects have neighboring pixels."""
    ids = layout.paint_ids()
    return any(bool(((a != b) & (a > 0) & (b > 0)).any()) for a, b in ((ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1])))

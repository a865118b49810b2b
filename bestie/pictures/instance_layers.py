"""Instances on a picture: translucent masks, contours, and labels if there is room."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from PIL import Image, ImageDraw

from bestie.metrics.masks import mask_iou
from bestie.pictures.color import blend, instance_colors
from bestie.pictures.layers import line_width
from bestie.pictures.text import text_width, write

FILL_ALPHA = 0.45
# Two masks of one image are of the same object from this IoU on.
SAME_OBJECT = 0.4
LABEL_BACKGROUND = (25, 25, 30)
LABEL_COLOR = (255, 255, 255)
# There is room for a label if it is at most this part of its instance's width and height.
LABEL_MAX_WIDTH = 0.95
LABEL_MAX_HEIGHT = 0.5

Masks = Sequence[np.ndarray] | np.ndarray


def draw_instances(
    image: UInt8[np.ndarray, "h w 3"],
    masks: Integer[np.ndarray, "h w"] | Bool[np.ndarray, "n h w"] | Sequence[Bool[np.ndarray, "h w"]],
    category_id: Integer[np.ndarray, " n"],
    score: Float[np.ndarray, " n"] | None = None,
    *,
    names: Sequence[str] | None = None,
    numbers: Integer[np.ndarray, " n"] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Fill and outline each instance in its color of `instance_colors`, and write "name .87" on it if that fits.

    Args:
        image: RGB.
        masks: a map of the ids 1..n (0: no instance), or n masks, which may overlap: larger ones are drawn first.
        category_id: element i - 1 belongs to instance i.
        score: likewise, in [0, 1]; None leaves scores out of the labels.
        names: `names[c - 1]` is the name of category_id c; None leaves names out of the labels.
        numbers: the color of each instance, from 1, see `shared_numbers`; None: 1 to n.

    Raises:
        ValueError: an instance has no category_id, or a category_id no name.
    """
    stack = _as_masks(masks, count=len(category_id))
    if names is not None and len(category_id) and not 1 <= category_id.min() <= category_id.max() <= len(names):
        raise ValueError(f"category ids {category_id.min()}..{category_id.max()}, but {len(names)} names")
    texts = [_texts(index, category_id, score, names) for index in range(len(stack))]
    drawn = np.arange(1, len(stack) + 1) if numbers is None else numbers
    return draw_regions(image, stack, instance_colors(int(drawn.max(initial=0)))[drawn], texts)


def shared_numbers(tables: Sequence[Sequence[Bool[np.ndarray, "h w"]]]) -> list[Integer[np.ndarray, " n"]]:
    """Number the instances of several tables of one image, so that an object has the same number in all of them.

    An instance has the number of the one in the tables before that it overlaps most, if their IoU is at least
    `SAME_OBJECT` and no other one of its table fits that better; otherwise a new number. Numbers count from 1.
    """
    known: list[tuple[int, np.ndarray]] = []
    numbered = []
    last = 0
    for masks in tables:
        pairs = [(mask_iou(mask, other), index, number) for index, mask in enumerate(masks) for number, other in known]
        found: dict[int, int] = {}
        for iou, index, number in sorted(pairs, key=lambda pair: -pair[0]):
            if iou >= SAME_OBJECT and index not in found and number not in found.values():
                found[index] = number
        for index in range(len(masks)):
            if index not in found:
                last += 1
                found[index] = last
        known += [(found[index], mask) for index, mask in enumerate(masks)]
        numbered.append(np.array([found[index] for index in range(len(masks))], np.int64))
    return numbered


def draw_regions(
    image: UInt8[np.ndarray, "h w 3"],
    masks: Sequence[Bool[np.ndarray, "h w"]],
    colors: UInt8[np.ndarray, "n 3"],
    texts: Sequence[Sequence[str]],
) -> UInt8[np.ndarray, "h w 3"]:
    """Fill and outline each mask in its color, and write the first of its texts that fits on it.

    Masks may overlap; larger ones are drawn first. Empty masks are not drawn.
    """
    areas_px = np.array([np.count_nonzero(mask) for mask in masks], dtype=np.int64)
    order = [index for index in np.argsort(-areas_px, kind="stable").tolist() if areas_px[index]]
    drawn = image.copy()
    for index in order:
        drawn[masks[index]] = _tinted(drawn[masks[index]], colors[index])
    for index in order:
        _outline(drawn, masks[index], colors[index].tolist())
    return _write_labels(drawn, [masks[index] for index in order], [texts[index] for index in order])


def _as_masks(masks: Masks, *, count: int) -> list[Bool[np.ndarray, "h w"]]:
    if isinstance(masks, np.ndarray) and masks.ndim == 2:
        if int(masks.max(initial=0)) > count:
            raise ValueError(f"instance id {masks.max()} in the map, but {count} category ids")
        return [masks == instance_id for instance_id in range(1, count + 1)]
    if len(masks) != count:
        raise ValueError(f"{len(masks)} masks, but {count} category ids")
    return list(masks)


def _tinted(pixels: UInt8[np.ndarray, "k 3"], color: UInt8[np.ndarray, " 3"]) -> UInt8[np.ndarray, "k 3"]:
    return blend(pixels[None], color, FILL_ALPHA)[0]


def _outline(image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], color: list[int]) -> None:
    """Draw the contours of a mask, including those of its holes, in place."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, contours, -1, color, line_width(image), cv2.LINE_AA)


def _texts(
    index: int,
    category_id: Integer[np.ndarray, " n"],
    score: Float[np.ndarray, " n"] | None,
    names: Sequence[str] | None,
) -> list[str]:
    """Return the texts that could be written on an instance, longest first."""
    name = "" if names is None else names[category_id[index] - 1]
    number = "" if score is None else f"{score[index]:.2f}".removeprefix("0")
    # Two spaces, because at these sizes a single one is as wide as the gap between letters.
    return [text for text in (f"{name}  {number}".strip(), name, number) if text]


@dataclass(frozen=True)
class _Box:
    """A rectangle in px; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def meets(self, other: "_Box") -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def _write_labels(
    image: UInt8[np.ndarray, "h w 3"], masks: list[np.ndarray], texts: list[Sequence[str]]
) -> UInt8[np.ndarray, "h w 3"]:
    """Write on each instance the first of its texts that fits and does not cover an earlier label."""
    height, width = image.shape[:2]
    size_px = min(max(round(max(height, width) / 24), 10), 18)
    boxes: list[_Box] = []
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for mask, candidates in zip(masks, texts, strict=True):
        for text in candidates:
            box = _label_box(mask, text, size_px)
            if box is None or any(box.meets(other) for other in boxes):
                continue
            boxes.append(box)
            corners = (box.left, box.top, box.right - 1, box.bottom - 1)
            draw.rounded_rectangle(corners, radius=size_px // 4, fill=(*LABEL_BACKGROUND, 190))
            middle = ((box.left + box.right) // 2, (box.top + box.bottom) // 2)
            write(draw, middle, text, size_px, color=LABEL_COLOR, anchor="mm")
            break
    return np.array(canvas)


def _label_box(mask: Bool[np.ndarray, "h w"], text: str, size_px: int) -> _Box | None:
    """Return the place of an instance's label, around its innermost point; None if there is no room."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    label_width, label_height = text_width(text, size_px) + size_px // 2, size_px + 3
    if label_width > LABEL_MAX_WIDTH * width or label_height > LABEL_MAX_HEIGHT * height:
        return None
    window = mask[top : top + height, left : left + width].astype(np.uint8)
    depth = cv2.distanceTransform(np.pad(window, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    box_left = min(max(left + int(x) - label_width // 2, 0), mask.shape[1] - label_width)
    box_top = min(max(top + int(y) - label_height // 2, 0), mask.shape[0] - label_height)
    return _Box(box_left, box_top, box_left + label_width, box_top + label_height)

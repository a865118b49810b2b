"""The writer of generated scenes, in PASCAL VOC's layout with weak labels beside it."""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from bestie.datasets.shapes.scene import Scene, SceneLimits, render_scene
from bestie.datasets.shapes.shape_classes import SHAPE_CLASS_NAMES
from bestie.datasets.shapes.simulated_wsss import severity_for, simulate_wsss
from bestie.records import VOID

JPEG_QUALITY = 92
FIRST_VAL_NUMBER = 900_001  # after all train images, so neither split changes when the other grows
# One stream of random numbers for each purpose, so that another WSSS quality leaves the images as they are.
IMAGE_STREAM, WSSS_STREAM, OVERLAP_STREAM = 0, 1, 2
FOLDERS = (
    "JPEGImages",
    "Annotations",
    "SegmentationClass",
    "SegmentationObject",
    "ImageSets/Segmentation",
    "WSSS_maps",
    "Center_points",
)


def generate_shapes(
    root: Path,
    *,
    seed: int,
    num_train: int = 320,
    num_val: int = 100,
    min_side_px: int = 112,
    max_side_px: int = 144,
    min_object_px: float | None = None,
    max_object_px: float | None = None,
    max_objects: int = 6,
    max_distractors: int = 3,
    repeats: int = 0,
    class_colors: bool = False,
    overlap_fraction: float = 1 / 3,
    wsss_miou: float = 0.70,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Generate the data set below `root`, byte for byte the same for the same arguments.

    An image depends only on the seed, its own number and the parameters of sizes and counts, so the first images of a
    split stay as they are when the split grows. Only train has `WSSS_maps` and `Center_points`.

    Args:
        root: the folder to write into; created if absent. The caller moves it to its final name when it is done.
        seed: the seed of everything random.
        num_train: number of images in the train split.
        num_val: number of images in the val split.
        min_side_px: the least height and width of a picture.
        max_side_px: the largest height and width of a picture.
        min_object_px: length of the smallest objects; None: 18 px in a picture of 128 px, but at least 12.
        max_object_px: length of the largest objects; None: 72 px in a picture of 128 px.
        max_objects: the largest number of objects in a picture.
        max_distractors: the largest number of objects without a class in a picture.
        repeats: the largest number of fainter copies of its badge on a body, of which there are half to all; with 0
            most objects have a tail mark instead.
        class_colors: draw bodies in the hues of their class; otherwise in any color.
        overlap_fraction: the share of pictures in which objects of one class touch or overlap.
        wsss_miou: the mean IoU that the WSSS maps of the train split should have; 1.0 is exact truth.
        progress: called with (images done, images in all) after each image.

    Raises:
        ValueError: a parameter is out of range, and nothing is written; or no picture can hold such objects.
    """
    _check_counts(num_train, num_val, overlap_fraction)
    middle_px = (min_side_px + max_side_px) / 2
    limits = SceneLimits(
        min_side_px=min_side_px,
        max_side_px=max_side_px,
        min_object_px=max(12.0, middle_px * 18 / 128) if min_object_px is None else min_object_px,
        max_object_px=min(0.75 * min_side_px, middle_px * 72 / 128) if max_object_px is None else max_object_px,
        max_objects=max_objects,
        max_distractors=max_distractors,
        repeats=repeats,
        class_colors=class_colors,
    )
    draw = partial(generate_scene, seed, limits=limits, overlap_fraction=overlap_fraction)
    splits = {"train": range(1, num_train + 1), "val": range(FIRST_VAL_NUMBER, FIRST_VAL_NUMBER + num_val)}
    severity = severity_for(wsss_miou)
    _write_splits(root, splits, draw, seed=seed, severity=severity, progress=progress)


def _check_counts(num_train: int, num_val: int, overlap_fraction: float) -> None:
    if not (0 <= num_train < FIRST_VAL_NUMBER and 0 <= num_val <= 1_000_000 - FIRST_VAL_NUMBER):
        raise ValueError(f"num_train may be up to 900000, num_val up to 99999, not {num_train} and {num_val}")
    if not 0.0 <= overlap_fraction <= 1.0:
        raise ValueError(f"overlap_fraction must be in 0..1, not {overlap_fraction}")


def _write_splits(
    root: Path,
    splits: Mapping[str, range],
    draw: Callable[[int], Scene],
    *,
    seed: int,
    severity: float,
    progress: Callable[[int, int], None] | None,
) -> None:
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    total = sum(len(numbers) for numbers in splits.values())
    done = 0
    for split, numbers in splits.items():
        for number in numbers:
            scene = draw(number)
            _write_truth(root, image_id(number), scene)
            if split == "train":
                rng = np.random.default_rng([seed, number, WSSS_STREAM])
                _write_weak(root, image_id(number), scene, simulate_wsss(rng, scene, severity=severity))
            done += 1
            if progress is not None:
                progress(done, total)
        _write_text(root / f"ImageSets/Segmentation/{split}.txt", [image_id(number) for number in numbers])


def generate_scene(
    seed: int, number: int, *, limits: SceneLimits | None = None, overlap_fraction: float = 1 / 3
) -> Scene:
    """Draw scene `number` (from 1) of the data set with this seed.

    Overlapping scenes are spread evenly over the numbers, so any series of images has its share of them.
    """
    start = float(np.random.default_rng([seed, OVERLAP_STREAM]).random())
    overlapping = int(number * overlap_fraction + start) > int((number - 1) * overlap_fraction + start)
    rng = np.random.default_rng([seed, number, IMAGE_STREAM])
    return render_scene(rng, limits or SceneLimits(), overlapping=overlapping)


def image_id(number: int) -> str:
    """Return the name of an image's files, without suffix."""
    return f"shapes_{number:06d}"


def _write_truth(root: Path, name: str, scene: Scene) -> None:
    buffer = io.BytesIO()
    Image.fromarray(scene.image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    _write_bytes(root / f"JPEGImages/{name}.jpg", buffer.getvalue())
    _write_palette_png(root / f"SegmentationClass/{name}.png", np.where(scene.void, np.uint8(VOID), scene.semantic))
    _write_palette_png(root / f"SegmentationObject/{name}.png", np.where(scene.void, np.uint8(VOID), scene.instance))
    _write_text(root / f"Annotations/{name}.xml", _annotation(name, scene))


def _write_weak(root: Path, name: str, scene: Scene, wsss: UInt8[np.ndarray, "h w"]) -> None:
    _write_palette_png(root / f"WSSS_maps/{name}.png", wsss)
    lines = []
    for instance_id, category_id in enumerate(scene.category_ids, start=1):
        y, x = inner_point_yx((scene.instance == instance_id) & ~scene.void)
        lines.append(f"{x} {y} {category_id - 1} 1.000")
    _write_text(root / f"Center_points/{name}.txt", lines)


def inner_point_yx(mask: np.ndarray) -> tuple[int, int]:
    """Return the pixel of the mask nearest to its centroid, away from the mask's edge if possible."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    candidates_yx = np.argwhere(inner if inner.any() else mask)
    distance = np.square(candidates_yx - np.argwhere(mask).mean(axis=0)).sum(axis=1)
    y, x = candidates_yx[int(distance.argmin())]
    return int(y), int(x)


def _annotation(name: str, scene: Scene) -> list[str]:
    """Return the lines of VOC's XML: objects in the order of their ids, boxes with both ends and counted from 1."""
    height, width = scene.instance.shape
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    lines = ["<annotation>", "\t<folder>shapes</folder>", f"\t<filename>{name}.jpg</filename>"]
    lines += [f"\t{size}", "\t<segmented>1</segmented>"]
    for instance_id, category_id in enumerate(scene.category_ids, start=1):
        rows, columns = np.nonzero((scene.instance == instance_id) & ~scene.void)
        lines += [
            "\t<object>",
            f"\t\t<name>{SHAPE_CLASS_NAMES[category_id - 1]}</name>",
            "\t\t<difficult>0</difficult>",
            f"\t\t<bndbox><xmin>{columns.min() + 1}</xmin><ymin>{rows.min() + 1}</ymin>"
            f"<xmax>{columns.max() + 1}</xmax><ymax>{rows.max() + 1}</ymax></bndbox>",
            "\t</object>",
        ]
    return [*lines, "</annotation>"]


def voc_palette() -> list[int]:
    """Return PASCAL VOC's color map as 256 RGB triples: the bits of an index are distributed to the three channels."""
    index = np.arange(256)
    channels = [sum(((index >> (3 * k + c)) & 1) << (7 - k) for k in range(8)) for c in range(3)]
    return np.stack(channels, axis=1).ravel().tolist()


def _write_palette_png(path: Path, values: UInt8[np.ndarray, "h w"]) -> None:
    picture = Image.fromarray(values)
    picture.putpalette(_PALETTE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    _write_bytes(path, buffer.getvalue())


def _write_text(path: Path, lines: Sequence[str]) -> None:
    _write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


def _write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that no reader sees half a file."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


_PALETTE = voc_palette()

"""Semantic knowledge transfer: pseudo instances from a weakly supervised semantic map and cues.

This is Section 3.3 and the first half of Listing 4; `bestie.method.targets` renders center and offset maps.
"""

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Integer, Shaped, UInt8, UInt16


class Status(StrEnum):
    """Why a component is, or is not, a pseudo instance."""

    ACCEPTED = "accepted"
    NO_CUE = "no_cue"
    SEVERAL_CUES = "several_cues"
    TOO_SMALL = "too_small"


@dataclass(frozen=True)
class PseudoInstances:
    """The accepted components; row i - 1 is the instance with the id i.

    `center_yx` is the integer part of the centroid in px; `score` is that of the component's cue.
    """

    category_id: Int32[np.ndarray, " n"]
    center_yx: Int32[np.ndarray, "n 2"]
    area_px: Int32[np.ndarray, " n"]
    bbox_xywh: Int32[np.ndarray, "n 4"]
    score: Float32[np.ndarray, " n"]


@dataclass(frozen=True)
class Components:
    """All components of the classes in the image, accepted or not, sorted by category_id.

    `status` holds values of `Status`; `instance_id` is 0 for components that were not accepted.
    """

    category_id: Int32[np.ndarray, " m"]
    area_px: Int32[np.ndarray, " m"]
    bbox_xywh: Int32[np.ndarray, "m 4"]
    n_cues: Int32[np.ndarray, " m"]
    status: Shaped[np.ndarray, " m"]
    instance_id: Int32[np.ndarray, " m"]


@dataclass(frozen=True)
class Transfer:
    """The result for one image; `instance` is an instance id from 1 at each labeled pixel and 0 elsewhere."""

    instance: UInt16[np.ndarray, "h w"]
    instances: PseudoInstances
    components: Components


def transfer(
    semantic: UInt8[np.ndarray, "h w"],
    cues_yx: Integer[np.ndarray, "k 2"],
    cue_category: Integer[np.ndarray, " k"],
    cue_score: Float[np.ndarray, " k"],
    image_labels: Bool[np.ndarray, " c"] | Float[np.ndarray, " c"],
    *,
    min_area_px: int = 50,
) -> Transfer:
    """Take each component with exactly one cue as a pseudo instance (Section 3.3, Listing 4).

    An 8-connected component of a class in the image is accepted if it has at least `min_area_px` pixels and exactly one
    cue of its class lies on it. Other classes, their cues, and void are ignored.

    With point supervision (Section 4.3) the cues are the given points, and masks and centroids follow from them in the
    same way. Only the center map differs: `bestie.method.targets.center_map_from_points` renders all points.

    Args:
        semantic: 0 for background, a category_id, or 255 for void.
        cues_yx: cues in px of the map.
        cue_category: category_id of each cue.
        cue_score: score of each cue.
        image_labels: element k is not 0 if the image has category_id k + 1.
        min_area_px: the smallest area of a component.

    Raises:
        ValueError: a cue lies outside the map.
    """
    height, width = semantic.shape
    if len(cues_yx) and not (cues_yx.min() >= 0 and (cues_yx < (height, width)).all()):
        raise ValueError(f"a cue lies outside the {height} x {width} map")
    parts = []
    for category_id in (np.flatnonzero(image_labels) + 1).tolist():
        of_class = cue_category == category_id
        part = _class_components(semantic, category_id, cues_yx[of_class], cue_score[of_class], min_area_px=min_area_px)
        if part is not None:
            parts.append(part)
    instance_ids = _number_accepted(parts)
    instance = np.zeros((height, width), dtype=np.uint16)
    for part, ids in zip(parts, instance_ids, strict=True):
        instance[part.window] += np.concatenate(([0], ids)).astype(np.uint16)[part.label]
    instances, components = _tables(parts, instance_ids)
    return Transfer(instance=instance, instances=instances, components=components)


@dataclass(frozen=True)
class _ClassComponents:
    """The components of one class; `label` numbers them from 1 inside `window`, the part of the map that they cover."""

    category_id: int
    window: tuple[slice, slice]
    label: Int32[np.ndarray, "h w"]
    area_px: Int32[np.ndarray, " m"]
    bbox_xywh: Int32[np.ndarray, "m 4"]
    center_yx: Int32[np.ndarray, "m 2"]
    n_cues: Int32[np.ndarray, " m"]
    status: Shaped[np.ndarray, " m"]
    score: Float32[np.ndarray, " m"]


def _class_components(
    semantic: UInt8[np.ndarray, "h w"],
    category_id: int,
    cues_yx: Integer[np.ndarray, "k 2"],
    cue_score: Float[np.ndarray, " k"],
    *,
    min_area_px: int,
) -> _ClassComponents | None:
    """Return the components of a class with their numbers of cues, or None if the class is not on the map."""
    mask = (semantic == category_id).view(np.uint8)
    left, top, width, height = cv2.boundingRect(mask)
    if width == 0:
        return None
    window = np.s_[top : top + height, left : left + width]
    count, label, stats, centroid_xy = cv2.connectedComponentsWithStats(mask[window], connectivity=8)
    hit = np.zeros(len(cues_yx), dtype=np.int64)
    y, x = (cues_yx - (top, left)).T
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    hit[inside] = label[y[inside], x[inside]]
    score = np.zeros(count, dtype=np.float32)
    np.maximum.at(score, hit, cue_score.astype(np.float32))
    area_px = stats[1:, cv2.CC_STAT_AREA]
    n_cues = np.bincount(hit, minlength=count)[1:].astype(np.int32)
    return _ClassComponents(
        category_id=category_id,
        window=window,
        label=label,
        area_px=area_px,
        bbox_xywh=stats[1:, : cv2.CC_STAT_AREA] + np.array([left, top, 0, 0], dtype=np.int32),
        center_yx=centroid_xy[1:, ::-1].astype(np.int32) + np.array([top, left], dtype=np.int32),
        n_cues=n_cues,
        status=_status(area_px, n_cues, min_area_px=min_area_px),
        score=score[1:],
    )


def _status(
    area_px: Int32[np.ndarray, " m"], n_cues: Int32[np.ndarray, " m"], *, min_area_px: int
) -> Shaped[np.ndarray, " m"]:
    return np.select(
        [area_px < min_area_px, n_cues == 0, n_cues > 1],
        [Status.TOO_SMALL.value, Status.NO_CUE.value, Status.SEVERAL_CUES.value],
        Status.ACCEPTED.value,
    )


def _number_accepted(parts: list[_ClassComponents]) -> list[Int32[np.ndarray, " _"]]:
    """Return the instance id of each accepted component, counted from 1 through all classes; 0 for the others."""
    ids = []
    last = 0
    for part in parts:
        accepted = part.status == Status.ACCEPTED.value
        ids.append(np.where(accepted, last + np.cumsum(accepted), 0).astype(np.int32))
        last += int(accepted.sum())
    return ids


def _tables(
    parts: list[_ClassComponents], instance_ids: list[Int32[np.ndarray, " _"]]
) -> tuple[PseudoInstances, Components]:
    """Return a table of the accepted components, and one of all components."""
    components = Components(
        category_id=_join([np.full(len(part.area_px), part.category_id) for part in parts], dtype=np.int32),
        area_px=_join([part.area_px for part in parts], dtype=np.int32),
        bbox_xywh=_join([part.bbox_xywh for part in parts], dtype=np.int32, columns=4),
        n_cues=_join([part.n_cues for part in parts], dtype=np.int32),
        status=_join([part.status for part in parts], dtype=np.str_),
        instance_id=_join(instance_ids, dtype=np.int32),
    )
    accepted = components.instance_id > 0
    instances = PseudoInstances(
        category_id=components.category_id[accepted],
        center_yx=_join([part.center_yx for part in parts], dtype=np.int32, columns=2)[accepted],
        area_px=components.area_px[accepted],
        bbox_xywh=components.bbox_xywh[accepted],
        score=_join([part.score for part in parts], dtype=np.float32)[accepted],
    )
    return instances, components


def _join(parts: list[np.ndarray], *, dtype: type[np.generic], columns: int | None = None) -> np.ndarray:
    """Concatenate the parts, of which there may be none, in one type."""
    if not parts:
        return np.empty((0,) if columns is None else (0, columns), dtype=dtype)
    return np.concatenate(parts).astype(dtype)

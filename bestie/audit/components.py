"""The components of a WSSS map as masks, and the reason, in words, why each became a label or did not."""

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from bestie.method.transfer import Status

#: Colors that can be told apart with any kind of color vision.
STATUS_COLORS: Mapping[str, tuple[int, int, int]] = {
    Status.ACCEPTED: (0, 158, 115),
    Status.SEVERAL_CUES: (230, 159, 0),
    Status.NO_CUE: (86, 180, 233),
    Status.TOO_SMALL: (204, 121, 167),
}
STATUS_WORDS: Mapping[str, str] = {
    Status.ACCEPTED: "accepted",
    Status.SEVERAL_CUES: "several cues",
    Status.NO_CUE: "no cue",
    Status.TOO_SMALL: "too small",
}

Row = Mapping[str, Any]


def component_masks(semantic: UInt8[np.ndarray, "h w"], rows: Iterable[Row]) -> list[Bool[np.ndarray, "h w"] | None]:
    """Return the mask of each row of a component table: the component of its class with its box and area.

    A mask is None if the map has no such component, because table and map do not belong together.
    """
    found: dict[int, dict[tuple, list[Bool[np.ndarray, "h w"]]]] = {}
    masks = []
    for row in rows:
        category_id = int(row["category_id"])
        if category_id not in found:
            found[category_id] = _class_components(semantic == category_id)
        known = found[category_id].get((*map(int, row["bbox_xywh"]), int(row["area_px"])))
        masks.append(known.pop(0) if known else None)
    return masks


def _class_components(mask: Bool[np.ndarray, "h w"]) -> dict[tuple, list[Bool[np.ndarray, "h w"]]]:
    """Return the 8-connected components of one class by (left, top, width, height, area), in px."""
    count, label, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found: dict[tuple, list[Bool[np.ndarray, "h w"]]] = {}
    for number in range(1, count):
        found.setdefault(tuple(stats[number].tolist()), []).append(label == number)
    return found


def reason(row: Row, scores: Iterable[float], min_area_px: int | None) -> str:
    """Return in a few words why a component became a label or did not.

    Args:
        row: its row of the component table.
        scores: the scores, 0 to 1, of the cues of its class that lie on it.
        min_area_px: the parameter; None if the version does not record it.
    """
    listed = ", ".join(f"{score:.2f}" for score in scores)
    match row["status"]:
        case Status.ACCEPTED:
            return f"exactly one cue{f' ({listed})' if listed else ''}: label {row['instance_id']}"
        case Status.NO_CUE:
            return "no cue of its class lies on it"
        case Status.SEVERAL_CUES:
            return f"{row['n_cues']} cues{f' ({listed})' if listed else ''}, so it may be several objects"
        case Status.TOO_SMALL:
            least = "min_area_px" if min_area_px is None else f"min_area_px = {min_area_px}"
            return f"{row['area_px']} px, fewer than {least}"
        case other:
            return str(other)

"""The picture of one image's life: the maps and instances of every stage side by side."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from bestie.artifacts.instances import decode_mask
from bestie.artifacts.maps import MapReader
from bestie.audit.components import STATUS_COLORS, STATUS_WORDS
from bestie.audit.show import Life
from bestie.audit.sources import ACTIVATIONS, PSEUDO_MAPS, Artifacts
from bestie.audit.versions import Version
from bestie.errors import InputError
from bestie.pictures import (
    category_swatches,
    draw_activation,
    draw_centers_offsets,
    draw_cues,
    draw_instances,
    draw_regions,
    draw_semantic,
    fit_image,
    fit_map,
    fit_points,
    offset_wheel,
    panel_sheet,
    swatches,
)

CELL_PX = 300
COLUMNS = 4
BLANK = 120
#: The standard deviation of the Gaussians in the paper, for labels that no network has been trained on yet.
SIGMA_PX = 6.0
PEAK = 0.98
#: Number of components whose reason the picture gives; a noisy WSSS map has hundreds of a few pixels.
LISTED = 30

Picture = UInt8[np.ndarray, "_h _w 3"]
Panel = tuple[str, Picture]


def draw_life(life: Life, artifacts: Artifacts) -> Picture:
    """Draw an image with everything that `trace_image` found.

    If the image file or a map is not available, a message is added to `life.missing`; without the image, the layers
    lie on gray.
    """
    image = artifacts.picture(life.record)
    if image is None:
        life.missing.append(f"No file with the SHA-256 of {life.record.path}: the layers lie on grey.")
        image = np.full((life.record.height, life.record.width, 3), BLANK, np.uint8)
    base = fit_image(image, CELL_PX)
    panels: list[Panel] = [(f"image: {', '.join(life.labels) or 'no label'}", base)]
    verdicts = swatches((STATUS_WORDS[status], color) for status, color in STATUS_COLORS.items())
    legend = [*category_swatches(life.names), *verdicts]
    if life.record.split == "train":
        panels += _panels_of_labels(life, artifacts, base)
        reach_px, centers = _panels_of_maps(life, artifacts, base)
        panels += centers
        legend = [(f"offset to the center, {reach_px:.0f} px at the rim", offset_wheel(96)), *legend]
    panels += [_panel_of_table(base, name, rows, life) for name, rows in life.instances.items()]
    title = f"{life.record.image_id} in {artifacts.version}"
    return panel_sheet(panels, columns=COLUMNS, cell_px=CELL_PX, legend=legend, title=title, notes=_notes(life))


def _notes(life: Life) -> list[str]:
    """Return what became of each label of the image and of each component, and why."""
    verdicts = [f"{name}: {verdict}" for name, verdict in life.verdicts().items()]
    components = [
        f"component {each.component_id}, {each.category}, {each.area_px} px: {STATUS_WORDS[each.status]}, {each.reason}"
        for each in life.components[:LISTED]
    ]
    rest = len(life.components) - LISTED
    return [*verdicts, *components, *([f"and {rest} components more"] if rest > 0 else [])]


def _panels_of_labels(life: Life, artifacts: Artifacts, base: Picture) -> list[Panel]:
    """Draw the activations with the cues by class, the WSSS map, and its components by verdict."""
    panels = list(_activations(life, artifacts, base))
    if life.semantic is not None:
        panels.append(("WSSS map", draw_semantic(base, fit_map(life.semantic, CELL_PX))))
    drawn = [(each, mask) for each, mask in zip(life.components, life.masks, strict=True) if mask is not None]
    if drawn:
        picture = draw_regions(
            base,
            [fit_map(mask, CELL_PX) for _, mask in drawn],
            np.array([STATUS_COLORS[each.status] for each, _ in drawn], np.uint8),
            [[f"{each.component_id} {STATUS_WORDS[each.status]}", str(each.component_id)] for each, _ in drawn],
        )
        panels.append(("components, cues", _with_cues(picture, life, sized=False)))
    return panels


def _activations(life: Life, artifacts: Artifacts, base: Picture) -> Iterator[Panel]:
    """Yield one panel per label; none if the version has no activation maps."""
    record = life.record
    try:
        maps = MapReader(artifacts.folder(ACTIVATIONS))
        stride_px = maps.attributes["stride_px"]
        height, width = -(-record.height // stride_px), -(-record.width // stride_px)
        activation = maps.read(record.row, "activation", height, width).astype(np.float32) / 255
    except InputError as error:
        life.missing.append(str(error))
        return
    for label in record.labels:
        name = life.names[label - 1]
        size = (base.shape[1], base.shape[0])
        heat = draw_activation(base, cv2.resize(activation[label - 1], size, interpolation=cv2.INTER_LINEAR))
        count = sum(cue.category == name for cue in life.cues)
        yield f"activation: {name}, {count} cue{'' if count == 1 else 's'}", _with_cues(heat, life, only=name)


def _panels_of_maps(life: Life, artifacts: Artifacts, base: Picture) -> tuple[float, list[Panel]]:
    """Return the longest offset in px, and the panels of the center and offset maps."""
    record = life.record
    try:
        maps = MapReader(artifacts.folder(PSEUDO_MAPS))
        instance = maps.read(record.row, "instance", record.height, record.width).astype(np.int32)
    except InputError as error:
        life.missing.append(str(error))
        return 0.0, []
    from bestie.method.targets import render_class_agnostic  # loads torch, which takes seconds

    targets = render_class_agnostic(instance, sigma_px=_sigma_px(artifacts.version))
    offset = targets.offset
    ids, heat = fit_map(instance, CELL_PX), fit_map(targets.center[0], CELL_PX)
    # Only the peaks of the center map, which has a panel of its own; the rest of it would hide the offsets.
    tops = np.where(heat > PEAK, heat, 0)
    reach_px = float(np.hypot(*offset)[instance > 0].max(initial=0))
    return reach_px, [
        ("center map", draw_activation(base, heat)),
        ("offset map, centers", draw_centers_offsets(base, tops, fit_map(offset, CELL_PX), ids, reach_px=reach_px)),
    ]


def _sigma_px(version: Version) -> float:
    """Return the standard deviation of the center map's Gaussians that the network learned from, or the default."""
    run = version.lock.stages.get("train_bestie")
    return float(run.params.get("train_bestie.sigma_px", SIGMA_PX) if run else SIGMA_PX)


def _with_cues(picture: Picture, life: Life, *, only: str | None = None, sized: bool = True) -> Picture:
    """Draw the cues of all classes, or only of one; `sized`: by their scores, otherwise all small."""
    cues = [cue for cue in life.cues if only in (None, cue.category)]
    yx = np.array([(cue.y, cue.x) for cue in cues], np.float64).reshape(-1, 2)
    placed = fit_points(yx, height=life.record.height, width=life.record.width, size_px=CELL_PX)
    ids = np.array([life.names.index(cue.category) + 1 for cue in cues], np.int64)
    return draw_cues(picture, placed, ids, np.array([cue.score * sized for cue in cues], np.float64))


def _panel_of_table(base: Picture, name: str, rows: list[dict[str, Any]], life: Life) -> Panel:
    """Draw the instances of one table; of the detector's many, only those with at least half the best score."""
    best = max((float(row["score"]) for row in rows), default=0.0)
    shown = [row for row in rows if name != "Mask R-CNN" or row["score"] >= best / 2]
    size = (life.record.height, life.record.width)
    masks = [fit_map(decode_mask(str(row["rle"]), *size), CELL_PX) for row in shown]
    category_id = np.array([row["category_id"] for row in shown], np.int64)
    score = None if name == "truth" else np.array([row["score"] for row in shown], np.float64)
    epoch = f", epoch {life.epoch}" if name == "refined labels" else ""
    count = f"{len(shown)} of {len(rows)}" if len(shown) < len(rows) else str(len(rows))
    return f"{name}{epoch}: {count}", draw_instances(base, masks, category_id, score, names=life.names)

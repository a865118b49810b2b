"""Panels: pictures side by side, each under its own title."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from bestie.pictures.sheet_layout import CAPTION_PX, INK, MARGIN_PX, PAPER, Picture, contact_sheet
from bestie.pictures.text import shorten, write

#: The distance from one line of the notes to the next.
NOTE_PX = 18


def panel_sheet(
    panels: Sequence[tuple[str, Picture]],
    *,
    columns: int,
    cell_px: int,
    legend: Sequence[tuple[str, Picture]] = (),
    title: str | None = None,
    notes: Sequence[str] = (),
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay out (title, picture) pairs on white paper in rows of `columns`, each row a `contact_sheet` of its own.

    Pictures are scaled until their longer side is `cell_px`. A title wider than its picture, or a note wider than the
    paper, is cut and ends in dots. The `legend` is at the bottom, and below it the `notes`, one per line.
    """
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)] or [[]]
    sheets: list[np.ndarray] = []
    for number, row in enumerate(rows):
        sheet = contact_sheet(
            [("", [picture for _, picture in row])] if row else [],
            headers=[text for text, _ in row],
            cell_px=cell_px,
            legend=legend if number == len(rows) - 1 else (),
            title=title if number == 0 else None,
            least_width_px=max((each.shape[1] for each in sheets), default=0),
        )
        sheets.append(sheet)
    width = max(sheet.shape[1] for sheet in sheets)
    sheets += [_written(notes, width)] if notes else []
    return np.concatenate([_widened(sheet, width) for sheet in sheets])


def _written(lines: Sequence[str], width: int) -> UInt8[np.ndarray, "h {width} 3"]:
    canvas = Image.new("RGB", (width, len(lines) * NOTE_PX + MARGIN_PX), PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        fitting = shorten(line, CAPTION_PX, width_px=width - 2 * MARGIN_PX)
        write(draw, (MARGIN_PX, number * NOTE_PX + NOTE_PX // 2), fitting, CAPTION_PX, color=INK)
    return np.array(canvas)


def _widened(sheet: UInt8[np.ndarray, "h w 3"], width: int) -> UInt8[np.ndarray, "h {width} 3"]:
    margin = np.broadcast_to(np.array(PAPER, np.uint8), (sheet.shape[0], width - sheet.shape[1], 3))
    return np.concatenate([sheet, margin], axis=1)

"""Panels: pictures of one thing side by side, each under its own title."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from bestie.pictures.sheet import PAPER, Picture, contact_sheet


def panel_sheet(
    panels: Sequence[tuple[str, Picture]],
    *,
    columns: int,
    cell_px: int,
    legend: Sequence[tuple[str, Picture]] = (),
    title: str | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay out (title, picture) in rows of `columns` on white paper, as `contact_sheet` does with one row each.

    A title that is wider than its picture ends in dots.
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
    return np.concatenate([_widened(sheet, width) for sheet in sheets])


def _widened(sheet: UInt8[np.ndarray, "h w 3"], width: int) -> UInt8[np.ndarray, "h {width} 3"]:
    margin = np.broadcast_to(np.array(PAPER, np.uint8), (sheet.shape[0], width - sheet.shape[1], 3))
    return np.concatenate([sheet, margin], axis=1)

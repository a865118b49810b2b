"""Sheets: rows of pictures under common headers, which show many images in all stages at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from bestie.pictures.color import category_colors
from bestie.pictures.scaling import fit_image
from bestie.pictures.text import shorten, text_width, write

MARGIN_PX = 24
GAP_PX = 8
TITLE_PX, HEADER_PX, CAPTION_PX = 22, 14, 12
CAPTION_MAX_PX = 180
SWATCH_PX = 14
PAPER = (255, 255, 255)
EMPTY_CELL = (243, 244, 246)
INK = (31, 35, 40)
FAINT_INK = (101, 109, 118)

Picture = UInt8[np.ndarray, "_h _w 3"]


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[Picture | None]]],
    *,
    headers: Sequence[str],
    cell_px: int,
    legend: Sequence[tuple[str, Picture]] = (),
    title: str | None = None,
    least_width_px: int = 0,
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay out rows of pictures on white paper; text that is too long is cut and ends in dots.

    Args:
        rows: (caption, pictures), with a picture, or None for an empty cell, under each header. Captions are at the
            left, their lines separated by line feeds.
        headers: the headers of the columns.
        cell_px: pictures are scaled until their longer side has this size; columns and rows are as wide and high as
            their largest picture.
        legend: (text, picture) such as `offset_wheel` and `category_swatches`, at the bottom and not scaled.
        title: a line at the top.
        least_width_px: the least width of the paper.

    Raises:
        ValueError: a row does not have as many pictures as there are headers.
    """
    for caption, pictures in rows:
        if len(pictures) != len(headers):
            raise ValueError(f"row {caption!r} has {len(pictures)} pictures, but there are {len(headers)} headers")
    cells = [[None if p is None else fit_image(p, cell_px) for p in pictures] for _, pictures in rows]
    captions = [caption.split("\n") if caption else [] for caption, _ in rows]
    layout = _arrange(cells, captions, headers, cell_px=cell_px, has_title=bool(title), least_width_px=least_width_px)
    lines = _legend_lines(legend, width_px=layout.width - 2 * MARGIN_PX)
    height = layout.grid_bottom + sum(line.height + 2 * GAP_PX for line in lines) + MARGIN_PX
    canvas = Image.new("RGB", (layout.width, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    if title:
        fitting = shorten(title, TITLE_PX, width_px=layout.width - 2 * MARGIN_PX)
        write(draw, (MARGIN_PX, MARGIN_PX + TITLE_PX // 2), fitting, TITLE_PX, color=INK)
    _draw_headers(draw, headers, layout)
    for index, row in enumerate(cells):
        _draw_caption(draw, captions[index], layout, index)
        _draw_row(canvas, draw, row, layout, index)
    _draw_legend(canvas, draw, lines, top=layout.grid_bottom + 2 * GAP_PX)
    return np.array(canvas)


@dataclass(frozen=True)
class Page:
    """One part of a sheet: rows of (caption, pictures) as in `contact_sheet`, their headers, and the size of a cell."""

    rows: Sequence[tuple[str, Sequence[Picture | None]]]
    headers: Sequence[str]
    cell_px: int


def stacked_sheets(
    pages: Sequence[Page], *, legend: Sequence[tuple[str, Picture]] = (), title: str | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay out pages of different columns below each other, with one title and one legend."""
    sheets: list[np.ndarray] = []
    for number, page in enumerate(pages):
        sheets.append(
            contact_sheet(
                page.rows,
                headers=page.headers,
                cell_px=page.cell_px,
                legend=legend if number == len(pages) - 1 else (),
                title=title if number == 0 else None,
            )
        )
    width = max(sheet.shape[1] for sheet in sheets)
    return np.concatenate([np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in sheets])


def category_swatches(names: Sequence[str]) -> list[tuple[str, UInt8[np.ndarray, "s s 3"]]]:
    """Return the legend of the `category_colors`; `names[c - 1]` is the name of category_id c."""
    return swatches(zip(names, category_colors(len(names))[1:], strict=True))


def swatches(
    colors: Iterable[tuple[str, Sequence[int] | UInt8[np.ndarray, " 3"]]],
) -> list[tuple[str, UInt8[np.ndarray, "s s 3"]]]:
    """Return entries of a legend, a square of each color with its meaning."""
    return [(name, np.full((SWATCH_PX, SWATCH_PX, 3), color, dtype=np.uint8)) for name, color in colors]


def save_png(path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write a picture as PNG without metadata, so that equal pictures give equal files."""
    Image.fromarray(image).save(path, format="PNG", compress_level=9)


@dataclass(frozen=True)
class _Layout:
    """Where the columns and rows of a sheet are, in px: first edges and sizes."""

    column_left: list[int]
    column_width: list[int]
    row_top: list[int]
    row_height: list[int]
    header_bottom: int
    caption_width: int
    width: int
    grid_bottom: int


def _arrange(
    cells: list[list[np.ndarray | None]],
    captions: list[list[str]],
    headers: Sequence[str],
    *,
    cell_px: int,
    has_title: bool,
    least_width_px: int,
) -> _Layout:
    column_width = [
        max([p.shape[1] for p in (row[column] for row in cells) if p is not None], default=cell_px)
        for column in range(len(headers))
    ]
    row_height = [
        max(
            max([p.shape[0] for p in row if p is not None], default=cell_px),
            _caption_height(caption),
        )
        for row, caption in zip(cells, captions, strict=True)
    ]
    caption_width = max([_caption_line_width(line) for caption in captions for line in caption], default=0)
    top = MARGIN_PX + (TITLE_PX + 2 * GAP_PX if has_title else 0)
    header_bottom = top + (HEADER_PX + GAP_PX if any(headers) else 0)
    left = MARGIN_PX + (caption_width + 2 * GAP_PX if caption_width else 0)
    column_left, width = _edges(column_width, start=left)
    row_top, grid_bottom = _edges(row_height, start=header_bottom)
    return _Layout(
        column_left=column_left,
        column_width=column_width,
        row_top=row_top,
        row_height=row_height,
        header_bottom=header_bottom,
        caption_width=caption_width,
        width=max(width + MARGIN_PX, least_width_px),
        grid_bottom=grid_bottom,
    )


def _edges(sizes: list[int], *, start: int) -> tuple[list[int], int]:
    """Return the first edge of each, with gaps between them, and the last edge of all."""
    first = [start + sum(sizes[:index]) + index * GAP_PX for index in range(len(sizes))]
    return first, (first[-1] + sizes[-1] if sizes else start)


def _caption_height(lines: list[str]) -> int:
    return len(lines) * (CAPTION_PX + 5)


def _caption_line_width(line: str) -> int:
    return min(text_width(line, CAPTION_PX), CAPTION_MAX_PX)


def _draw_headers(draw: ImageDraw.ImageDraw, headers: Sequence[str], layout: _Layout) -> None:
    middle = layout.header_bottom - GAP_PX - HEADER_PX // 2
    for header, left, width in zip(headers, layout.column_left, layout.column_width, strict=True):
        fitting = shorten(header, HEADER_PX, width_px=width)
        write(draw, (left, middle), fitting, HEADER_PX, color=INK)


def _draw_caption(draw: ImageDraw.ImageDraw, lines: list[str], layout: _Layout, row: int) -> None:
    """Write the lines beside the middle of the row, the first line darker than the others."""
    top = layout.row_top[row] + (layout.row_height[row] - _caption_height(lines)) // 2
    for number, line in enumerate(lines):
        fitting = shorten(line, CAPTION_PX, width_px=layout.caption_width)
        middle = top + (2 * number + 1) * _caption_height([line]) // 2
        write(draw, (MARGIN_PX, middle), fitting, CAPTION_PX, color=FAINT_INK if number else INK)


def _draw_row(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    pictures: list[np.ndarray | None],
    layout: _Layout,
    row: int,
) -> None:
    """Paste pictures under the beginning of their headers; an empty cell is a faint rectangle."""
    top, height = layout.row_top[row], layout.row_height[row]
    for picture, left, width in zip(pictures, layout.column_left, layout.column_width, strict=True):
        if picture is None:
            draw.rectangle((left, top, left + width - 1, top + height - 1), fill=EMPTY_CELL)
            continue
        canvas.paste(Image.fromarray(picture), (left, top + (height - picture.shape[0]) // 2))


@dataclass(frozen=True)
class _LegendLine:
    """Entries of the legend side by side: left edge, text, picture."""

    entries: list[tuple[int, str, np.ndarray]]
    height: int


def _legend_lines(legend: Sequence[tuple[str, Picture]], *, width_px: int) -> list[_LegendLine]:
    """Break the legend into lines of at most `width_px`, with at least one entry per line."""
    lines: list[_LegendLine] = []
    entries: list[tuple[int, str, np.ndarray]] = []
    used_px = 0
    for text, picture in legend:
        entry_px = picture.shape[1] + GAP_PX + text_width(text, CAPTION_PX)
        if entries and used_px + entry_px > width_px:
            lines.append(_line(entries))
            entries, used_px = [], 0
        entries.append((MARGIN_PX + used_px, text, picture))
        used_px += entry_px + 2 * GAP_PX
    return [*lines, _line(entries)] if entries else lines


def _line(entries: list[tuple[int, str, np.ndarray]]) -> _LegendLine:
    height = max(max(picture.shape[0], CAPTION_PX) for _, _, picture in entries)
    return _LegendLine(entries=entries, height=height)


def _draw_legend(canvas: Image.Image, draw: ImageDraw.ImageDraw, lines: list[_LegendLine], *, top: int) -> None:
    for line in lines:
        middle = top + line.height // 2
        for left, text, picture in line.entries:
            canvas.paste(Image.fromarray(picture), (left, middle - picture.shape[0] // 2))
            write(draw, (left + picture.shape[1] + GAP_PX, middle), text, CAPTION_PX, color=FAINT_INK)
        top += line.height + 2 * GAP_PX

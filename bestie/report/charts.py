"""The geometry of line charts: ticks, paths, and the values that a reader can step through.

The template `charts.html` turns a `Drawing` into SVG; colors and fonts come from the style sheet.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 40
#: A line with at most this many points shows a dot for each of them.
MAX_DOTS = 30

Tick = tuple[float, str]


@dataclass(frozen=True)
class Line:
    """One line of a chart: (x, y) by ascending x; a y of None or nan is a gap. `color` is a class of the styles."""

    name: str
    color: str
    points: Sequence[tuple[float, float | None]]
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """The content of a line chart.

    `y_range` fixes the ends of the vertical axis, which otherwise begins at 0 and ends above the largest value. A
    logarithmic axis leaves out values that are not above 0.
    """

    key: str
    title: str
    note: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    logarithmic: bool = False
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class DrawnLine:
    """A line in the units of the drawing: an SVG path, and a dot for each point if there are few."""

    name: str
    color: str
    dashed: bool
    path: str
    dots: list[tuple[float, float]]


@dataclass(frozen=True)
class Drawing:
    """A chart in the units of its SVG.

    The script of the page steps through `numbers`: `x` and `at` are the values and positions of all points along the
    horizontal axis, and `lines` are the name, color and values of each line (None: a gap).
    """

    chart: Chart
    width: int
    height: int
    box: tuple[int, int, int, int]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[DrawnLine]
    numbers: dict[str, list]


def draw(chart: Chart) -> Drawing | None:
    """Lay out a chart; return None if it has no value to show."""
    lines = [Line(each.name, each.color, _finite(each, chart.logarithmic), each.dashed) for each in chart.lines]
    lines = [each for each in lines if any(y is not None for _, y in each.points)]
    if not lines:
        return None
    xs = sorted({float(x) for line in lines for x, _ in line.points})
    values = [y for line in lines for _, y in line.points if y is not None]
    x_axis = _Axis.over(xs, ends=(LEFT, WIDTH - RIGHT), whole=all(x == int(x) for x in xs))
    ends = (HEIGHT - BOTTOM, TOP)
    y_axis = _log_axis(values, ends) if chart.logarithmic else _Axis.above(values, ends, chart.y_range)
    return Drawing(
        chart=chart,
        width=WIDTH,
        height=HEIGHT,
        box=(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM),
        x_ticks=[(x_axis.place(tick), _text(tick)) for tick in x_axis.ticks],
        y_ticks=[(y_axis.place(tick), _text(tick)) for tick in y_axis.ticks],
        lines=[_draw_line(line, x_axis, y_axis) for line in lines],
        numbers={
            "x": [_shortened(x) for x in xs],
            "at": [x_axis.place(x) for x in xs],
            "lines": [_numbers(line, xs) for line in lines],
        },
    )


@dataclass(frozen=True)
class _Axis:
    """An axis with the values `first` to `last` at the positions `ends`; a logarithmic one is even in the logarithm."""

    first: float
    last: float
    ends: tuple[int, int]
    ticks: list[float]
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Sequence[float], *, ends: tuple[int, int], whole: bool) -> "_Axis":
        """Return an axis from the first to the last value."""
        first, last = values[0], values[-1]
        if first == last:
            first, last = first - 1, last + 1
        step = _step(last - first)
        ticks = _multiples(max(1.0, step) if whole else step, first, last)
        return cls(first, last, ends, ticks)

    @classmethod
    def above(cls, values: Sequence[float], ends: tuple[int, int], limits: tuple[float, float] | None) -> "_Axis":
        """Return an axis from 0, or a lower tick if a value is negative, to a tick that no value exceeds."""
        low, high = limits or (min(0.0, *values), max(0.0, *values))
        if low == high:
            high = low + 1
        step = _step(high - low)
        if limits is None:
            low, high = math.floor(low / step) * step, math.ceil(high / step - 1e-9) * step
        return cls(low, high, ends, _multiples(step, low, high))

    def place(self, value: float) -> float:
        """Return the position of a value, to a tenth of a unit."""
        first, last = self.first, self.last
        if self.logarithmic:
            first, last, value = math.log10(first), math.log10(last), math.log10(value)
        start, end = self.ends
        return round(start + (end - start) * (value - first) / (last - first), 1)


def _log_axis(values: Sequence[float], ends: tuple[int, int]) -> _Axis:
    """Return a logarithmic axis between powers of ten, with a tick at about five of them."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    every = max(1, math.ceil((high - low) / 5))
    ticks = [10.0**power for power in range(low, high + 1, every)]
    return _Axis(10.0**low, 10.0**high, ends, ticks, logarithmic=True)


def _step(span: float, *, count: int = 5) -> float:
    """Return the distance between about `count` ticks: 1, 2 or 5 times a power of ten."""
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def _multiples(step: float, first: float, last: float) -> list[float]:
    start, stop = math.ceil(first / step - 1e-9), math.floor(last / step + 1e-9)
    return [round(k * step, 10) for k in range(start, stop + 1)]


def _finite(line: Line, logarithmic: bool) -> list[tuple[float, float | None]]:
    lowest = 0.0 if logarithmic else -math.inf
    return [(float(x), float(y) if y is not None and math.isfinite(y) and y > lowest else None) for x, y in line.points]


def _draw_line(line: Line, x_axis: _Axis, y_axis: _Axis) -> DrawnLine:
    places = [None if y is None else (x_axis.place(x), y_axis.place(y)) for x, y in line.points]
    drawn = [place for place in places if place is not None]
    few = len(drawn) <= MAX_DOTS and not line.dashed
    return DrawnLine(line.name, line.color, line.dashed, _path(places), drawn if few else [])


def _path(places: Iterable[tuple[float, float] | None]) -> str:
    """Return SVG path data, in which a gap starts a new stroke."""
    parts, pen_is_down = [], False
    for place in places:
        if place is not None:
            parts.append(f"{'L' if pen_is_down else 'M'}{place[0]:g} {place[1]:g}")
        pen_is_down = place is not None
    return "".join(parts)


def _numbers(line: Line, xs: Sequence[float]) -> dict[str, object]:
    known = dict(line.points)
    values = [known.get(x) for x in xs]
    return {
        "name": line.name,
        "color": line.color,
        "values": [None if value is None else _shortened(value) for value in values],
    }


def _shortened(value: float) -> float:
    return float(f"{value:.4g}")


def _text(value: float) -> str:
    return f"{value:g}"

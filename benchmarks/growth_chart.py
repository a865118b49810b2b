"""Line charts of what grows with the number of images, as one SVG file."""

from collections.abc import Callable, Sequence
from html import escape

from benchmarks.growth import Size
from benchmarks.measured import Usage
from bestie.report.charts import HEIGHT, WIDTH, Chart, Drawing, Line, draw

COLORS = ("#3366cc", "#dc3912", "#109618", "#990099", "#b8860b", "#0099c6", "#dd4477", "#66aa00", "#666666", "#000000")
#: Room above a chart for its title, and to its right for the names of its lines, in px.
TITLE, NAMES = 24, 130
VALUES: dict[str, Callable[[Usage], float]] = {
    "wall time, s": lambda usage: usage.seconds,
    "memory, MiB": lambda usage: usage.memory_mb,
}


def draw_growth(sizes: Sequence[Size], groups: dict[str, Sequence[str]]) -> str:
    """Return an SVG with a row of charts for each group of steps: time and memory over the number of images."""
    cell_width, cell_height = WIDTH + NAMES, HEIGHT + TITLE
    parts = []
    for row, (group, steps) in enumerate(groups.items()):
        for column, (label, value) in enumerate(VALUES.items()):
            drawing = draw(_chart(sizes, group, steps, label, value))
            if drawing is not None:
                move = f"translate({column * cell_width} {row * cell_height})"
                parts.append(f'<g transform="{move}">{_svg_of(drawing)}</g>')
    width, height = len(VALUES) * cell_width, len(groups) * cell_height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _chart(
    sizes: Sequence[Size], group: str, steps: Sequence[str], label: str, value: Callable[[Usage], float]
) -> Chart:
    lines = [
        Line(step, COLORS[number % len(COLORS)], [(size.images, value(size.steps[step])) for size in sizes])
        for number, step in enumerate(steps)
    ]
    return Chart(key=group, title=f"{group}: {label}", note="", x_label="images", y_label=label, lines=lines)


def _svg_of(drawing: Drawing) -> str:
    left, top, right, bottom = drawing.box
    parts = [f'<text x="{left}" y="16" font-weight="bold">{escape(drawing.chart.title)}</text>']
    parts.append(f'<g transform="translate(0 {TITLE})">')
    for at, text in drawing.y_ticks:
        parts.append(f'<line x1="{left}" x2="{right}" y1="{at}" y2="{at}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4}" text-anchor="end">{text}</text>')
    parts += [f'<text x="{at}" y="{bottom + 16}" text-anchor="middle">{text}</text>' for at, text in drawing.x_ticks]
    middle = (left + right) / 2
    parts.append(f'<text x="{middle}" y="{drawing.height - 6}" text-anchor="middle">{drawing.chart.x_label}</text>')
    for number, line in enumerate(drawing.lines):
        parts.append(f'<path d="{line.path}" fill="none" stroke="{line.color}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="2.4" fill="{line.color}"/>' for x, y in line.dots]
        parts.append(
            f'<text x="{right + 10}" y="{top + 8 + 14 * number}" fill="{line.color}">{escape(line.name)}</text>'
        )
    return "\n".join([*parts, "</g>"])

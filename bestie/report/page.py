"""The page: one HTML file that needs no other file and sends no request."""

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bestie.report.content import Content
from bestie.report.funnel import STEPS
from bestie.report.graph_drawing import BOX_HEIGHT, BOX_WIDTH, GraphDrawing, draw_graph
from bestie.report.pipeline_state import Pipeline

STYLES = ("base.css", "charts.css", "gallery.css")
SCRIPTS = ("theme.js", "charts.js", "tables.js", "pictures.js", "viewer.js", "gallery.js")


def render(content: Content) -> str:
    """Return the page as HTML. All names in it are escaped, and its policy allows only the scripts of this package."""
    graphs = [] if content.pipeline is None else _graphs(content.pipeline)
    return render_template(
        "report.html",
        styles=STYLES,
        scripts=SCRIPTS,
        content=content,
        steps=STEPS,
        graphs=graphs,
        box=(BOX_WIDTH, BOX_HEIGHT),
    )


def render_template(name: str, *, styles: tuple[str, ...], scripts: tuple[str, ...], **values: object) -> str:
    """Return a page made from a template, with style sheets and scripts inside and a policy that allows only these.

    Args:
        name: a file in `templates/`.
        styles: style sheets in `assets/`.
        scripts: scripts in `assets/`.
        values: the variables of the template.
    """
    sheet, script = _assets(styles), _assets(scripts)
    template = _environment().get_template(name)
    return template.render(styles=Markup(sheet), scripts=Markup(script), policy=_policy(sheet, script), **values)


def format_seconds(seconds: float) -> str:
    """Return a duration in at most two units: 0.4 s, 3 min 12 s, 2 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_bytes(count: int | None) -> str:
    """Return a size with three digits: 812 B, 1.24 MB; empty if it is not known."""
    if count is None:
        return ""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"


def format_time(seconds: float) -> str:
    """Return a time, given in seconds since the epoch, as text in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bestie.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"seconds": format_seconds, "bytes": format_bytes, "time": format_time}
    return environment


def _assets(names: tuple[str, ...]) -> str:
    folder = files("bestie.report") / "assets"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def _policy(styles: str, scripts: str) -> str:
    """Return a content security policy that allows the page's own styles and scripts by hash, and no request."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_hash(styles)}'; script-src '{_hash(scripts)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _graphs(pipeline: Pipeline) -> list[tuple[str, GraphDrawing]]:
    """Return the graph twice: `wide` from left to right, and `tall` from top to bottom for narrow screens."""
    names = [stage.name for stage in pipeline.stages]
    return [
        ("wide", draw_graph(names, pipeline.edges)),
        ("tall", draw_graph(names, pipeline.edges, downwards=True)),
    ]

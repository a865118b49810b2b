"""The page of the tables: our scores beside the paper's, with bars and charts, in one HTML file like the report."""

from collections.abc import Sequence

from bestie.report.charts import Chart, Drawing, Line, draw
from bestie.report.page import render_template
from bestie.tables.definition import SCORES
from bestie.tables.results import Summary, SummaryFigure, SummaryTable

STYLES = ("base.css", "charts.css")
SCRIPTS = ("theme.js", "charts.js")
QUANTITIES = {"true_positives": "true objects found, %", "map50": "mAP50, %"}


def render_tables(summary: Summary) -> str:
    """Return the page as HTML. All names in it are escaped."""
    charts = {table.key: drawn for table in summary.tables if (drawn := table_charts(table))}
    figures = [(figure, draw(figure_chart(figure))) for figure in summary.figures]
    return render_template(
        "tables.html", styles=STYLES, scripts=SCRIPTS, summary=summary, charts=charts, figures=figures
    )


def table_charts(table: SummaryTable) -> list[Drawing]:
    """Draw one chart for each score, over the `x` of the rows or, if a row has none, over its number."""
    places = [row.row.x if row.row.x is not None else number for number, row in enumerate(table.rows, 1)]
    label = table.columns[0] if all(row.row.x is not None for row in table.rows) else "row"
    charts = []
    for name in table.scores:
        measured = [(x, row.here[name]) for x, row in zip(places, table.rows, strict=True) if name in row.here]
        paper = [(x, row.paper[name]) for x, row in zip(places, table.rows, strict=True) if name in row.paper]
        spread = [(x, each) for x, each in measured if len(each.values) > 1]
        lines = [
            Line("mean here", "bestie", [(x, each.mean) for x, each in measured]),
            Line("lowest seed", "components", [(x, min(each.values)) for x, each in spread], dashed=True),
            Line("highest seed", "components", [(x, max(each.values)) for x, each in spread], dashed=True),
            Line("paper", "mrcnn", paper),
        ]
        if measured:
            charts.append(Chart(f"{table.key}-{name}", SCORES[name], "", label, f"{SCORES[name]}, %", _shown(lines)))
    return [drawing for chart in charts if (drawing := draw(chart)) is not None]


def figure_chart(figure: SummaryFigure) -> Chart:
    """Return the lines of a figure as a chart over the epochs."""
    lines = [
        Line(curve.name, f"tone-{number}", curve.points, dashed=curve.constant)
        for number, curve in enumerate(figure.curves, 1)
    ]
    return Chart(figure.key, figure.title, figure.note, "epoch", QUANTITIES[figure.quantity], lines)


def _shown(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line.points]

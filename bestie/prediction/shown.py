"""Which instances of an image are worth showing."""

from typing import Any

#: Without a score to go by, those with at least this part of the image's best score.
SHOWN_PART = 0.5

Rows = list[dict[str, Any]]


def worth_showing(rows: Rows, least: float | None = None) -> Rows:
    """Return the rows from a score on, by default half of the image's best one: many have very low scores."""
    if least is None:
        least = SHOWN_PART * max((float(row["score"]) for row in rows), default=0.0)
    return [row for row in rows if row["score"] >= least]

"""The report of a run: one HTML file to look at, to keep, and to send to somebody."""

from pathlib import Path

#: Where `bestie report` writes it unless told otherwise.
REPORT = Path("report.html")

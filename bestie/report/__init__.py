"""The report of a run: one HTML file to look at, to keep, and to send to others."""

from pathlib import Path

#: The default path of `bestie report`.
REPORT = Path("report.html")

"""The results of the audit as text on a terminal."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bestie.audit.matching import Change, sizes
from bestie.audit.versions import WORKSPACE, Version

if TYPE_CHECKING:  # slow to load, and each is needed by one command only
    from bestie.audit.diff import Difference
    from bestie.audit.findings import Finding
    from bestie.audit.log import LogEntry
    from bestie.audit.show import Life

INDENT = 10
#: The most causes of a difference that are printed.
MAX_CAUSES = 8
NUMERIC = {"px", "cues", "before", "after", "changed px", *(change.replace("_", " ") for change in Change)}
LINE = "{:<8}  {:<12}  {:<10}  {:>6}  {:>6}  {:>9}  {:>6}  {}"


def print_log(console: Console, entries: "Iterable[LogEntry]") -> int:
    """Print a paragraph for each version, and return their number."""
    count = 0
    for entry in entries:
        count += 1
        _line(console, f"version {entry.version.hash} of {entry.version.stage}", style="bold")
        facts = {
            "at": _where(entry.version),
            "changed": "\n".join(_changes(entry)) or "nothing that is recorded",
            "from": ", ".join(f"{name} {md5}" for name, md5 in entry.upstream.items()),
            "labels": _labels(entry),
            "truth": _truth(entry),
            "problem": entry.problem or "",
        }
        for name, text in facts.items():
            if text:
                _line(console, f"  {name:<{INDENT - 2}}" + text.replace("\n", "\n" + " " * INDENT))
        console.print()
    return count


def print_log_lines(console: Console, entries: "Iterable[LogEntry]") -> int:
    """Print one line per version, and return their number."""
    count = 0
    for entry in entries:
        if count == 0:
            _line(console, LINE.format("version", "at", "date", "labels", "right", "precision", "recall", "changed"))
        count += 1
        counts, commit = entry.counts, entry.version.commit
        numbers = (counts.instances, counts.true_positives) if counts else (None, None)
        shares = (counts.precision, counts.recall) if counts else (None, None)
        cells = (
            entry.version.hash,
            entry.version.revision,
            commit.date[:10] if commit else "-",
            *("-" if number is None else number for number in numbers),
            *map(_share, shares),
            f"{entry.version.stage}: {'; '.join(_changes(entry))}",
        )
        _line(console, LINE.format(*cells))
    return count


def print_difference(console: Console, difference: "Difference") -> None:
    """Print why two versions differ, and how: by class and by image."""
    for name, version in (("before", difference.before), ("after", difference.after)):
        _line(console, f"{name:<{INDENT}}{version.hash} of {version.stage}, {_where(version)}")
    _print_causes(console, difference)
    _print_classes(console, difference)
    for sentence in difference.sentences():
        _line(console, sentence)
    if difference.is_empty:
        _line(console, "Both versions hold the same labels.")
    _print_largest(console, difference)


def print_life(console: Console, life: "Life") -> None:
    """Print what became of each image-level label, and each component with the reason for its verdict."""
    record = life.record
    labels = ", ".join(life.labels) or "none"
    _line(console, f"{record.image_id}, {record.height}x{record.width} px, {record.split}, labels: {labels}", "bold")
    _line(console, f"version {life.version} of {life.version.stage}")
    for name, verdict in life.verdicts().items():
        _line(console, f"  {name}: {verdict}")
    if life.components:
        table = _table("component", "class", "px", "cues", "verdict")
        for each in life.components:
            cells = (each.component_id, each.category, each.area_px, each.n_cues, f"{each.status}: {each.reason}")
            table.add_row(*(Text(str(cell)) for cell in cells))
        console.print(table)
    for cue in life.cues:
        if not cue.component_id:
            _line(
                console,
                f"cue of {cue.category} at y {cue.y:.0f}, x {cue.x:.0f} ({cue.score:.2f}): "
                "on no component of its class",
            )
    counts = ", ".join(f"{name} {len(rows)}" for name, rows in life.instances.items())
    _line(console, f"instances: {counts or 'none'}")
    for number, pseudo_id in life.origins.items():
        by = life.corrected_by.get(number)
        origin = f"corrected by {by}" if by else f"pseudo label {pseudo_id}" if pseudo_id else "found by the network"
        _line(console, f"exported label {number}: {origin}")
    for problem in life.missing:
        _line(console, f"not shown: {problem}")


def print_findings(console: Console, version: Version, findings: "list[Finding]") -> None:
    """Print what is wrong with a version, or that nothing is wrong."""
    for finding in findings:
        _line(console, str(finding))
    if not findings:
        _line(console, f"version {version} of {version.stage}: nothing is wrong")
    else:
        _line(console, f"version {version} of {version.stage}: {len(findings)} findings")


def _print_causes(console: Console, difference: "Difference") -> None:
    for name, lines in (("why", difference.reasons), ("no effect", difference.without_effect)):
        if lines:
            _line(console, f"{name:<{INDENT}}" + ("\n" + " " * INDENT).join(_first(lines)))
    console.print()


def _print_classes(console: Console, difference: "Difference") -> None:
    table = _table("class", "before", "after", *map(_words, Change))
    rows = {**difference.by_class, "all": difference.total}
    for name, counts in rows.items():
        cells = [str(number) if number else "." for number in (*sizes(counts), *(counts[change] for change in Change))]
        table.add_row(Text(name), *cells, style="bold" if name == "all" else None)
    console.print(table)


def _print_largest(console: Console, difference: "Difference") -> None:
    if not difference.largest:
        return
    console.print()
    table = _table("largest change", "changed px", "labels", "inputs")
    for image in difference.largest:
        inputs = difference.inputs.of_image(image.image_id) if difference.inputs else []
        counts = ", ".join(f"{count} {_words(change)}" for change, count in image.counts.items() if count)
        table.add_row(Text(image.image_id), f"{100 * image.changed:.1f} %", counts, Text("; ".join(inputs)))
    console.print(table)


def _table(*columns: str) -> Table:
    """Return a table whose last column wraps if the terminal is narrow."""
    table = Table(box=None)
    for name in columns:
        justify: Literal["right", "left"] = "right" if name in NUMERIC else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name != columns[-1])
    return table


def _words(change: Change) -> str:
    return change.replace("_", " ")


def _changes(entry: "LogEntry") -> list[str]:
    if entry.before is None:
        return ["first version"]
    causes = _first([str(cause) for cause in entry.causes if cause.effective])
    return causes + (entry.inputs.sentences() if entry.inputs else [])


def _first(lines: Sequence[str]) -> list[str]:
    """Return the first lines and the number of the others: a version with other code has dozens."""
    rest = len(lines) - MAX_CAUSES
    return [*lines[:MAX_CAUSES], *([f"and {rest} more (--json lists all)"] if rest > 0 else [])]


def _where(version: Version) -> str:
    commit = version.commit
    if commit is None:
        return f"{WORKSPACE}, not committed"
    names = ", ".join(([f"experiment {commit.experiment}"] if commit.experiment else []) + list(commit.names))
    subject = "" if commit.experiment else f': "{commit.subject}"'
    date = commit.date[:16].replace("T", " ")
    return f"{commit.sha[:7]}{f' ({names})' if names else ''}, {date}, {commit.author}{subject}"


def _labels(entry: "LogEntry") -> str:
    counts = entry.counts
    if counts is None:
        return ""
    classes = ", ".join(f"{name} {number}" for name, number in counts.by_class.items() if number)
    corrected = "".join(f"; {number} corrected by {person}" for person, number in counts.corrected.items())
    return f"{counts.instances} in {counts.labeled_images} of {counts.images} images: {classes}{corrected}"


def _truth(entry: "LogEntry") -> str:
    counts = entry.counts
    if counts is None or counts.true_positives is None:
        return ""
    return (
        f"{counts.true_positives} right, precision {_share(counts.precision)}, recall {_share(counts.recall)} "
        f"({counts.true_images} images with a truth)"
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _line(console: Console, text: str, style: str | None = None) -> None:
    """Print a text literally: brackets are not markup, and the terminal itself wraps a line that is too long."""
    console.print(Text(text, style=style or ""), soft_wrap=True)

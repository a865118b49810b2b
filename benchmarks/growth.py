"""How time, memory and files grow with the number of images: lines through some sizes, tables, and wanted bounds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.measured import Usage

#: The most by which the memory of a stage may grow from the smallest to the largest size.
FLAT = 0.1
#: The most by which the processor time at the largest size may exceed the line through the two smallest sizes.
LINEAR = 0.2
FILES_PER_IMAGE = 0.01
#: The no-op `dvc repro` of so many times the smallest number of images may take so many times as long.
MORE_IMAGES, LONGER = 16, 2.0
#: Commands that a user waits for may take so many seconds with so many images.
READ_S, READ_IMAGES = 60.0, 16_000
READ_STEPS = ("audit diff", "report")
NO_OP = "dvc repro, no-op"
COLUMNS = (
    "step",
    "ms an image",
    "fixed, s",
    "processor, ms an image",
    "memory, MiB",
    "its growth",
    "memory, KiB an image",
    "files per 100 images",
    "written, KiB an image",
)


@dataclass(frozen=True)
class Size:
    """What every step took with one number of images.

    Attributes:
        images: number of training images.
        side_px: their height and width.
        commit: the commit that was measured, as `git describe` says it.
        date: the day, as YYYY-MM-DD.
        machine: the processor's architecture, the number of cores, and what else is to be known.
        steps: what each step took, by its name, in order.
    """

    images: int
    side_px: int
    commit: str
    date: str
    machine: str
    steps: dict[str, Usage]


@dataclass(frozen=True)
class Line:
    """A line over the number of images: `fixed` + `slope` x images."""

    slope: float
    fixed: float

    def at(self, images: float) -> float:
        """Return the value for a number of images."""
        return self.fixed + self.slope * images

    def not_falling(self) -> "Line":
        """Return this line, or one without slope: times that fall are noise, and say nothing about larger sizes."""
        return self if self.slope >= 0 else Line(0.0, self.fixed)


@dataclass(frozen=True)
class Verdict:
    """A wanted bound, what was measured, and whether it is met."""

    wanted: str
    measured: str
    met: bool


def fit_line(images: Sequence[int], values: Sequence[float]) -> Line:
    """Return the line with the least squares of errors. Raises ValueError unless there are two numbers of images."""
    if len(set(images)) < 2:
        raise ValueError("a line needs two numbers of images")
    slope, fixed = np.polyfit(np.asarray(images, float), np.asarray(values, float), 1)
    return Line(float(slope), float(fixed))


def line_of(sizes: Sequence[Size], step: str, value: Callable[[Usage], float]) -> Line:
    """Return the line of one value of a step."""
    return fit_line([size.images for size in sizes], [value(size.steps[step]) for size in sizes])


def excess(images: Sequence[int], values: Sequence[float]) -> float:
    """Return by which part the last value exceeds the line through the first two; negative if it is below.

    With two sizes it is the line from 0 through the first one, which a fixed part makes easy to stay below.

    Args:
        images: ascending.
        values: one for each number of images, above 0.
    """
    first = (0, 0.0) if len(images) == 2 else (images[1], values[1])
    line = fit_line([first[0], images[0]], [first[1], values[0]])
    expected = max(line.at(images[-1]), values[0])
    return values[-1] / expected - 1


def table(sizes: Sequence[Size], steps: Sequence[str]) -> str:
    """Return the growth of each step as a table in Markdown; memory is that of the smallest and the largest size."""
    rows = [f"| {' | '.join(COLUMNS)} |", "|" + " --- |" * len(COLUMNS)]
    for step in steps:
        wall, processor, memory, files, written = (
            line_of(sizes, step, value)
            for value in (
                lambda usage: usage.seconds,
                lambda usage: usage.processor_seconds,
                lambda usage: usage.memory_mb,
                lambda usage: usage.files,
                lambda usage: usage.output_mb,
            )
        )
        least, most = (size.steps[step].memory_mb for size in (sizes[0], sizes[-1]))
        cells = (
            step,
            f"{1000 * wall.slope:.2f}",
            f"{wall.fixed:.1f}",
            f"{1000 * processor.slope:.2f}",
            f"{least:.0f}, {most:.0f}",
            f"{memory_growth(sizes, step):+.0%}",
            f"{1024 * memory.slope:.1f}",
            f"{100 * files.slope:.2f}",
            f"{1024 * written.slope:.2f}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def memory_growth(sizes: Sequence[Size], step: str) -> float:
    """Return by which part the memory of a step grows from the smallest to the largest size."""
    return sizes[-1].steps[step].memory_mb / sizes[0].steps[step].memory_mb - 1


def verdicts(sizes: Sequence[Size], stages: Sequence[str], total: str) -> list[Verdict]:
    """Return the wanted bounds and what was measured.

    Args:
        sizes: by ascending number of images, at least two.
        stages: the names of the stages.
        total: the name of the step that counts the files of all stages together.
    """
    first, last = sizes[0].images, sizes[-1].images
    images = [size.images for size in sizes]
    grown = {stage: memory_growth(sizes, stage) for stage in stages}
    bent = {
        step: excess(images, [size.steps[step].processor_seconds for size in sizes])
        for step in sizes[0].steps
        if step != total
    }
    files = line_of(sizes, total, lambda usage: usage.files).slope
    no_op = line_of(sizes, NO_OP, lambda usage: usage.seconds).not_falling()
    longer = no_op.at(MORE_IMAGES * first) / no_op.at(first)
    return [
        _all_below(
            f"memory of each stage: at most {FLAT:.0%} more with {last:,} than with {first:,} images", grown, FLAT
        ),
        _all_below(f"processor time of each step: at most {LINEAR:.0%} above {_line_name(images)}", bent, LINEAR),
        Verdict(
            f"files of all stages: at most {100 * FILES_PER_IMAGE:g} more for 100 images",
            f"{100 * files:.2f}",
            files <= FILES_PER_IMAGE,
        ),
        Verdict(
            f"no-op `dvc repro`: at most {LONGER:g} times as long with {MORE_IMAGES} times the images",
            f"{longer:.2f} times from {first:,} to {MORE_IMAGES * first:,} images, by the line",
            longer <= LONGER,
        ),
        *(_read_verdict(sizes, step) for step in READ_STEPS),
    ]


def _line_name(images: Sequence[int]) -> str:
    if len(images) == 2:
        return f"the line from 0 through {images[0]:,} images"
    return f"the line through {images[0]:,} and {images[1]:,} images"


def _all_below(wanted: str, parts: dict[str, float], bound: float) -> Verdict:
    """Return the verdict on parts of which none may exceed a bound; those that do are named."""
    worst = max(parts, key=lambda name: parts[name])
    above = {name: part for name, part in parts.items() if part > bound} or {worst: parts[worst]}
    listed = ", ".join(f"{name} {part:+.0%}" for name, part in sorted(above.items(), key=lambda item: -item[1]))
    return Verdict(wanted, listed, parts[worst] <= bound)


def _read_verdict(sizes: Sequence[Size], step: str) -> Verdict:
    seconds = line_of(sizes, step, lambda usage: usage.seconds).not_falling().at(READ_IMAGES)
    wanted = f"`bestie {step}`: under {READ_S:g} s with {READ_IMAGES:,} images"
    return Verdict(wanted, f"{seconds:.1f} s, by the line", seconds < READ_S)


def verdict_table(found: Sequence[Verdict]) -> str:
    """Return the bounds as a table in Markdown."""
    rows = [f"| {each.wanted} | {each.measured} | {'yes' if each.met else 'no'} |" for each in found]
    return "\n".join(["| wanted | measured | met |", "| --- | --- | --- |", *rows])

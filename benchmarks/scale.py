"""How time, memory, files and bytes grow with the number of images: `python -m benchmarks.scale --images 1000 4000`.

For each number of training images, this draws images with as many pixels as those of PASCAL VOC, in its layout, takes
models that were trained once on a few of them, and measures in a temporary project every stage that makes something of
each image, and then DVC, the audit and the report. Each command runs in a process of its own. What each size took is
kept in `--out` as soon as it is done, and read from there the next time; remove its file to measure it anew. So a
large size can be measured apart, and named together with smaller ones later. From two sizes on, a table says what each
step takes for an image, and a second one which of the wanted bounds are met. What grows with the number of images and
not with their pixels, such as memory and files, shows sooner on small images: `--side 128`.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path

from benchmarks.growth import Size, table, verdict_table, verdicts
from benchmarks.growth_chart import draw_growth
from benchmarks.measured import ROLLUP, CommandError, Usage
from benchmarks.scale_project import (
    DRAWING,
    MAP_STAGES,
    SIDE_PX,
    TRAIN_PER_VAL,
    TRAINED_ON,
    ScaleProject,
    total_of_stages,
)
from bestie.artifacts.atomic import atomic_output
from bestie.runtime.signals import StoppedError, stoppable
from tests.workspace import ROOT

TOTAL = "all stages"
#: Fewer would leave too few validation images for the contact sheet.
LEAST_IMAGES = 4 * TRAIN_PER_VAL
#: The models see images at half their size.
LEAST_SIDE_PX = 96


def main() -> None:
    """Measure what is not measured yet, and print how it grows."""
    options = read_options()
    try:
        with stoppable():
            measure_missing(options.images, options.side, options.out, options.keep)
    except CommandError as error:
        raise SystemExit(f"benchmarks.scale: {error}") from None
    except StoppedError as stop:
        raise SystemExit(128 + stop.number) from None
    paths = [size_path(options.out, images, options.side) for images in options.images]
    sizes = [read_size(path) for path in paths]
    if len(sizes) < 2:
        print(f"{paths[0]} is written; a table needs two numbers of --images")
        return
    text = describe(sizes)
    print(f"\n{text}")
    commands = [step for step in sizes[0].steps if step not in (*MAP_STAGES, TOTAL, DRAWING)]
    (options.out / "growth.md").write_text(f"{text}\n", encoding="utf-8")
    picture = draw_growth(sizes, {"stages": MAP_STAGES, "commands": commands})
    (options.out / "growth.svg").write_text(picture, encoding="utf-8")
    print(f"\nThe tables, a picture and all numbers are in {options.out}")


def read_options() -> argparse.Namespace:
    """Return the options `images` (ascending, each once), `out` and `keep`; end with a message if one is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=int, nargs="+", default=[1000, 4000], metavar="N", help="numbers of training images"
    )
    parser.add_argument("--side", type=int, default=SIDE_PX, metavar="PX", help="height and width of the images")
    parser.add_argument("--out", type=Path, default=Path(".bestie", "scale"), help="folder of what was measured")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the projects in this new folder, and keep it")
    options = parser.parse_args()
    options.images = sorted(set(options.images))
    if options.images[0] < LEAST_IMAGES:
        parser.error(f"--images {options.images[0]}: each number must be at least {LEAST_IMAGES}")
    if options.side < LEAST_SIDE_PX:
        parser.error(f"--side {options.side}: it must be at least {LEAST_SIDE_PX}")
    if options.keep is not None and options.keep.exists():
        parser.error(f"--keep {options.keep}: this exists already; name a folder that does not")
    if not ROLLUP.is_file():
        parser.error("memory is read from /proc, which only Linux has")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {options.out}: {error.strerror}")
    return options


def measure_missing(counts: list[int], side_px: int, out: Path, keep: Path | None) -> None:
    """Measure each number of images that has no file in `out` yet, and write its file.

    Raises:
        CommandError: a command failed.
    """
    missing = [images for images in counts if not size_path(out, images, side_px).is_file()]
    if not missing:
        return
    if os.getloadavg()[0] > 0.5:
        print("the machine is busy: wall times are upper limits, and processor time is the better number")
    with place_for(keep) as place:
        print(f"models, trained on {TRAINED_ON} images", flush=True)
        trained = ScaleProject(place / "trained", TRAINED_ON, side_px, tell)
        trained.draw()
        trained.train()
        for images in missing:
            print(f"{images:,} images", flush=True)
            write_size(size_path(out, images, side_px), measure(place / str(images), images, trained))
            if keep is None:
                shutil.rmtree(place / str(images))


def measure(place: Path, images: int, trained: ScaleProject) -> Size:
    """Return what every step takes with a number of images."""
    project = ScaleProject(place, images, trained.side_px, tell)
    project.draw()
    project.take_models(trained)
    project.run_map_stages()
    project.store()
    project.read()
    return Size(
        images=images,
        side_px=trained.side_px,
        commit=describe_commit(),
        date=date.today().isoformat(),
        machine=describe_machine(),
        steps={**project.steps, TOTAL: total_of_stages(project.steps)},
    )


@contextmanager
def place_for(keep: Path | None) -> Iterator[Path]:
    """Yield the folder for all projects: a temporary one, or one that is kept."""
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="bestie-scale-") as folder:
        yield Path(folder)


def tell(name: str, usage: Usage) -> None:
    """Print what a step took."""
    times = f"{usage.seconds:8.1f} s  (processor {usage.processor_seconds:7.1f} s)"
    wrote = f"  {usage.files:>6,} files, {usage.output_mb:,.1f} MiB" if usage.files else ""
    print(f"  {name:<18} {times}  {usage.memory_mb:6,.0f} MiB{wrote}", flush=True)


def describe_commit() -> str:
    """Return the commit of the project; "-dirty" follows if a tracked file has changed."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def describe_machine() -> str:
    """Return the processor's architecture, the number of cores, and the settings that decide on threads."""
    settings = [f"{name}={os.environ[name]}" for name in ("OMP_NUM_THREADS", "BESTIE_WORKERS") if name in os.environ]
    cores = len(os.sched_getaffinity(0))
    return ", ".join([platform.machine(), f"{cores} core{'s' * (cores > 1)}", *settings])


def describe(sizes: list[Size]) -> str:
    """Return what was measured and when, the growth of all steps, and the wanted bounds, in Markdown."""
    measured = [
        f"- {size.images:,} images of {size.side_px} px: {size.date}, commit {size.commit}, {size.machine}"
        for size in sizes
    ]
    steps = [*MAP_STAGES, TOTAL, *(step for step in sizes[0].steps if step not in (*MAP_STAGES, TOTAL))]
    bounds = verdict_table(verdicts(sizes, MAP_STAGES, TOTAL))
    return "\n\n".join(["\n".join(measured), table(sizes, steps), bounds])


def size_path(out: Path, images: int, side_px: int) -> Path:
    """Return the file with what a number of images took."""
    return out / f"{images}-{side_px}px.json"


def write_size(path: Path, size: Size) -> None:
    """Write what a number of images took."""
    with atomic_output(path) as partial:
        partial.write_text(json.dumps(asdict(size), indent=2), encoding="utf-8")


def read_size(path: Path) -> Size:
    """Return what a number of images took; end with a message if the file is damaged or of another version."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Size(**{**values, "steps": {name: Usage(**usage) for name, usage in values["steps"].items()}})
    except (ValueError, TypeError, KeyError) as error:
        raise SystemExit(f"{path} cannot be read ({error}); remove it to measure this size anew") from None


if __name__ == "__main__":
    main()

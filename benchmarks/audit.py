"""Time and memory of `bestie audit log` and `diff`: `python -m benchmarks.audit --images 1000 10000`.

For each number of images, this draws two versions of pseudo labels in a temporary project and runs the commands there
as a user does, including the start of the interpreter. Wanted for 1,000 images: log under 3 s, diff under 5 s, and
memory that does not grow with the number of images.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bestie.artifacts.image_index import write_images
from bestie.artifacts.instances import instance_rows
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, write_categories
from bestie.audit.sources import CATEGORIES, GROUND_TRUTH, IMAGES, instances_of
from bestie.records import Category, ImageRecord
from tests.stored_run import git, record_stages

HEIGHT, WIDTH, CLASSES, OBJECTS = 375, 500, 20, 3
#: The number of images that are drawn; even, since every other image changes.
DRAWN = 100
LABELS = instances_of("make_pseudo_labels")
COMMANDS = (
    ("audit log, counted", ("log",)),
    ("audit log, counts remembered", ("log",)),
    ("audit diff of two versions", ("diff", "HEAD~1", "HEAD")),
)


def main() -> None:
    """Measure for each number of `--images`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000])
    counts = parser.parse_args().images
    print(f"{HEIGHT} x {WIDTH} px, {OBJECTS} labels an image, half of the images change")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            make_project(Path(folder), count)
            for name, arguments in COMMANDS:
                seconds, cpu_seconds, peak_mb = run(Path(folder), *arguments)
                print(
                    f"{count:>7} images  {name:<30} {seconds:6.2f} s  (CPU {cpu_seconds:5.2f} s)  {peak_mb:5.0f} MB",
                    flush=True,
                )


def run(folder: Path, *arguments: str) -> tuple[float, float, float]:
    """Return wall time and processor time in seconds, and peak resident memory in MB, of one command."""
    command = [str(Path(sys.executable).with_name("bestie")), "audit", *arguments]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def make_project(folder: Path, images: int) -> None:
    """Make a repository with two commits; in the second, every other image has one label moved and one removed."""
    records = [
        ImageRecord(row, f"image_{row:06d}", "train", f"{row:06d}.jpg", HEIGHT, WIDTH, f"{row:064x}", (1, 2))
        for row in range(images)
    ]
    write_images(folder / IMAGES, records)
    write_categories(folder / CATEGORIES, [Category(k, f"class {k}", k) for k in range(1, CLASSES + 1)])
    write_labels(folder / GROUND_TRUTH, records, shift_px=2)
    git(folder, "init", "--quiet")
    for min_area_px, shift_px in ((50, 0), (80, 6)):
        write_labels(folder / LABELS, records, shift_px=shift_px)
        record_stages(folder, stages(min_area_px))
        git(folder, "add", "dvc.lock")
        git(folder, "commit", "--quiet", "--message", f"min_area_px = {min_area_px}")


def write_labels(path: Path, records: list[ImageRecord], *, shift_px: int) -> None:
    """Write ellipses as labels; with a shift, every other image has its first one moved and its last one removed.

    Only `DRAWN` images are drawn; they are repeated under other names.
    """
    rng = np.random.default_rng(0)
    drawn = []
    for record in records[:DRAWN]:
        changed = shift_px if record.row % 2 else 0
        masks = list(draw_ellipses(rng, changed))[: OBJECTS - (changed > 0)]
        drawn.append(instance_rows(record, masks, rng.integers(1, CLASSES + 1, OBJECTS)[: len(masks)]))
    with TableWriter(path, INSTANCES) as table:
        for record in records:
            rows = drawn[record.row % len(drawn)]
            table.append_rows({**row, "image_id": record.image_id, "row": record.row} for row in rows)


def draw_ellipses(rng: np.random.Generator, shift_px: int) -> Iterator[np.ndarray]:
    """Yield masks of ellipses with axes of 30 to 180 px; the first is moved to the right by `shift_px`."""
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    for number in range(OBJECTS):
        radius_y, radius_x = rng.uniform(15, 90, 2)
        center_y, center_x = rng.uniform(90, HEIGHT - 90), rng.uniform(90, WIDTH - 90)
        center_x += shift_px if number == 0 else 0
        yield ((y - center_y) / radius_y) ** 2 + ((x - center_x) / radius_x) ** 2 < 1


def stages(min_area_px: int) -> dict[str, dict]:
    """Return the inputs, outputs and parameters of the two stages."""
    index = [IMAGES, CATEGORIES]
    params = {"params.yaml": {"make_pseudo_labels": {"min_area_px": min_area_px}}}
    return {
        "prepare": {"outs": [*index, GROUND_TRUTH]},
        "make_pseudo_labels": {"params": params, "deps": index, "outs": [LABELS]},
    }


if __name__ == "__main__":
    main()

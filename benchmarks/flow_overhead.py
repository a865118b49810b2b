"""The overhead of the flow over plain `dvc repro`: `python -m benchmarks.flow_overhead [STAGE ...]`.

This runs the smoke profile both ways in clones of the last commit: all stages, or STAGE with all stages before it. It
prints wall time and processor time, their ratio, and the difference per stage. Other work on the machine stretches
wall time but not processor time. A first run of `prepare`, which does not count, creates Prefect's database.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from flows.graph import load_graph, select

ROOT = Path(__file__).resolve().parents[1]
WAYS = {"dvc repro": ["-m", "dvc", "repro"], "flow": ["-m", "flows.pipeline"]}


class Seconds(NamedTuple):
    """The time that a command took, over all its processes, in seconds."""

    wall: float
    processor: float


def measure(command: list[str], clone: Path, environment: dict[str, str]) -> Seconds:
    """Return the time of a Python command in a clone."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, *command], cwd=clone, env=environment, capture_output=True, check=True)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Seconds(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure_way(way: str, folder: Path, targets: list[str]) -> Seconds:
    """Return the time of the targets (or of all stages), run by one of `WAYS` in a new clone."""
    clone = folder / way.replace(" ", "_")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(folder / "prefect"),
        "PYTHONPATH": str(clone),
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
    }
    measure(["-c", "from bestie.cli.app import main; main()", "profile", "smoke"], clone, environment)
    measure([*WAYS[way], "prepare"], clone, environment)
    return measure([*WAYS[way], "--force", *targets], clone, environment)


def main() -> None:
    """Measure both ways, and print the difference."""
    targets = sys.argv[1:]
    stages = len(select(load_graph(ROOT), targets))
    with tempfile.TemporaryDirectory() as folder:
        plain, flow = (measure_way(way, Path(folder), targets) for way in WAYS)
    print(f"{'':10} {'dvc repro':>10} {'flow':>8} {'ratio':>6} {'s a stage':>10}")
    for name, one, other in zip(Seconds._fields, plain, flow, strict=True):
        print(f"{name:10} {one:10.1f} {other:8.1f} {other / one:6.2f} {(other - one) / stages:10.2f}", flush=True)


if __name__ == "__main__":
    main()

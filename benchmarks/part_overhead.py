"""What a part of a stage takes beside its work: `python -m benchmarks.part_overhead [STAGE] [--parts N]`.

A Prefect server, one worker and a folder as DVC remote, all on this machine, and a stage of tiny images in parts, which
the worker computes one by one. It prints where the time of a part goes, as medians over the parts without the first,
which pulls the inputs: on an idle machine that is the overhead of a part, whatever it computes.
"""

import argparse
import re
import tempfile
from contextlib import chdir
from pathlib import Path
from statistics import median
from typing import NamedTuple

from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.lock_entries import read_lock_entries
from tests import workspace as ws
from tests.clones import Clone, make_clone
from tests.flows.cluster import Cluster, commit_without
from tests.flows.prefect_server import Server

#: Images of a part, the least that one has.
IMAGES = 64


class Part(NamedTuple):
    """Where the time of a part went, in seconds."""

    started: float
    inputs: float
    computation: float
    of_it_work: float
    hand_over: float
    whole: float


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.part_overhead")
    parser.add_argument(
        "stage", nargs="?", default="make_pseudo_labels", choices=["make_pseudo_labels", "extract_cues"]
    )
    parser.add_argument("--parts", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = measure(Path(folder), options.stage, options.parts)
    print(f"{options.stage}, seconds of {len(parts)} parts of {IMAGES} images")
    for number, part in enumerate(parts, 1):
        print(f"{number:6}", " ".join(f"{name} {value:.1f}" for name, value in part._asdict().items()))
    middle = Part(*(median(values) for values in zip(*parts[1:], strict=True)))
    overhead = median(part.whole - part.of_it_work for part in parts[1:])
    print("median", " ".join(f"{name} {value:.1f}" for name, value in middle._asdict().items()))
    print(f"overhead {overhead:.1f} s: of a part that works for a minute, {60 / (60 + overhead):.0%} is work")


def measure(folder: Path, stage: str, count: int) -> list[Part]:
    """Return what each part took, in the order in which they ran."""
    recorded = record_before(folder / "recorded", stage, count)
    home = folder / "prefect"
    home.mkdir()
    server = Server(home)
    with temporary_settings({PREFECT_API_URL: server.url, PREFECT_HOME: home}):
        server.start()
        cluster = Cluster(folder, recorded, server)
        try:
            recorded.dvc("remote", "add", "--quiet", "--local", "--default", "storage", str(cluster.remote))
            recorded.dvc("push", "--quiet", *read_lock_entries(recorded.folder / "dvc.lock"))
            clone = cluster.clone("clone")
            cluster.deploy(clone)
            for pool in ("cpu", "gpu"):
                cluster.worker(clone, pool)
            run = run_deployment(
                "pipeline/pipeline", parameters={"spread": {stage: count}, "targets": [stage]}, timeout=0
            )
            assert isinstance(run, FlowRun)
            ended = cluster.wait(run)
            assert ended.state is not None
            assert ended.state.is_completed(), ended.state.message
            return read_parts(cluster, run)
        finally:
            cluster.end()
            server.stop()


def record_before(folder: Path, stage: str, count: int) -> Clone:
    """Return a clone in which everything before a stage has run, on so many parts of images."""
    clone = make_clone(folder)
    with chdir(clone.folder):
        ws.set_params(f"prepare.shapes.num_train={IMAGES * count}", "train_pam.epochs=1", "train_pam.plain_epochs=0")
    clone.environment["OMP_NUM_THREADS"] = "1"
    clone.dvc("repro", stage)
    commit_without(clone, [stage])
    return clone


def read_parts(cluster: Cluster, parent: FlowRun) -> list[Part]:
    """Return what each part of a run of the pipeline took, in the order in which they ran."""
    runs = [run for run in cluster.runs_of(parent) if run.name.startswith("part ")]
    return [read_part(cluster, run) for run in sorted(runs, key=start_of)]


def start_of(run: FlowRun) -> float:
    """Return when a run began."""
    assert run.start_time is not None
    return run.start_time.timestamp()


def read_part(cluster: Cluster, run: FlowRun) -> Part:
    """Return what a part took: its log has the steps, and its progress the number of images a second."""
    took = re.search(r"inputs ([\d.]+) s, computation ([\d.]+) s, hand-over ([\d.]+) s", cluster.log(run))
    assert took
    inputs, computation, hand_over = map(float, took.groups())
    progress = re.search(
        r": (\d+) of \1, ([\d.e+]+) a second", cluster.server.artifacts(run.id)["progress"]["description"]
    )
    assert progress
    with cluster.server.client() as client:
        times = {state.name: state.timestamp.timestamp() for state in client.read_flow_run_states(run.id)}
    return Part(
        started=times["Running"] - times["Pending"],
        inputs=inputs,
        computation=computation,
        of_it_work=float(progress[1]) / float(progress[2]),
        hand_over=hand_over,
        whole=times["Completed"] - times["Pending"],
    )


if __name__ == "__main__":
    main()

"""Two clones, one DVC remote, and workers as processes: what a cluster is made of, on one machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from flows.lock_entries import format_lock_entries, read_lock_entries
from flows.slots import limit_name
from tests.clones import Clone
from tests.flows.prefect_server import Server, eventually

#: Everything here is several processes that each import Prefect and DVC; other work may share the processor.
SLOW_S = 900


def commit_without(clone: Clone, stages: Collection[str]) -> None:
    """Commit a clone as if some of its stages had never run: `dvc.lock` does not know them."""
    lock = clone.folder / "dvc.lock"
    entries = {name: entry for name, entry in read_lock_entries(lock).items() if name not in stages}
    lock.write_text(format_lock_entries(entries), encoding="utf-8")
    clone.commit(f"everything but {', '.join(stages)}")


class Cluster:
    """A git origin and a DVC remote that hold the recorded run, and clones of them."""

    def __init__(self, folder: Path, recorded: Clone, server: Server) -> None:
        self.folder, self.server = folder, server
        self.origin, self.remote = folder / "origin.git", folder / "remote"
        recorded.run("git", "clone", "--quiet", "--bare", ".", str(self.origin))
        self.commit = recorded.run("git", "rev-parse", "HEAD").strip()
        self._workers: list[Worker] = []

    def clone(self, name: str) -> Clone:
        """A new clone whose default remote is the cluster's."""
        made = Clone(self.folder / name)
        subprocess.run(["git", "clone", "--quiet", str(self.origin), str(made.folder)], check=True)
        made.dvc("remote", "add", "--quiet", "--local", "--default", "storage", str(self.remote))
        return made

    def deploy(self, clone: Clone) -> None:
        """Put pools, deployments and the automation on the server."""
        subprocess.run(
            [sys.executable, "-m", "flows.deploy"],
            cwd=clone.folder,
            env=clone.environment | self.server.environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def worker(self, clone: Clone, pool: str, **settings: str) -> "Worker":
        """Start a worker of a pool in a clone, with further variables of its environment; it ends with the cluster."""
        worker = Worker(self.server, clone, pool, settings)
        self._workers.append(worker)
        return worker

    def start_stage(self, name: str, *, pool: str, clone: Clone) -> FlowRun:
        """Ask for a forced run of one stage, with the parameters and the lock of the recorded run."""
        parameters = {
            "name": name,
            "revision": self.commit,
            "params": clone.run("git", "show", f"{self.commit}:params.yaml"),
            "lock": clone.run("git", "show", f"{self.commit}:dvc.lock"),
            "force": True,
        }
        run = run_deployment(f"stage/stage-{pool}", parameters=parameters, timeout=0)
        assert isinstance(run, FlowRun)
        return run

    def runs_of(self, parent: FlowRun) -> list[FlowRun]:
        """All runs that a run of the pipeline has started: stages, and parts of them."""
        by_parent = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent.id]))
        found: list[FlowRun] = []
        with self.server.client() as client:
            while page := client.read_flow_runs(flow_run_filter=by_parent, offset=len(found)):
                found += page
        return found

    def states_of_runs(self, parent: FlowRun) -> list[tuple[str, str]]:
        """What the pipeline has started: (what, state), as ("part 1 of 2 of extract_cues", "Completed")."""
        return [(run.name.rpartition(" of ")[0], run.state_name or "") for run in self.runs_of(parent)]

    def log(self, run: FlowRun) -> str:
        """What a flow run has logged, as the UI shows it."""
        with self.server.client() as client:
            by_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
            return "\n".join(line.message for line in client.read_logs(by_run))

    def state_name(self, run: FlowRun) -> str:
        return self.server.flow_run(run.id).state_name or ""

    def gpu_is_free(self) -> bool:
        """Whether no run holds a GPU slot of this host."""
        with self.server.client() as client:
            return client.read_global_concurrency_limit_by_name(limit_name()).active_slots == 0

    def wait(self, run: FlowRun, *, within_s: float = SLOW_S) -> FlowRun:
        """The run when it has ended."""

        def ended() -> FlowRun | None:
            seen = self.server.flow_run(run.id)
            return seen if seen.state is not None and seen.state.is_final() else None

        found = eventually(ended, within_s=within_s)
        assert found is not None
        return found

    def end(self) -> None:
        """Kill the workers and all that they have started."""
        while self._workers:
            self._workers.pop().end()


class Worker:
    """`python -m flows.worker POOL` as a process."""

    def __init__(self, server: Server, clone: Clone, pool: str, settings: Mapping[str, str]) -> None:
        self.clone, self.pool = clone, pool
        environment = clone.environment | server.environment
        environment |= {
            "BESTIE_CHECKPOINT_MINUTES": "0",
            "OMP_NUM_THREADS": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        self.log = clone.folder.parent / f"worker-{clone.folder.name}-{pool}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.worker", pool],
                cwd=clone.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._started, within_s=SLOW_S)

    def _started(self) -> bool:
        text = self.log.read_text(encoding="utf-8")
        assert self.process.poll() is None, text
        return "started!" in text

    def engines(self) -> list[psutil.Process]:
        """The flow runs of this worker."""
        return [child for child in psutil.Process(self.process.pid).children() if is_engine(child)]

    def kill(self) -> None:
        """kill -9 of the worker alone."""
        self.process.kill()
        self.process.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the worker and whatever works in its clone, as a host that sleeps; let all go on after the block."""
        stopped = [psutil.Process(self.process.pid), *at_work_in(self.clone)]
        for process in stopped:
            process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def end(self) -> None:
        """End the worker, if it still runs, and whatever works in its clone."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for process in at_work_in(self.clone):
            process.kill()


def is_engine(process: psutil.Process) -> bool:
    return "prefect.engine" in command(process) or "_workspace_supervisor" in command(process)


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def at_work_in(clone: Clone) -> list[psutil.Process]:
    """Every process whose working directory is a clone, workers aside: flow runs, DVC, stages."""
    found = []
    for process in psutil.process_iter():
        try:
            here = Path(process.cwd()) == clone.folder and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if here and "worker start" not in command(process) and process.pid != os.getpid():
            found.append(process)
    return found


def stage_process(clone: Clone, name: str) -> psutil.Process | None:
    """The process of a stage in a clone."""
    return next((p for p in at_work_in(clone) if command(p).endswith(f"-m stages.{name}")), None)

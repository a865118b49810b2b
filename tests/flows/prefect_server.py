"""A real Prefect server for tests: on a free port, with a home of its own, ended with all that it started."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar
from urllib.error import URLError
from urllib.request import urlopen
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests import workspace as ws

T = TypeVar("T")
START_S = 180
#: Name and password of a server that asks for them.
PASSWORD = "bestie:not-a-secret"


def eventually(look: Callable[[], T], *, within_s: float = 60, every_s: float = 0.5) -> T:
    """What `look` returns as soon as that is true; fails after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {within_s} s"
        time.sleep(every_s)
    return seen


class Server:
    """`prefect server start` as a process. `environment` is what its clients need; further settings are added to it."""

    def __init__(self, home: Path, **settings: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.ui = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            "DO_NOT_TRACK": "1",
            **settings,
        }
        self._log = home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until the server answers."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ws.ROOT,  # as `make serve`: prefect.toml is there
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._answers, within_s=START_S)

    def stop(self) -> None:
        """End the server and all its processes."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def client(self) -> SyncPrefectClient:
        """A client of this server, to be used as a context manager."""
        with temporary_settings({PREFECT_API_URL: self.url}):
            return get_client(sync_client=True)

    def flow_run(self, run_id: UUID | str) -> FlowRun:
        with self.client() as client:
            return client.read_flow_run(UUID(str(run_id)))

    def task_runs(self, run_id: UUID | str, names: Collection[str]) -> dict[str, TaskRun]:
        """The task runs of an ended flow run by name, once each of `names` has its last state: it comes as an event."""
        by_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(str(run_id))]))

        def look() -> dict[str, TaskRun] | None:
            with self.client() as client:
                runs = {run.name: run for run in client.read_task_runs(flow_run_filter=by_run)}
            return runs if all(name in runs and _is_over(runs[name]) for name in names) else None

        found = eventually(look)
        assert found is not None
        return found

    def runs_with_tag(self, tag: str) -> list[FlowRun]:
        with self.client() as client:
            return client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[tag])))

    def artifacts(self, run_id: UUID | str) -> dict[str, dict]:
        """The artifacts with a key of a flow run, by key."""
        with self.client() as client:
            found = client.request(
                "POST", "/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [str(run_id)]}}}
            ).json()
        return {each["key"] or each["type"]: each for each in found}

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
        try:
            with urlopen(f"{self.url}/health", timeout=2) as answer:
                return answer.read() == b"true"
        except (URLError, OSError):
            return False


def _is_over(run: TaskRun) -> bool:
    """Whether a task run of an ended flow run has its last state: one whose parents failed stays NotReady."""
    return run.state is not None and (run.state.is_final() or run.state.name == "NotReady")

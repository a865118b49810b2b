"""GPU slots of a host: one stage a GPU, also across runs and workspaces."""

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prefect.concurrency.sync import concurrency

POLL_S = 1.0
#: Seconds after which the server gives the slot of a killed process to another.
LEASE_S = 60


@dataclass(frozen=True)
class Slot:
    """Where a stage may compute: what it sees of the devices, and the locks that it holds."""

    environment: dict[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()


def limit_name() -> str:
    """The Prefect concurrency limit of this host's GPUs."""
    return f"gpu-{socket.gethostname()}"


def gpus() -> list[str]:
    """The GPUs of this host as CUDA names them: those of CUDA_VISIBLE_DEVICES where that is set, else all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False)
    return listed.stdout.split() if listed.returncode == 0 else []


@contextmanager
def slot_for(pool: str, wait: Callable[[float], None], *, on_worker: bool) -> Iterator[Slot]:
    """Where a stage of a pool may compute: one GPU of this host for the pool `gpu`, anywhere else.

    Args:
        pool: `meta.pool` of the stage.
        wait: called with seconds to wait while all GPUs are taken; may raise to give up.
        on_worker: also hold a slot of the host's Prefect concurrency limit, which the UI shows.
    """
    if pool != "gpu":
        yield Slot()
        return
    if not on_worker:
        with _first_free(wait) as slot:
            yield slot
        return
    # The server may restart while a training runs: that must not end the training.
    with (
        concurrency(limit_name(), lease_duration=LEASE_S, strict=True, raise_on_lease_renewal_failure=False),
        _first_free(wait) as slot,
    ):
        yield slot


@contextmanager
def _first_free(wait: Callable[[float], None]) -> Iterator[Slot]:
    """Hold the first free GPU. A host without GPUs has one slot, its processor.

    CUDA_VISIBLE_DEVICES of the slot names the GPU where there are several.
    """
    names = gpus()
    folder = Path(tempfile.gettempdir()) / f"bestie-gpu-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        for name in names or ["none"]:
            descriptor = os.open(folder / f"{name.replace('/', '-')}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if _try_lock(descriptor):
                    yield Slot({"CUDA_VISIBLE_DEVICES": name} if len(names) > 1 else {}, (descriptor,))
                    return
            finally:
                os.close(descriptor)
        wait(POLL_S)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

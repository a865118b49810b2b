"""GPU slots of a host, for all runs and workspaces: a stage holds one GPU, or as many as BESTIE_SLOT_GPUS says."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency

from bestie.errors import InputError
from flows.locks import try_lock

POLL_S = 1.0
#: Seconds between two requests to the server for a free slot.
ASK_S = 5.0
#: Seconds after which the server gives the slot of a killed process to another one.
LEASE_S = 60


@dataclass(frozen=True)
class Slot:
    """Where a stage may compute: the variables that select its devices, and the descriptors of its locks."""

    environment: dict[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()


def limit_name() -> str:
    """Return the Prefect concurrency limit of this host's GPUs, or the one for several hosts of BESTIE_GPU_LIMIT."""
    return os.environ.get("BESTIE_GPU_LIMIT") or f"gpu-{socket.gethostname()}"


def gpus() -> list[str]:
    """Return the GPUs of this host as CUDA names them: those of CUDA_VISIBLE_DEVICES if it is set, otherwise all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False)
    return listed.stdout.split() if listed.returncode == 0 else []


def gpu_slots() -> list[list[str]]:
    """Return the GPUs of this host in groups that a stage holds together; empty if there are none.

    Raises:
        InputError: BESTIE_SLOT_GPUS is neither `all` nor a number of GPUs that this host has.
    """
    names, size = gpus(), os.environ.get("BESTIE_SLOT_GPUS", "1")
    if not names:
        return []
    each = len(names) if size == "all" else int(size) if size.isdecimal() else 0
    if not 1 <= each <= len(names):
        raise InputError(
            f"environment variable BESTIE_SLOT_GPUS={size!r}: this host has {len(names)} GPUs; "
            f"write `all` or a number from 1 to {len(names)}"
        )
    return [names[start : start + each] for start in range(0, len(names) - each + 1, each)]


@contextmanager
def slot_for(pool: str, wait: Callable[[float], None], *, on_worker: bool) -> Iterator[Slot]:
    """Hold a slot of this host's GPUs for a stage of the pool `gpu`; a stage of another pool needs none.

    Args:
        pool: `meta.pool` of the stage.
        wait: called with the seconds to wait while all slots are taken; may raise to give up.
        on_worker: also hold a slot of the host's Prefect concurrency limit, which the UI shows.

    Raises:
        InputError: see `gpu_slots`.
    """
    if pool != "gpu":
        yield Slot()
        return
    if not on_worker:
        with _first_free(wait) as slot:
            yield slot
        return
    with ExitStack() as held:
        while not _take_slot(held):
            wait(ASK_S)
        with _first_free(wait) as slot:
            yield slot


def _take_slot(held: ExitStack) -> bool:
    """Take a slot of the Prefect limit for as long as `held` is open; return False if all are taken.

    Prefect could wait for a slot by itself, but then a run that is cancelled, or whose worker is gone, would go on
    waiting.
    """
    # The server may restart while a training runs: that must not end the training.
    slot = concurrency(
        limit_name(), max_retries=0, lease_duration=LEASE_S, strict=True, raise_on_lease_renewal_failure=False
    )
    try:
        held.enter_context(slot)
    except ConcurrencySlotAcquisitionError as error:
        refused = error.__cause__
        if isinstance(refused, httpx.HTTPStatusError) and refused.response.status_code == httpx.codes.LOCKED:
            return False
        raise
    return True


@contextmanager
def _first_free(wait: Callable[[float], None]) -> Iterator[Slot]:
    """Hold the first free slot. A host without GPUs has one slot, its processor.

    If the host has several GPUs, CUDA_VISIBLE_DEVICES of the slot names those that belong to it.
    """
    several = len(gpus()) > 1
    folder = Path(tempfile.gettempdir()) / f"bestie-gpu-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        for names in gpu_slots() or [["none"]]:
            with ExitStack() as opened:
                descriptors = tuple(opened.enter_context(_lock_file(folder, name)) for name in names)
                if all(try_lock(descriptor) for descriptor in descriptors):
                    yield Slot({"CUDA_VISIBLE_DEVICES": ",".join(names)} if several else {}, descriptors)
                    return
        wait(POLL_S)


@contextmanager
def _lock_file(folder: Path, name: str) -> Iterator[int]:
    """Open the lock file of one GPU. Each GPU has its own, so that slots of different sizes exclude each other."""
    descriptor = os.open(folder / f"{name.replace('/', '-')}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

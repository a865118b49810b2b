"""GPU slots of this host: one stage a GPU, also across runs and workspaces."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

POLL_S = 1.0


@dataclass(frozen=True)
class Slot:
    """Where a stage may compute: what it sees of the devices, and the lock that it holds."""

    environment: dict[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()


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
def gpu_slot(wait: Callable[[float], None]) -> Iterator[Slot]:
    """Hold one GPU of this host, the first that is free. A host without GPUs has one slot, its processor.

    CUDA_VISIBLE_DEVICES of the slot names the GPU where there are several.

    Args:
        wait: called with seconds to wait while all are taken; may raise to give up.
    """
    names = gpus()
    folder = Path(tempfile.gettempdir()) / f"bestie-gpu-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        for name in names or ["none"]:
            descriptor = os.open(folder / f"{name.replace('/', '-')}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            try:
                yield Slot({"CUDA_VISIBLE_DEVICES": name} if len(names) > 1 else {}, (descriptor,))
            finally:
                os.close(descriptor)
            return
        wait(POLL_S)

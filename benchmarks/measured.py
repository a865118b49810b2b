"""One command in a process of its own: its time, its memory with all child processes, and what it wrote."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Seconds between two looks at the memory.
SAMPLED_EVERY_S = 0.2
#: What counts as memory of a process. Pages of files, such as libraries, are left out: the kernel can drop them, and
#: how many belong to one process depends on what else runs on the machine.
COUNTED = ("Pss_Anon:", "Pss_Shmem:")
ROLLUP = Path("/proc/self/smaps_rollup")
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Usage:
    """What one command took and wrote.

    Attributes:
        seconds: wall time.
        processor_seconds: processor time of the command and all child processes that it waited for.
        memory_mb: the largest sum, in MiB, over the command and its child processes, of the memory that is backed by no
            file; shared pages count once.
        largest_process_mb: the largest resident memory of a single process in MiB, pages of files included.
        files: number of files in its outputs.
        output_mb: their size in MiB.
    """

    seconds: float
    processor_seconds: float
    memory_mb: float
    largest_process_mb: float
    files: int = 0
    output_mb: float = 0.0


class CommandError(Exception):
    """A command failed; the message says which, and how its output ends."""


def run_measured(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], outputs: Iterable[Path] = ()
) -> tuple[Usage, str]:
    """Run a command and measure it.

    Args:
        command: the program and its arguments.
        folder: the working directory.
        environment: all environment variables.
        outputs: files and folders that count as what the command wrote, relative to `folder`.

    Returns:
        What it took, and what it printed.

    Raises:
        CommandError: it ended with another status than 0.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        with _ended_with(process), _Memory(process.pid) as memory:
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        printed = log.read()
    if process.returncode:
        last = "\n".join(printed.splitlines()[-20:])
        raise CommandError(f"{' '.join(command)} ended with status {process.returncode}:\n{last}")
    files, size = count_files(folder / path for path in outputs)
    usage = Usage(
        seconds=seconds,
        processor_seconds=used.ru_utime + used.ru_stime,
        memory_mb=memory.peak / MEBIBYTE,
        largest_process_mb=used.ru_maxrss / 1024,
        files=files,
        output_mb=size / MEBIBYTE,
    )
    return usage, printed


def count_files(paths: Iterable[Path]) -> tuple[int, int]:
    """Return the number of files at or below some paths, and their size in bytes."""
    files = [each for path in paths for each in (path.rglob("*") if path.is_dir() else [path]) if each.is_file()]
    return len(files), sum(each.stat().st_size for each in files)


def memory_of_tree(pid: int) -> int:
    """Return the bytes of memory that a process and its child processes hold now, as `COUNTED` says."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children(recursive=True)
        return sum(map(_memory_of, [pid, *(child.pid for child in children)]))
    return 0


def _memory_of(pid: int) -> int:
    with suppress(OSError):  # the process has ended
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(COUNTED))
    return 0


@contextmanager
def _ended_with(process: subprocess.Popen) -> Iterator[None]:
    """End the process if the block is left before it has ended."""
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class _Memory:
    """A context manager that looks at the memory of a process tree while the block runs; `peak` is in bytes."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLED_EVERY_S):
            self.peak = max(self.peak, memory_of_tree(self._pid))

"""A command in its own process group, which ends with the process that started it, even if that one is killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from bestie.runtime import process_guard

#: Seconds between SIGTERM and SIGKILL, in which a training writes a last checkpoint.
GRACE_S = 10.0


class ProcessGroup:
    """A running command; as a context manager, it leaves no process of its group behind.

    Args:
        command: the program and its arguments.
        cwd: the working directory.
        environment: the complete environment.
        keep_open: file descriptors of locks to hold until the group has ended, even if this process is killed first.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        keep_open: Sequence[int] = (),
    ) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, "-S", "-E", process_guard.__file__, str(GRACE_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            pass_fds=keep_open,
        )
        try:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except BaseException:
            self._dismiss_guard()
            raise
        self._tell_guard(f"{self._process.pid}\n")
        threading.Thread(target=self._reap, daemon=True).start()

    @property
    def pid(self) -> int:
        """The id of the first process, which is also the id of the group."""
        return self._process.pid

    def lines(self) -> Iterator[str]:
        """Yield the lines that the group prints, until its first process has ended."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.rstrip("\r\n")

    def wait(self) -> int:
        """Wait for the first process and return its exit status; negative: the signal that killed it."""
        return self._process.wait()

    def terminate(self) -> None:
        """Send SIGTERM to all processes and, after `GRACE_S` seconds, SIGKILL to those that are left."""
        if self._process.poll() is None:
            process_guard.end_group(self.pid, grace_s=GRACE_S)

    def __enter__(self) -> "ProcessGroup":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.terminate()
            self._process.wait()
        finally:
            if self._process.poll() is not None:
                self._dismiss_guard()
            if self._process.stdout:
                self._process.stdout.close()

    def _reap(self) -> None:
        """Kill children that outlive the first process: they would keep the lock and the output open."""
        self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _dismiss_guard(self) -> None:
        self._tell_guard("done\n")
        with suppress(BrokenPipeError):
            assert self._guard.stdin is not None
            self._guard.stdin.close()
        self._guard.wait()

    def _tell_guard(self, line: str) -> None:
        with suppress(BrokenPipeError):  # the guard was killed; the stage goes on without it
            assert self._guard.stdin is not None
            self._guard.stdin.write(line)
            self._guard.stdin.flush()

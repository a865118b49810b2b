"""What every stage module has in common: parameters in, one clear error out."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from bestie.durations import record_duration
from bestie.errors import InputError
from bestie.folders import DATA, folder
from bestie.params import Dataset, Section
from bestie.params_file import parse, read_yaml
from bestie.processes import launched
from bestie.progress import close_all
from bestie.settings import Settings, load_settings
from bestie.stopping import StoppedError, stoppable
from bestie.storage import storage_fault

__all__ = ["DATA", "PARAMS", "folder", "load_section", "run_stage"]

PARAMS = Path("params.yaml")
#: Statuses of a shell for a command that a signal has ended start here.
_SHELL_SIGNALS = 128

T = TypeVar("T", bound=Section)


def load_section(name: str, model: type[T], path: Path = PARAMS) -> tuple[Dataset, T]:
    """`dataset` and one stage's section of the parameter file; a stage sees no other.

    Raises:
        InputError: the file or a section is missing, or a key or value is wrong.
    """
    values = read_yaml(path)
    for section in ("dataset", name):
        if section not in values:
            raise InputError(f"{path}: missing section {section!r}; `bestie profile shapes` writes the default")
    dataset = parse(Dataset, values["dataset"], source=f"{path}: dataset")
    return dataset, parse(model, values[name], source=f"{path}: {name}")


def run_stage(name: str, model: type[T], main: Callable[[Dataset, T, Settings], None]) -> None:
    """Run a stage as a program: exit 0, or print one message and exit 1. Its duration is kept.

    After SIGTERM or Ctrl-C it says so and exits with 128 and the signal's number, as shells do. A disk that is full
    or cannot be written to is one message, too.
    """
    started = time.monotonic()
    try:
        with stoppable():
            settings = load_settings()
            main(*load_section(name, model), settings)
            if launched():  # the process that started this one speaks for all
                return
            seconds = time.monotonic() - started
            record_duration(settings.state, name, seconds)
    except InputError as error:
        _end(name, str(error), 1)
    except StoppedError as error:
        _end(name, f"{error}; start again to continue", _SHELL_SIGNALS + error.number)
    except Exception as error:
        if (reason := storage_fault(error)) is None:
            raise
        _end(name, reason, 1)
    print(f"{name}: done in {seconds:.1f} s", file=sys.stderr)


def _end(name: str, message: str, status: int) -> NoReturn:
    close_all()
    print(f"{name}: {message}", file=sys.stderr)
    raise SystemExit(status) from None

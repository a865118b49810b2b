"""What every stage module has in common: parameters in, one clear error out."""

import atexit
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from bestie.durations import record_duration
from bestie.errors import InputError, MissingPartsError
from bestie.folders import PARAMS, folder, part_folders
from bestie.params import Dataset, Section
from bestie.params_file import parse, read_value, read_yaml
from bestie.processes import launched
from bestie.progress import close_all
from bestie.settings import Settings, load_settings
from bestie.stopping import StoppedError, end_with_parent, stop_behind, stoppable
from bestie.storage import storage_fault, tell_disk_faults_once

__all__ = ["folder", "load_section", "run_stage"]

#: Statuses of a shell for a command that a signal has ended start here.
_SHELL_SIGNALS = 128

T = TypeVar("T", bound=Section)


def load_section(name: str, model: type[T], path: Path = PARAMS, arguments: Sequence[str] = ()) -> tuple[Dataset, T]:
    """`dataset` and one stage's section of the parameter file; a stage sees no other.

    Args:
        name: of the stage and its section.
        model: of the section.
        path: the parameter file.
        arguments: values of the section for this run alone, as `--on-error skip`.

    Raises:
        InputError: the file or a section is missing, or a key, value or argument is wrong.
    """
    values = read_yaml(path)
    for section in ("dataset", name):
        if section not in values:
            raise InputError(f"{path}: missing section {section!r}; `bestie profile shapes` writes the default")
    dataset = parse(Dataset, values["dataset"], source=f"{path}: dataset")
    if not arguments:
        return dataset, parse(model, values[name], source=f"{path}: {name}")
    return dataset, parse(model, {**values[name], **_options(arguments)}, source=" ".join((name, *arguments)))


def _options(arguments: Sequence[str]) -> dict[str, Any]:
    """The values of `--some-key value` or `--some-key=value` by key, here `some_key`."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise InputError(
            f"{' '.join(arguments)}: a stage takes keys of its section in {PARAMS} alone, as `--on-error skip`"
        )
    return {
        option.removeprefix("--").replace("-", "_"): read_value(text, source=option)
        for option, text in zip(words[::2], words[1::2], strict=True)
    }


def run_stage(
    name: str,
    model: type[T],
    main: Callable[[Dataset, T, Settings], None],
    arguments: Sequence[str] = (),
    *,
    in_parts: bool = False,
) -> None:
    """Run a stage as a program: exit 0, or print one message and exit 1. Its duration is kept.

    After SIGTERM or Ctrl-C it says so and exits with 128 and the signal's number, as shells do; where DVC started it,
    the same when DVC is gone. A disk that is full or cannot be written to is one message, too.

    Args:
        name: of the stage.
        model: of its section in the parameter file.
        main: its work.
        arguments: see `load_section`.
        in_parts: it can be computed in parts (`bestie.artifacts.parts`).
    """
    started = time.monotonic()
    if "DVC_STAGE" in os.environ:
        end_with_parent(signal.SIGTERM)
    tell_disk_faults_once()
    # Else Python takes some 400,000 objects apart one by one at its end: 1.4 s in which DVC and a signal wait.
    atexit.register(gc.freeze)
    try:
        with stoppable():
            settings = load_settings()
            if settings.parts:
                _check_parts(name, settings, in_parts=in_parts)
            main(*load_section(name, model, arguments=arguments), settings)
            if launched():  # the process that started this one speaks for all
                return
            seconds = time.monotonic() - started
            if not settings.part:
                record_duration(settings.state, name, seconds)
    except InputError as error:
        _end(name, str(error), error.status)
    except (StoppedError, Exception) as error:
        if stop := stop_behind(error):
            _end(name, f"{stop}; start again to continue", _SHELL_SIGNALS + stop.number)
        if (reason := storage_fault(error)) is None:
            raise
        _end(name, reason, 1)
    print(f"{name}: done in {seconds:.1f} s", file=sys.stderr)


def _check_parts(name: str, settings: Settings, *, in_parts: bool) -> None:
    """Raise InputError unless the stage can do with its parts what BESTIE_PARTS says."""
    if not in_parts:
        raise InputError("this stage cannot be computed in parts; unset the environment variable BESTIE_PARTS")
    if settings.part and "DVC_STAGE" in os.environ:
        raise InputError(
            f"a part is no output of DVC's. Say BESTIE_PARTS={settings.part}/{settings.parts} python -m stages.{name}, "
            f"and, when all parts are there, BESTIE_PARTS={settings.parts} dvc repro {name}"
        )
    if settings.joins:
        parts = part_folders(settings.state, name, settings.parts)
        if missing := [part for part in parts if not part.is_dir()]:
            raise MissingPartsError(
                f"{missing[0]} does not exist, of {settings.parts} parts to join {len(missing)} are missing. Compute "
                f"each with BESTIE_PARTS=<number>/{settings.parts} python -m stages.{name}, or unset BESTIE_PARTS"
            )


def _end(name: str, message: str, status: int) -> NoReturn:
    close_all()
    print(f"{name}: {message}", file=sys.stderr)
    raise SystemExit(status) from None

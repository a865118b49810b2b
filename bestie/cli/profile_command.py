"""`bestie profile`: `params.yaml` from a profile, and the changes that this makes."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from bestie.artifacts.paths import PARAMS
from bestie.cli.output import print_json
from bestie.errors import InputError
from bestie.params.describe import list_keys
from bestie.params.params_yaml import Params
from bestie.params.reading import read_yaml
from bestie.project.inputs import missing_inputs
from bestie.project.profiles import changes, compose, missing_folders, profile_names, write_params


def list_profiles(profiles: Path, *, as_json: bool) -> None:
    """Print the names of the profiles, the default first, and the first line of each."""
    names = profile_names(profiles)
    if as_json:
        print_json(names)
        return
    longest = max(map(len, names))
    for name in names:
        print(f"{name:{longest}}  {_about(profiles / f'{name}.yaml')}".rstrip())


def _about(profile: Path) -> str:
    """Return the comment in the first line of a profile."""
    with profile.open(encoding="utf-8") as file:
        first = file.readline()
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def print_keys(console: Console, *, as_json: bool) -> None:
    """Print every key of `params.yaml` with its default, meaning and source."""
    keys = list_keys()
    if as_json:
        print_json([asdict(key) for key in keys])
        return
    table = Table(Column("key", no_wrap=True), "default", "meaning", "source", box=None)
    for key in keys:
        table.add_row(key.name, key.default, key.help, key.source)
    console.print(table)


def set_profile(
    name: str, overrides: Iterable[str], *, profiles: Path, check: bool, as_json: bool, console: Console
) -> None:
    """Write `params.yaml`, and print what changed and which folders do not exist yet.

    If the present `params.yaml` cannot be read, a remark says so and all values count as changed.

    Args:
        name: the name of the profile.
        overrides: `section.key=value` texts that change the profile.
        profiles: the folder of the profiles.
        check: only print what would change, and what a run would miss (`missing_inputs`).
        as_json: print JSON.
        console: where to print the table.

    Raises:
        InputError: see `compose`.
    """
    values = compose(name, folder=profiles, overrides=overrides)
    before, remarks = _present()
    changed = changes(before, values)
    if not check:
        write_params(PARAMS, name, values)
    remarks += missing_folders(values)
    if check:
        remarks += missing_inputs(Params(**values))
    if as_json:
        listed = [{"parameter": key, "before": old, "after": new} for key, old, new in changed]
        print_json({"profile": name, "written": None if check else PARAMS, "changes": listed, "remarks": remarks})
        return
    table = Table(Column("parameter", no_wrap=True), "before", "after", box=None)
    for key, old, new in changed:
        table.add_row(key, str(old), str(new))
    console.print(table if changed else f"{PARAMS} is already profile {name}")
    for remark in remarks:
        console.print(remark, soft_wrap=True)


def _present() -> tuple[dict[str, Any], list[str]]:
    """Return the content of `params.yaml`, and a remark if it cannot be read."""
    if not PARAMS.is_file():
        return {}, []
    try:
        return read_yaml(PARAMS), []
    except InputError:
        return {}, [f"the {PARAMS} that was here held no readable parameters: all values count as changed"]

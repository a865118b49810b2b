"""`bestie tables`: the tables and curves of the paper, rerun on a profile."""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bestie.artifacts.paths import DATA, PROFILES
from bestie.cli.completion import complete_parameter, complete_profile, complete_table
from bestie.cli.console import plain_console
from bestie.cli.options import Seeds
from bestie.cli.output import FOUND, print_json
from bestie.errors import InputError

if TYPE_CHECKING:
    from bestie.tables.plan import Plan
    from bestie.tables.runner import RunOutcome

OUT = DATA / "tables"
STATE = Path(".bestie/tables")
PAGE, NUMBERS = "tables.html", "tables.json"


def tables(
    profile: Annotated[
        str, typer.Argument(help="A file in profiles/, without its extension.", autocompletion=complete_profile)
    ],
    seeds: Seeds = [0],  # noqa: B006
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--table", help="A table or figure, by key; default: all; can be repeated.", autocompletion=complete_table
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="section.key=value for every row; can be repeated.", autocompletion=complete_parameter
        ),
    ] = None,
    wsss: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER: WSSS maps for Table 4.")] = None,
    with_mrcnn: Annotated[bool, typer.Option("--with-mrcnn", help="Also train Mask R-CNN in every row.")] = False,
    definition: Annotated[Path | None, typer.Option(help="A file in the form of bestie/tables/tables.yaml.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the page; default: data/tables/PROFILE.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list what would run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was run and written as JSON.")] = False,
) -> None:
    """Rerun the paper's tables, and write one page with our scores beside the paper's.

    Runs share DVC's cache. After an interruption, the same command continues.

    Example: bestie tables shapes --seed 0 --seed 1 --seed 2 --table table3
    """
    from bestie.tables.definition import DEFINITION, read_definition, with_wsss
    from bestie.tables.missing import check_inputs
    from bestie.tables.plan import make_plan

    chosen = with_wsss(read_definition(definition or DEFINITION, keys=only or ()), _folders(wsss or []))
    plan = make_plan(chosen, profile, folder=PROFILES, seeds=seeds, overrides=set_ or ())
    if list_:
        _print_plan(plan, as_json=as_json)
        return
    check_inputs(plan, with_mrcnn=with_mrcnn)
    folder = out or OUT / profile
    failed = _run(plan, folder, with_mrcnn=with_mrcnn, console=plain_console(stderr=True, highlight=False))
    if as_json:
        errors = [{"run": each.run.name, "seed": each.run.seed, "error": each.error} for each in failed]
        print_json({"page": folder / PAGE, "numbers": folder / NUMBERS, "runs": len(plan.runs), "failed": errors})
    if failed:
        print(f"bestie: {len(failed)} of {len(plan.runs)} runs failed; the page says why", file=sys.stderr)
        raise typer.Exit(FOUND)


def _print_plan(plan: "Plan", *, as_json: bool) -> None:
    """Print each run with the number of rows that use it."""
    used = Counter(run.identity for runs in plan.runs_of.values() for run in runs)
    if as_json:
        print_json([{"run": run.name, "seed": run.seed, "rows": used[run.identity]} for run in plan.runs])
        return
    for run in plan.runs:
        print(f"{run.name}, seed {run.seed}; rows: {used[run.identity]}")
    print(f"{len(plan.runs)} runs")


def _folders(texts: Iterable[str]) -> dict[str, str]:
    """Return name -> folder from NAME=FOLDER texts.

    Raises:
        InputError: a text has another form, or a folder does not exist.
    """
    found = {}
    for text in texts:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise InputError(f"--wsss {text!r}: write NAME=FOLDER, for example --wsss RRM=data/raw/rrm")
        if not Path(folder).is_dir():
            raise InputError(f"--wsss {text}: there is no folder {folder}; put the maps there or correct the path")
        found[name] = folder
    return found


def _run(plan: "Plan", out: Path, *, with_mrcnn: bool, console: Console) -> "list[RunOutcome]":
    """Run a plan, write the page after each run, and return the runs that failed.

    Raises:
        InputError: the page cannot be written; raised before the first run.
    """
    from bestie.artifacts.atomic import as_file, make_folder
    from bestie.runtime.signals import stoppable
    from bestie.tables.display import Display
    from bestie.tables.runner import Runner
    from bestie.tables.sandbox import Workspace

    outcomes: dict[str, RunOutcome] = {}
    page, numbers = (as_file(make_folder(out) / name) for name in (PAGE, NUMBERS))
    display = Display(len(plan.runs), console)
    try:
        with (
            stoppable(),
            Workspace(Path(), STATE / plan.profile, show=display.line) as workspace,
            display,
        ):
            for outcome in Runner(workspace, out, with_mrcnn=with_mrcnn).outcomes(plan, starts=display.start):
                outcomes[outcome.run.identity] = outcome
                display.end(outcome)
                if outcome.is_new or len(outcomes) == len(plan.runs):
                    _write(plan, outcomes, page, numbers, with_mrcnn=with_mrcnn)
    except KeyboardInterrupt:
        console.print("stopped; the same command continues", soft_wrap=True)
        raise SystemExit(130) from None
    console.print(f"{page}, {numbers}", soft_wrap=True)
    return [outcome for outcome in outcomes.values() if outcome.scores is None]


def _write(plan: "Plan", outcomes: dict, page: Path, numbers: Path, *, with_mrcnn: bool) -> None:
    from bestie.artifacts.atomic import atomic_output
    from bestie.artifacts.metrics_json import write_json
    from bestie.tables.results import as_json, summarize
    from bestie.tables.tables_page import render_tables

    summary = summarize(plan, outcomes, with_mrcnn=with_mrcnn)
    with atomic_output(page) as partial:
        partial.write_text(render_tables(summary), encoding="utf-8")
    write_json(numbers, as_json(summary))

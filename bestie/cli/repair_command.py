"""`bestie repair`: repairs after DVC was killed."""

from bestie.cli.console import plain_console
from bestie.cli.output import AsJson, print_json


def repair(as_json: AsJson = False) -> None:
    """Repair DVC's own files after it was killed: a damaged dvc.lock, locks of ended processes, unfinished runs.

    It is safe to run at any time, and prints what it did.

    Example: bestie repair && dvc repro
    """
    from bestie.project.repair import repair as repair_project

    done = repair_project()
    if as_json:
        print_json(done)
        return
    for line in done or ["Nothing to repair."]:
        plain_console().print(line, highlight=False, soft_wrap=True)

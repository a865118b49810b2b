"""`bestie audit`: where labels came from, how versions differ, one image at every stage, and checks of the files."""

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from bestie.cli.completion import complete_image, complete_stage, complete_version
from bestie.cli.console import plain_console
from bestie.cli.output import FOUND, AsJson, print_json

app = typer.Typer(
    help="Versions of the labels: which came from what, and how they differ.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
console = plain_console()

SUBFOLDER = "audit"
VERSION = "A branch, tag or commit, an experiment, the first digits of a version's hash, or `workspace`."
Stage = Annotated[
    str | None,
    typer.Option(
        help="The stage that wrote the labels: make_pseudo_labels or export_mrcnn.", autocompletion=complete_stage
    ),
]


def _version_argument(help_: str = VERSION) -> Any:
    return typer.Argument(help=help_, autocompletion=complete_version)


@app.command()
def log(
    stage: Stage = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="The largest number of versions; 0: all.")] = 0,
    oneline: Annotated[bool, typer.Option("--oneline", help="Print one line per version.")] = False,
    as_json: AsJson = False,
) -> None:
    """List every version of the labels in git history, DVC experiments and the workspace, newest first.

    Example: bestie audit log --stage make_pseudo_labels --oneline
    """
    from bestie.audit.log import log_versions
    from bestie.audit.versions import LABEL_STAGES, History, check_stage

    stages = LABEL_STAGES if stage is None else (check_stage(stage),)
    history = History()
    entries = islice(log_versions(history, stages, memory=_memory()), limit or None)
    if as_json:
        from bestie.audit.json_forms import log_json

        print_json([log_json(entry) for entry in entries])
        return
    from bestie.audit.printing import print_log, print_log_lines

    if not (print_log_lines if oneline else print_log)(console, entries):
        console.print("There is no version yet: run `dvc repro`, and commit dvc.lock.")
    for problem in history.skipped:
        print(f"bestie: {problem}", file=sys.stderr)


@app.command()
def diff(
    before: Annotated[str, _version_argument()],
    after: Annotated[str, _version_argument()] = "workspace",
    stage: Stage = None,
    images: Annotated[int, typer.Option(min=0, help="Number of images to list, the largest changes first.")] = 10,
    min_iou: Annotated[float, typer.Option(min=0, max=1, help="Smallest IoU of masks that are the same label.")] = 0.5,
    picture: Annotated[Path | None, typer.Option(help="Draw the listed images to this PNG.")] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 if the labels differ.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how the labels of two versions differ, by class and by image, and what was changed between the versions.

    Example: bestie audit diff HEAD~1 HEAD --picture changes.png
    """
    from bestie.artifacts.atomic import as_file
    from bestie.audit.diff import diff_versions
    from bestie.audit.sources import Artifacts
    from bestie.audit.versions import History

    if picture is not None:
        as_file(picture)
    history = History()
    versions = history.resolve_pair(before, after, stage)
    artifacts = [Artifacts(version, history.root) for version in versions]
    found = diff_versions(*artifacts, largest=images, min_iou=min_iou)
    if picture is not None:
        from bestie.audit.diff_picture import draw_difference

        _save(picture, draw_difference(found, *artifacts))
    if as_json:
        from bestie.audit.json_forms import diff_json

        print_json({**diff_json(found), "picture": picture and str(picture)})
    else:
        from bestie.audit.printing import print_difference

        print_difference(console, found)
        if picture is not None:
            console.print(f"picture: {picture}", soft_wrap=True)
    if exit_code and not found.is_empty:
        raise typer.Exit(FOUND)


@app.command()
def show(
    version: Annotated[str, _version_argument()],
    image: Annotated[
        str, typer.Argument(help="The image_id: a file name without its extension.", autocompletion=complete_image)
    ],
    stage: Stage = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The PNG to write.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one image at every stage: a picture, and every component with the reason why it became a label or not.

    Example: bestie audit show workspace shapes_000012
    """
    from bestie.artifacts.atomic import as_file
    from bestie.audit.life_picture import draw_life
    from bestie.audit.show import trace_image
    from bestie.audit.sources import Artifacts
    from bestie.audit.versions import History

    history = History()
    artifacts = Artifacts(history.resolve(version, stage), history.root)
    path = as_file(output or _memory() / f"{image}_{artifacts.version.hash}.png")
    life = trace_image(artifacts, image)
    _save(path, draw_life(life, artifacts))
    if as_json:
        from bestie.audit.json_forms import life_json

        print_json({**life_json(life), "picture": str(path)})
        return
    from bestie.audit.printing import print_life

    print_life(console, life)
    console.print(f"picture: {path}", soft_wrap=True)


@app.command()
def verify(
    version: Annotated[str, _version_argument()] = "workspace", stage: Stage = None, as_json: AsJson = False
) -> None:
    """Hash all files of a version again, and check that their contents agree; exit with 1 if anything is wrong.

    Example: bestie audit verify HEAD --stage export_mrcnn
    """
    from dataclasses import asdict

    from bestie.audit.printing import print_findings
    from bestie.audit.sources import Artifacts
    from bestie.audit.verify import verify_version
    from bestie.audit.versions import History
    from bestie.runtime.settings import load_settings

    history = History()
    artifacts = Artifacts(history.resolve(version, stage), history.root)
    json_progress = load_settings().json_progress
    findings = list(verify_version(artifacts, root=history.root, as_json=json_progress))
    if as_json:
        from bestie.audit.json_forms import version_json

        print_json({**version_json(artifacts.version), "findings": [asdict(finding) for finding in findings]})
    else:
        print_findings(console, artifacts.version, findings)
    if findings:
        raise typer.Exit(FOUND)


def _memory() -> Path:
    """Return the folder for remembered counts and drawn pictures."""
    from bestie.runtime.settings import load_settings

    return load_settings().state / SUBFOLDER


def _save(path: Path, picture: Any) -> None:
    from bestie.artifacts.atomic import atomic_output
    from bestie.pictures import save_png

    with atomic_output(path) as partial:
        save_png(partial, picture)

"""The `bestie` command: everything that users do besides `dvc repro`."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bestie.artifacts.paths import PROFILES
from bestie.cli import audit_command, labels_command
from bestie.cli.completion import (
    MODELS,
    WEIGHTS,
    complete_artifact,
    complete_labels,
    complete_parameter,
    complete_profile,
)
from bestie.cli.console import plain_console
from bestie.cli.evaluate_command import evaluate
from bestie.cli.export_command import export
from bestie.cli.options import Seeds
from bestie.cli.output import AsJson, print_json
from bestie.cli.predict_command import predict
from bestie.cli.repair_command import repair
from bestie.cli.report_command import report
from bestie.cli.tables_command import tables
from bestie.errors import InputError
from bestie.runtime.disks import storage_fault, tell_disk_faults_once
from bestie.runtime.progress import close_all

app = typer.Typer(
    name="bestie",
    help="Instance masks from image-level labels: parameters, reports, predictions, exports, scores.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
console = plain_console()

#: What only the extra `pipeline` installs.
PIPELINE = ("dvc", "fastapi", "jinja2", "prefect")
#: Exit status for bad input, as of git and grep; the status for findings is 1 (`bestie audit`).
BAD_INPUT = 2


def _print_version(wanted: bool | None) -> None:
    if wanted:
        print(version("bestie-pipeline"))
        raise typer.Exit


@app.callback()
def options(
    version_: Annotated[
        bool | None, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = None,
) -> None:
    """Read the options that come before a command."""


@app.command()
def profile(
    name: Annotated[
        str | None,
        typer.Argument(help="A file in profiles/, without its extension.", autocompletion=complete_profile),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value; can be repeated.", autocompletion=complete_parameter),
    ] = None,
    check: Annotated[bool, typer.Option(help="Only say what would change, and what a run would miss.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="Print every key with its default, meaning and source.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write params.yaml from a profile and say what changed; without a name, list the profiles.

    Example: bestie profile voc_subset --set dataset.root=/data/VOC2012
    """
    from bestie.cli.profile_command import list_profiles, print_keys, set_profile

    if keys:
        print_keys(console, as_json=as_json)
    elif name is None:
        if set_ or check:
            option = "--set" if set_ else "--check"
            raise InputError(f"{option} needs the name of a profile; `bestie profile` alone lists them")
        list_profiles(PROFILES, as_json=as_json)
    else:
        set_profile(name, set_ or (), profiles=PROFILES, check=check, as_json=as_json, console=console)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A folder of images with labels.csv or labels.parquet.")],
    name: Annotated[str | None, typer.Option(help="Name of the profile; default: the folder's name.")] = None,
    like: Annotated[
        str,
        typer.Option(help="The profile whose networks and training are taken.", autocompletion=complete_profile),
    ] = "voc_subset",
    wsss: Annotated[
        Path | None, typer.Option(help="Folder of WSSS maps; default: FOLDER/WSSS_maps if it exists, or own maps.")
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Class names, separated by commas or semicolons, in the order of their numbers on the maps, or each "
            "with its number there (cow=10).",
            autocompletion=complete_labels,
        ),
    ] = None,
    val: Annotated[
        float, typer.Option(help="Part of the images for validation, if the table has no column split.", min=0, max=0.9)
    ] = 0.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a profile that init wrote.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a profile for a folder of images, and print what was found in it, class by class.

    Example: bestie init data/raw/photos
    """
    from bestie.cli.init_command import init_json, print_init, run_init

    written = run_init(
        folder,
        profiles=PROFILES,
        like=like,
        name=name,
        wsss=wsss,
        classes=classes,
        val_fraction=val,
        overwrite=overwrite,
    )
    if as_json:
        print_json(init_json(written))
    else:
        print_init(console, written)


@app.command()
def summary(
    since: Annotated[float | None, typer.Option(help="When the run began, in seconds since the epoch.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the metrics of the last run, and where its artifacts are.

    Example: bestie summary
    """
    from bestie.report.summary import print_summary, read_summary

    if as_json:
        print_json(read_summary(since=since))
    else:
        print_summary(console, since=since)


@app.command("upper-bound")
def upper_bound(
    seeds: Seeds = [0],  # noqa: B006
    detector: Annotated[bool, typer.Option(help="Also train Mask R-CNN on true masks.")] = True,
    as_json: AsJson = False,
) -> None:
    """Train the same network and Mask R-CNN on true masks, to measure what the weak labels cost.

    Example: bestie upper-bound --seed 0 --seed 1
    """
    from bestie.evaluation.upper_bound import print_upper_bound, run_upper_bound

    rows = run_upper_bound(seeds, with_detector=detector)
    if as_json:
        print_json(rows)
    else:
        print_upper_bound(console, rows)


weights_app = typer.Typer(help="Model weights of this pipeline.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(weights_app, name="weights")


@weights_app.command("export")
def export_weights(
    source: Annotated[
        Path, typer.Argument(help="A *.zarr folder with weights.", autocompletion=complete_artifact(*WEIGHTS))
    ],
    target: Annotated[Path, typer.Argument(help="The file to write: .safetensors, .pt2 or .onnx.")],
    as_json: AsJson = False,
) -> None:
    """Write weights as a .safetensors file, or the network as a graph for torch.export (.pt2) or ONNX (.onnx).

    Example: bestie weights export data/train_bestie/network.zarr network.safetensors
    """
    from bestie.cli.weights_export import export_to

    said, line = export_to(source, target)
    if as_json:
        print_json(said)
    else:
        console.print(line, soft_wrap=True)


@weights_app.command("pack")
def pack(
    source: Annotated[Path, typer.Argument(help="A model.", autocompletion=complete_artifact(*MODELS))],
    target: Annotated[Path, typer.Argument(help="The *.zarr folder to write.")],
    as_json: AsJson = False,
) -> None:
    """Write a network or Mask R-CNN with all that predictions need, to use it outside of its project.

    Example: bestie weights pack data/train_mrcnn/detector.zarr cats.zarr
    """
    from bestie.prediction.model import load_model

    model = load_model(source, device="cpu")
    model.save(target)
    if as_json:
        print_json({"path": target, "classes": model.names, "read_by": model.reading.source})
    else:
        console.print(f"{target}: {model.predictor.kind}, {len(model.names)} classes", soft_wrap=True)


for command in (report, repair, tables, export, predict, evaluate):
    app.command()(command)
app.add_typer(audit_command.app, name="audit")
app.add_typer(labels_command.app, name="labels")


def main() -> None:
    """Run the command.

    Bad input, and a disk that is full or cannot be written to, end it with one message and exit status 2. Exit status 1
    says that a command did its work and found something wrong.
    """
    tell_disk_faults_once()
    try:
        app()
    except InputError as error:
        _end(str(error))
    except ModuleNotFoundError as error:
        if error.name not in PIPELINE:
            raise
        _end(f"this command needs {error.name}, which is not installed: pip install 'bestie-pipeline[pipeline]'")
    except Exception as error:
        if (reason := storage_fault(error)) is None:
            raise
        _end(reason)


def _end(message: str) -> NoReturn:
    close_all()
    print(f"bestie: {message}", file=sys.stderr)
    raise SystemExit(BAD_INPUT) from None

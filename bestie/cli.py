"""The `bestie` command: what people do besides `dvc repro`."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.table import Table

from bestie.commands import audit
from bestie.commands.evaluate import evaluate
from bestie.commands.export import export
from bestie.commands.predict import predict
from bestie.commands.report import report
from bestie.commands.tables import tables
from bestie.console import plain_console
from bestie.errors import InputError
from bestie.params_file import read_yaml
from bestie.profiles import changes, compose, missing_folders, profile_names, write_params
from bestie.progress import close_all
from bestie.storage import storage_fault

app = typer.Typer(
    name="bestie",
    help="Instance masks from image-level labels: parameters, reports, predictions, exports, scores.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
console = plain_console()

PARAMS = Path("params.yaml")
PROFILES = Path("profiles")
#: Exit status of bad input, as that of git and grep; that of findings is 1 (`bestie audit`).
BAD_INPUT = 2


@app.command()
def profile(
    name: Annotated[str | None, typer.Argument(help="A file of profiles/, without its ending.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, as often as needed.")] = None,
    check: Annotated[bool, typer.Option(help="Only say what would change.")] = False,
) -> None:
    """Write params.yaml from a profile and say what changed; without a name, list the profiles.

    Example: bestie profile voc_subset --set dataset.root=/data/VOC2012
    """
    if name is None:
        for each in profile_names(PROFILES):
            console.print(each)
        return
    values = compose(name, folder=PROFILES, overrides=set_ or ())
    before = read_yaml(PARAMS) if PARAMS.exists() else {}
    table = Table("parameter", "before", "after", box=None)
    for key, old, new in changes(before, values):
        table.add_row(key, str(old), str(new))
    if not check:
        write_params(PARAMS, name, values)
    console.print(table if table.row_count else f"{PARAMS} is already profile {name}")
    for remark in missing_folders(values):
        console.print(remark, soft_wrap=True)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Images with labels.csv or labels.parquet.")],
    name: Annotated[str | None, typer.Option(help="Of the profile; the folder's name if left out.")] = None,
    like: Annotated[str, typer.Option(help="The profile whose networks and training are taken.")] = "voc_subset",
    wsss: Annotated[Path | None, typer.Option(help="WSSS maps, where not in FOLDER/WSSS_maps.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names, joined by commas, in the order of their numbers on WSSS maps.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a profile of that name.")] = False,
) -> None:
    """Write a profile for a folder of images, and say what was found in it, class by class.

    Example: bestie init data/raw/photos
    """
    from bestie.commands.init import run_init

    run_init(
        folder,
        profiles=PROFILES,
        like=like,
        name=name,
        wsss=wsss,
        categories=None if classes is None else [each.strip() for each in classes.split(",")],
        overwrite=overwrite,
        console=console,
    )


@app.command()
def summary(
    since: Annotated[float | None, typer.Option(help="Seconds of the epoch at which the run began.")] = None,
) -> None:
    """Print the metrics of the last run, and where its artifacts lie.

    Example: bestie summary
    """
    from bestie.summary import print_summary

    print_summary(console, since=since)


@app.command("upper-bound")
def upper_bound(
    seeds: Annotated[list[int], typer.Option("--seed", help="Seeds to train with.")] = [0],  # noqa: B006
    detector: Annotated[bool, typer.Option(help="Also Mask R-CNN on true masks.")] = True,
) -> None:
    """Train the same network and Mask R-CNN on true masks: what the labels cost.

    Example: bestie upper-bound --seed 0 --seed 1
    """
    from bestie.upper_bound import run_upper_bound

    run_upper_bound(seeds, with_detector=detector, console=console)


weights_app = typer.Typer(help="Model weights of this pipeline.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")


@weights_app.command("export")
def export_weights(
    source: Annotated[Path, typer.Argument(help="A *.zarr folder with weights.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
) -> None:
    """Write weights for other tools.

    Example: bestie weights export data/train_bestie/network.zarr network.safetensors
    """
    from bestie.artifacts.atomic import as_file
    from bestie.artifacts.weights import load_weights, save_safetensors

    tensors, _ = load_weights(source)
    save_safetensors(as_file(target), tensors)
    console.print(f"{target}: {len(tensors)} tensors")


for command in (report, tables, export, predict, evaluate):
    app.command()(command)
app.add_typer(audit.app, name="audit")


def main() -> None:
    """Run the command; bad input is one message and exit status 2. With 1 a command says that it found something.

    A disk that is full or cannot be written to is one message, too.
    """
    try:
        app()
    except InputError as error:
        _end(str(error))
    except Exception as error:
        if (reason := storage_fault(error)) is None:
            raise
        _end(reason)


def _end(message: str) -> NoReturn:
    close_all()
    print(f"bestie: {message}", file=sys.stderr)
    raise SystemExit(BAD_INPUT) from None

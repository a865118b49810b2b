"""`bestie predict`: instances that a trained model finds on new images."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bestie.artifacts.paths import folder
from bestie.cli.completion import MODELS, complete_artifact
from bestie.cli.console import plain_console
from bestie.cli.output import WrittenAsJson, print_json
from bestie.errors import InputError

if TYPE_CHECKING:
    from bestie.records import Category

MODEL = folder("train_bestie") / "network.zarr"
CATEGORIES = folder("prepare") / "categories.parquet"


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files and folders of images.")],
    model: Annotated[
        Path,
        typer.Option(help="A trained network.zarr or detector.zarr.", autocompletion=complete_artifact(*MODELS)),
    ] = MODEL,
    out: Annotated[Path, typer.Option(help="The new folder to write.")] = Path("predictions"),
    min_score: Annotated[
        float | None,
        typer.Option(
            help="Leave out lower scores; default: keep all, and draw those from the score on that a detector.zarr "
            "found on its training images, with a network.zarr those with half of the image's best score."
        ),
    ] = None,
    categories: Annotated[
        Path | None, typer.Option(help="A categories.parquet with other class names than those in the model's file.")
    ] = None,
    as_json: WrittenAsJson = False,
) -> None:
    """Find instances on new images, and write a table, masks as palette PNG files, and overlays.

    Files that are no readable image are named and left out; the exit status is 1 then.

    The section `evaluate` of params.yaml says how the network's maps are grouped.

    Example: bestie predict photos/ --model data/train_mrcnn/detector.zarr --out found
    """
    from bestie.datasets.image_files import index_files
    from bestie.prediction.loading import load_predictor
    from bestie.prediction.new_images import predict_files
    from bestie.runtime.settings import load_settings

    records, left_out = index_files(images, split="predict")
    predictor = load_predictor(model, device=load_settings().device)
    named = category_names(categories, model, predictor.num_classes)
    count = predict_files(predictor, records, out, categories=named, min_score=min_score)
    if as_json:
        counts = {"images": len(records), "instances": count}
        print_json({"path": out, "model": predictor.kind, **counts, "left_out": left_out})
    else:
        plain_console().print(
            f"{out}: {count} instances of {predictor.kind} on {len(records)} images: instances.parquet, masks/, "
            "overlays/",
            highlight=False,
            soft_wrap=True,
        )
    for message in left_out:
        print(f"left out: {message}", file=sys.stderr)
    if left_out:
        raise typer.Exit(1)


def category_names(path: Path | None, model: Path, num_classes: int) -> "list[Category]":
    """Return the classes of a model: those of the file at `path`, otherwise those that the model's own file names.

    A model that does not name them has those of the data set in this folder, or numbers if there is none.

    Raises:
        InputError: the file is missing or does not have the model's number of classes.
    """
    from bestie.artifacts.tables import read_categories
    from bestie.records import Category
    from bestie.training.saved_models import stored_categories

    if path is None and (stored := stored_categories(model)):
        return stored
    if path is None and not CATEGORIES.is_file():
        return [Category(number, f"class {number}", number) for number in range(1, num_classes + 1)]
    path = path or CATEGORIES
    found = read_categories(path)
    if len(found) != num_classes:
        raise InputError(
            f"{path} names {len(found)} classes, the model has {num_classes}. Give the file of the model's own run "
            "with --categories."
        )
    return found

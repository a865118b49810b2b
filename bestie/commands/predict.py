"""`bestie predict`: a trained model on new images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bestie.commands.completion import MODELS, complete_artifact
from bestie.commands.output import WrittenAsJson, print_json
from bestie.console import plain_console
from bestie.errors import InputError
from bestie.folders import folder

if TYPE_CHECKING:
    from bestie.datasets.base import Category

MODEL = folder("train_bestie") / "network.zarr"
CATEGORIES = folder("prepare") / "categories.parquet"


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, and folders of them.")],
    model: Annotated[
        Path,
        typer.Option(help="A trained network.zarr or detector.zarr.", autocompletion=complete_artifact(*MODELS)),
    ] = MODEL,
    out: Annotated[Path, typer.Option(help="The new folder to write.")] = Path("predictions"),
    min_score: Annotated[
        float | None,
        typer.Option(help="Leave out instances below it; default: draw those with half of the image's best score."),
    ] = None,
    categories: Annotated[Path, typer.Option(help="categories.parquet with the names of the classes.")] = CATEGORIES,
    as_json: WrittenAsJson = False,
) -> None:
    """Find instances on new images: a table, masks as palette PNG, and overlays.

    The section `evaluate` of params.yaml says how the network's maps are grouped.

    Example: bestie predict photos/ --model data/train_mrcnn/detector.zarr --out found
    """
    from bestie.datasets.image_files import index_files
    from bestie.new_images import predict_files
    from bestie.predictor import load_predictor
    from bestie.settings import load_settings

    records = index_files(images, split="predict")
    predictor = load_predictor(model, device=load_settings().device)
    named = category_names(categories, predictor.num_classes)
    count = predict_files(predictor, records, out, categories=named, min_score=min_score)
    if as_json:
        print_json({"path": out, "model": predictor.kind, "images": len(records), "instances": count})
        return
    plain_console().print(
        f"{out}: {count} instances of {predictor.kind} on {len(records)} images: instances.parquet, masks/, overlays/",
        highlight=False,
        soft_wrap=True,
    )


def category_names(path: Path, num_classes: int) -> "list[Category]":
    """The classes of a model; without a file of their names they are numbered.

    Raises:
        InputError: the file has another number of classes than the model, or is not the default one and missing.
    """
    from bestie.artifacts.tables import read_categories
    from bestie.datasets.base import Category

    if path == CATEGORIES and not path.is_file():
        return [Category(number, f"class {number}", number) for number in range(1, num_classes + 1)]
    found = read_categories(path)
    if len(found) != num_classes:
        raise InputError(
            f"{path} names {len(found)} classes, the model has {num_classes}. Give the file of the model's own run "
            "with --categories."
        )
    return found

"""`bestie predict`: instances that a trained model finds on new images."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bestie.artifacts.paths import folder
from bestie.cli.completion import MODELS, complete_artifact
from bestie.cli.console import plain_console
from bestie.cli.output import WrittenAsJson, print_json

MODEL = folder("train_bestie") / "network.zarr"


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

    How the network's maps are grouped is in the model's own file, if `bestie weights pack` wrote it, or in the section
    `evaluate` of params.yaml in the project in whose data/ the model lies.

    Example: bestie predict photos/ --model data/train_mrcnn/detector.zarr --out found
    """
    from bestie.datasets.image_files import index_files
    from bestie.prediction.model import load_model
    from bestie.prediction.new_images import predict_files
    from bestie.runtime.device import prepare_process
    from bestie.runtime.settings import load_settings

    records, left_out = index_files(images, split="predict")
    prepare_process(0)
    loaded = load_model(model, device=load_settings().device, categories=categories)
    kind, read_by = loaded.predictor.kind, loaded.reading.source
    count = predict_files(loaded.predictor, records, out, categories=loaded.categories, min_score=min_score)
    if as_json:
        counts = {"images": len(records), "instances": count}
        print_json({"path": out, "model": kind, "read_by": read_by, **counts, "left_out": left_out})
    else:
        plain_console().print(
            f"{out}: {count} instances of {kind} on {len(records)} images, read by {read_by}: instances.parquet, "
            "masks/, overlays/",
            highlight=False,
            soft_wrap=True,
        )
    for message in left_out:
        print(f"left out: {message}", file=sys.stderr)
    if left_out:
        raise typer.Exit(1)

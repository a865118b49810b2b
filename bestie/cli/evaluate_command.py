"""`bestie evaluate`: scores of a model or a result file on a data set that was not part of the run."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bestie.cli.completion import MODELS, complete_artifact, complete_classes
from bestie.cli.console import plain_console
from bestie.cli.output import print_json
from bestie.errors import InputError


def evaluate(
    source: Annotated[
        Path,
        typer.Argument(
            help="A network.zarr or detector.zarr, or a COCO result file (*.json).",
            autocompletion=complete_artifact(*MODELS),
        ),
    ],
    root: Annotated[Path, typer.Argument(help="The data set: a folder in VOC's or COCO's layout.")],
    list_: Annotated[str | None, typer.Option("--list", help="Its image list; default: val or val2017.")] = None,
    categories: Annotated[
        str | None,
        typer.Option(
            help="VOC's layout: class names, separated by commas, or a categories.parquet.",
            autocompletion=complete_classes,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Keep instances, truth and scores in this new folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score a trained model or a COCO result file on any data set in VOC's or COCO's layout that has true masks.

    How the network's maps are grouped is told as to `bestie predict`; the section `evaluate` of params.yaml says at
    which IoU thresholds the instances are scored.

    Example: bestie evaluate data/train_mrcnn/detector.zarr data/raw/VOC2012 --categories cat,dog
    """
    from bestie.export.output_folder import new_folder

    names = None if categories is None else _names(categories)
    if out is not None:
        with new_folder(out) as folder:
            scores = _scores(source, root, list_, names, folder)
    else:
        with TemporaryDirectory() as folder_name:
            scores = _scores(source, root, list_, names, Path(folder_name))
    if as_json:
        print_json(scores)
    else:
        _print(scores, plain_console())


def _scores(source: Path, root: Path, list_: str | None, names: list[str] | None, folder: Path) -> dict[str, Any]:
    from bestie.evaluation.external import (
        check_class_order,
        find_by_model,
        find_in_results,
        open_scored_set,
        score_external,
    )
    from bestie.prediction.loading import evaluate_params, load_predictor
    from bestie.runtime.device import prepare_process
    from bestie.runtime.settings import load_settings
    from bestie.training.saved_models import stored_categories

    if not source.exists():
        raise InputError(f"{source} does not exist. Give a network.zarr, a detector.zarr or a COCO result file.")
    prepare_process(0)
    predictor = load_predictor(source, device=load_settings().device) if source.is_dir() else None
    num_classes = None if predictor is None else predictor.num_classes
    scored = open_scored_set(root, folder, list_name=list_, categories=names, num_classes=num_classes)
    if predictor is None:
        find_in_results(source, scored, folder)
    else:
        check_class_order(stored_categories(source), scored.categories)
        find_by_model(predictor, scored, folder)
    scores = score_external(scored, folder, evaluate_params().iou_thresholds)
    return {"source": str(source), "root": str(root), "without_truth": scored.without_truth, **scores}


def _names(text: str) -> list[str]:
    from bestie.artifacts.tables import read_categories

    if text.endswith(".parquet"):
        return [category.name for category in read_categories(Path(text))]
    return [name.strip() for name in text.split(",") if name.strip()]


def _print(scores: dict[str, Any], console: Console) -> None:
    skipped = f", {scores['without_truth']} without truth left out" if scores["without_truth"] else ""
    console.print(f"{scores['instances']} instances on {scores['images']} images{skipped}", highlight=False)
    table = Table(box=None, show_header=False)
    for name, value in scores.items():
        if name.startswith(("map", "coco_")):
            label = f"mAP, IoU .{name.removeprefix('map')}" if name.startswith("map") else name.replace("_", " ")
            table.add_row(label, "-" if value is None else f"{value:.1f}")
    for row in scores["by_size"]:
        value = "-" if row["map"] is None else f"{row['map']:.1f}"
        table.add_row(f"mAP50, {row['size']} objects ({row['true_instances']})", value)
    console.print(table)
    errors = dict(scores["errors"])
    min_score = errors.pop("min_score")
    counted = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in errors.items())
    console.print(f"from score {min_score:.2f} on: {counted}", highlight=False, soft_wrap=True)

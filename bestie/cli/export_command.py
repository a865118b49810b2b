"""`bestie export`: instance tables in the formats of other tools."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bestie.artifacts.paths import PARAMS, folder
from bestie.cli.completion import TABLES, complete_artifact, complete_split
from bestie.cli.console import plain_console
from bestie.cli.output import WrittenAsJson, print_json
from bestie.errors import InputError

if TYPE_CHECKING:
    from bestie.export.source import Source
    from bestie.export.to_voc import WrittenImages

INDEX = folder("prepare")


class Format(StrEnum):
    """The formats of an export."""

    COCO = "coco"
    COCO_RESULTS = "coco-results"
    VOC = "voc"
    YOLO = "yolo"
    LABEL_STUDIO = "label-studio"


def export(
    format_: Annotated[Format, typer.Argument(metavar="FORMAT", help="coco, coco-results, voc, yolo, label-studio.")],
    table: Annotated[
        Path, typer.Argument(help="An instance table, *.parquet.", autocompletion=complete_artifact(*TABLES))
    ],
    out: Annotated[Path, typer.Argument(help="The JSON file, or the new folder (voc, yolo).")],
    index: Annotated[Path, typer.Option(help="Folder with the table's images.parquet and categories.parquet.")] = INDEX,
    split: Annotated[
        str | None,
        typer.Option(help="train or val; default: every split with instances.", autocompletion=complete_split),
    ] = None,
    min_score: Annotated[float, typer.Option(help="Leave out instances below this score.")] = 0.0,
    with_images: Annotated[bool, typer.Option("--with-images", help="voc, yolo: also link the images.")] = False,
    root: Annotated[Path | None, typer.Option(help="Folder of the images; default: that of params.yaml.")] = None,
    as_json: WrittenAsJson = False,
) -> None:
    """Write an instance table (truth, pseudo labels, exported labels, detections) for other tools.

    coco: annotations with all images and categories. coco-results: a list of scored masks, for pycocotools' loadRes.
    voc: palette PNG files of instances and classes. yolo: polygons. label-studio: tasks with predictions, for people to
    correct; `bestie labels import` takes them back. For weights, see `bestie weights export`.

    Example: bestie export coco data/make_pseudo_labels/instances.parquet pseudo_labels.json
    """
    from bestie.export.source import open_source

    if with_images and format_ not in (Format.VOC, Format.YOLO):
        raise InputError(f"--with-images: {format_} is one file without images. Leave the option out.")
    source = open_source(table, index, split=split, min_score=min_score)
    written = _write(format_, out, source, root=_image_root(root) if with_images else None)
    if as_json:
        said = {"path": out, "format": format_.value, "images": written.images, "instances": written.instances}
        print_json({**said, "left_out": written.left_out})
        return
    rest = f", {written.left_out} left out" if written.left_out else ""
    plain_console().print(
        f"{out}: {written.instances} instances on {written.images} images{rest}", highlight=False, soft_wrap=True
    )


def _write(format_: Format, out: Path, source: "Source", *, root: Path | None) -> "WrittenImages":
    from bestie.artifacts.atomic import as_file
    from bestie.artifacts.coco_json import write_coco, write_coco_results
    from bestie.export.to_label_studio import write_label_studio
    from bestie.export.to_voc import WrittenImages, write_voc
    from bestie.export.to_yolo import write_yolo

    if format_ in (Format.VOC, Format.YOLO):
        write_folder = write_voc if format_ == Format.VOC else write_yolo
        return write_folder(out, source, root=root)
    if format_ == Format.LABEL_STUDIO:
        return write_label_studio(as_file(out), source)
    write_file = write_coco if format_ == Format.COCO else write_coco_results
    count = write_file(
        as_file(out),
        source.table,
        images=source.images,
        categories=source.categories,
        min_score=source.min_score,
        skip_others=True,
    )
    return WrittenImages(len(source.images), count, 0)


def _image_root(root: Path | None) -> Path:
    """Return the folder of the images: the one that the user gives, otherwise that of `params.yaml`."""
    from bestie.params.dataset import Dataset
    from bestie.params.reading import parse, read_yaml

    if root is not None:
        return root
    return parse(Dataset, read_yaml(PARAMS).get("dataset"), source=f"{PARAMS}: dataset").image_root

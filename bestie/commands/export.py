"""`bestie export`: an instance table in the formats of other tools."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bestie.commands.completion import TABLES, complete_artifact, complete_split
from bestie.commands.output import WrittenAsJson, print_json
from bestie.console import plain_console
from bestie.errors import InputError
from bestie.folders import PARAMS, folder

if TYPE_CHECKING:
    from bestie.export.source import Source
    from bestie.export.voc import Written

INDEX = folder("prepare")


class Format(StrEnum):
    """What an instance table can be written as."""

    COCO = "coco"
    COCO_RESULTS = "coco-results"
    VOC = "voc"
    YOLO = "yolo"


def export(
    format_: Annotated[Format, typer.Argument(metavar="FORMAT", help="coco, coco-results, voc or yolo.")],
    table: Annotated[
        Path, typer.Argument(help="An instance table, *.parquet.", autocompletion=complete_artifact(*TABLES))
    ],
    out: Annotated[Path, typer.Argument(help="The JSON file (coco, coco-results) or the new folder (voc, yolo).")],
    index: Annotated[Path, typer.Option(help="Folder with the table's images.parquet and categories.parquet.")] = INDEX,
    split: Annotated[
        str | None,
        typer.Option(help="train or val; default: those that the table has.", autocompletion=complete_split),
    ] = None,
    min_score: Annotated[float, typer.Option(help="Leave out instances below this score.")] = 0.0,
    with_images: Annotated[bool, typer.Option("--with-images", help="voc, yolo: link the images too.")] = False,
    root: Annotated[Path | None, typer.Option(help="Where the images are; default: that of params.yaml.")] = None,
    as_json: WrittenAsJson = False,
) -> None:
    """Write an instance table (truth, pseudo labels, exported labels, detections) for other tools.

    coco: annotations with all images and categories. coco-results: a list of scored masks, for pycocotools' loadRes.
    voc: palette PNG of instances and classes. yolo: polygons. For weights see `bestie weights export`.

    Example: bestie export coco data/make_pseudo_labels/instances.parquet pseudo_labels.json
    """
    from bestie.export.source import open_source

    if with_images and format_ in (Format.COCO, Format.COCO_RESULTS):
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


def _write(format_: Format, out: Path, source: "Source", *, root: Path | None) -> "Written":
    from bestie.artifacts.atomic import as_file
    from bestie.artifacts.coco_json import write_coco, write_coco_results
    from bestie.export.voc import Written, write_voc
    from bestie.export.yolo import write_yolo

    if format_ in (Format.VOC, Format.YOLO):
        write_folder = write_voc if format_ == Format.VOC else write_yolo
        return write_folder(out, source, root=root)
    write_file = write_coco if format_ == Format.COCO else write_coco_results
    count = write_file(
        as_file(out),
        source.table,
        images=source.images,
        categories=source.categories,
        min_score=source.min_score,
        skip_others=True,
    )
    return Written(len(source.images), count, 0)


def _image_root(root: Path | None) -> Path:
    """Where the images are: what the person says, or what `params.yaml` says."""
    from bestie.params import Dataset
    from bestie.params_file import parse, read_yaml

    if root is not None:
        return root
    return parse(Dataset, read_yaml(PARAMS).get("dataset"), source=f"{PARAMS}: dataset").image_root

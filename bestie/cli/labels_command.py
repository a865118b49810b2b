"""`bestie labels import`: labels that people corrected in another tool, as a version of the exported labels."""

import getpass
import re
from pathlib import Path
from typing import Annotated

import typer

from bestie.artifacts.paths import folder
from bestie.cli.completion import TABLES, complete_artifact
from bestie.cli.console import plain_console
from bestie.cli.output import WrittenAsJson, print_json

INDEX = folder("prepare")
TABLE = folder("export_mrcnn") / "instances.parquet"

app = typer.Typer(help="Labels that people corrected.", no_args_is_help=True, rich_markup_mode=None)


@app.command("import")
def import_labels(
    file: Annotated[Path, typer.Argument(help="COCO's JSON, CVAT's export (also zipped), or Label Studio's JSON.")],
    by: Annotated[str | None, typer.Option(help="Who corrected the labels; default: the user of this machine.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for these corrections; default: that of the file.")] = None,
    table: Annotated[
        Path, typer.Option(help="The labels that were corrected.", autocompletion=complete_artifact(*TABLES))
    ] = TABLE,
    check: Annotated[bool, typer.Option("--check", help="Only say what was corrected.")] = False,
    as_json: WrittenAsJson = False,
) -> None:
    """Take labels that people corrected: `export_mrcnn` puts them in the place of its own from now on.

    Every image in the file counts as looked at: labels that it lacks were removed. Corrections are kept in
    data/raw/corrections/, one file an import, and hold also after the labels are made anew.

    Example: bestie labels import annotations.zip --by anna
    """
    from bestie.artifacts.image_index import read_images
    from bestie.artifacts.tables import read_categories
    from bestie.audit.corrections import import_corrections
    from bestie.datasets.corrected_labels import read_corrected

    records = read_images(INDEX / "images.parquet", "train")
    categories = read_categories(INDEX / "categories.parquet")
    corrected = read_corrected(file, records, categories)
    found = import_corrections(
        corrected,
        table,
        categories,
        by=by or getpass.getuser(),
        name=re.sub(r"[^\w-]+", "_", name or file.stem),
        write=not check,
    )
    if as_json:
        print_json({"path": found.path, "images": found.images, **found.counts})
        return
    said = ", ".join(f"{count} {what}" for what, count in found.counts.items())
    where = "nothing written" if found.path is None else f"{found.path}: now dvc repro"
    plain_console().print(f"{found.images} images: {said}. {where}", highlight=False, soft_wrap=True)

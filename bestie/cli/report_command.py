"""`bestie report`: the last run as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from bestie.cli.completion import complete_version
from bestie.cli.console import plain_console
from bestie.cli.output import WrittenAsJson, print_json
from bestie.report import REPORT


def report(
    out: Annotated[Path, typer.Option(help="The file to write.")] = REPORT,
    images: Annotated[int, typer.Option(min=1, help="Largest number of images in the gallery.")] = 240,
    against: Annotated[
        str | None,
        typer.Option(
            help="The version to compare with, as in `bestie audit`; default: the last other committed run.",
            autocompletion=complete_version,
        ),
    ] = None,
    as_json: WrittenAsJson = False,
) -> None:
    """Write the last run as one HTML file: scores, pipeline, curves, errors, and a gallery of images.

    The file needs no other file and sends no request. Of a large data set it shows a sample, and says so.

    Example: bestie report --against HEAD~1
    """
    from bestie.artifacts.atomic import as_file, atomic_output
    from bestie.report.content import collect
    from bestie.report.page import format_bytes, render
    from bestie.runtime.settings import load_settings

    content = collect(Path(), state=load_settings().state, max_images=images, against=against)
    with atomic_output(as_file(out)) as partial:
        partial.write_text(render(content), encoding="utf-8")
    gallery = content.gallery
    if as_json:
        said = {
            "path": out,
            "bytes": out.stat().st_size,
            "images": gallery.shown,
            "of_images": gallery.total,
            "against": content.setting.other and content.setting.other.revision,
        }
        print_json(said)
        return
    size = format_bytes(out.stat().st_size)
    plain_console().print(f"{out}: {gallery.shown} of {gallery.total} images, {size}", highlight=False, soft_wrap=True)

"""The check that `annotations.json` of the export holds the instances of its table."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bestie.artifacts.blobs import missing
from bestie.artifacts.paths import folder
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_rows
from bestie.audit.findings import Finding
from bestie.audit.sources import Artifacts, instances_of
from bestie.errors import InputError

TABLE = instances_of("export_mrcnn")
ANNOTATIONS = str(folder("export_mrcnn") / "annotations.json")


def check_annotations(artifacts: Artifacts) -> Iterator[Finding]:
    """Compare the annotations with the instances one by one, and yield the differences.

    The JSON file is read into memory as a whole, as every reader of this format does.

    Raises:
        InputError: the file is missing or not valid JSON, or a table cannot be read.
    """
    written = _read(artifacts)
    source_id = {category.category_id: category.source_id for category in artifacts.categories}
    file_name = {image["id"]: image["file_name"] for image in written["images"]}
    annotations = iter(written["annotations"])
    for number, row in enumerate(iter_rows(artifacts.file(TABLE), INSTANCES), start=1):
        annotation = next(annotations, None)
        if annotation is None:
            yield Finding(ANNOTATIONS, "", f"it has {number - 1} annotations, but {TABLE} has more instances")
            return
        expected = {
            "file_name": artifacts.images[row["row"]].path,
            "category_id": source_id.get(row["category_id"]),
            "area": row["area_px"],
            "bbox": row["bbox_xywh"],
            "counts": row["rle"],
        }
        found = {
            "file_name": file_name.get(annotation["image_id"]),
            "category_id": annotation["category_id"],
            "area": annotation["area"],
            "bbox": annotation["bbox"],
            "counts": annotation["segmentation"]["counts"],
        }
        for name in (name for name in expected if expected[name] != found[name]):
            place = f"annotation {annotation['id']}"
            yield Finding(ANNOTATIONS, place, f"its {name} is not that of instance {number} of {TABLE}")
    if next(annotations, None) is not None:
        yield Finding(ANNOTATIONS, "", f"it has more annotations than {TABLE} has instances")


def _read(artifacts: Artifacts) -> dict[str, Any]:
    source = artifacts.file(ANNOTATIONS)
    try:
        if isinstance(source, Path):
            return json.loads(source.read_bytes())
        with source.open() as file:
            return json.load(file)
    except FileNotFoundError as error:
        raise missing(source) from error
    except ValueError as error:
        raise InputError(f"{source} is no valid JSON ({error}).") from error

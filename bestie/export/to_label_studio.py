"""Export to Label Studio: one task an image, with the instances as predictions, which people correct."""

import json
from pathlib import Path
from typing import Any

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.instances import decode_mask
from bestie.datasets.label_studio import encode_brush
from bestie.export.source import Instance, Source
from bestie.export.to_voc import WrittenImages
from bestie.records import ImageRecord
from bestie.runtime.progress import track

#: Where Label Studio serves files of local storage from; the path is relative to the storage's root.
LOCAL_FILES = "/data/local-files/?d="
#: The names of the parts of the labeling interface that regions belong to.
FROM, TO = "label", "image"


def write_label_studio(path: Path, source: Source) -> WrittenImages:
    """Write a list of tasks, whose images are files of local storage with the data set's root as its root.

    The interface of the project has `<Image name="image" value="$image"/>` and
    `<BrushLabels name="label" toName="image">` with a `<Label value="..."/>` for each class. Crowd regions are left
    out.

    Args:
        path: the JSON file to write.
        source: the instances.

    Raises:
        InputError: see `Source`.
    """
    names = {category.category_id: category.name for category in source.categories}
    instances, left_out = 0, 0
    with atomic_output(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, (record, found) in enumerate(track(source, "export: label-studio")):
            regions = [_region(record, each, names) for each in found if not each.is_crowd]
            task = {
                "data": {TO: f"{LOCAL_FILES}{record.path}", "image_id": record.image_id},
                "predictions": [{"model_version": source.table.parent.name, "result": regions}],
            }
            file.write(("," if number else "") + "\n" + json.dumps(task, ensure_ascii=False))
            instances += len(regions)
            left_out += len(found) - len(regions)
        file.write("\n]\n")
    return WrittenImages(len(source.images), instances, left_out)


def _region(record: ImageRecord, instance: Instance, names: dict[int, str]) -> dict[str, Any]:
    mask = decode_mask(instance.rle, record.height, record.width)
    return {
        "type": "brushlabels",
        "from_name": FROM,
        "to_name": TO,
        "original_width": record.width,
        "original_height": record.height,
        "image_rotation": 0,
        "score": round(instance.score, 6),
        "value": {"format": "rle", "rle": encode_brush(mask), "brushlabels": [names[instance.category_id]]},
    }

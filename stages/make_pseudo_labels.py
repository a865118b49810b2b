"""Make pseudo labels by semantic knowledge transfer: `python -m stages.make_pseudo_labels`.

A component of the semantic map that holds exactly one cue becomes a pseudo instance. Center and offset maps are not
written: `train_bestie` renders them from the instances after augmentation, and pictures show them on demand. Therefore
the width of the Gaussians is not a parameter of this stage.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bestie.artifacts.image_index import columns_of, read_images
from bestie.artifacts.instances import MAX_INSTANCES, instance_rows
from bestie.artifacts.maps import MapReader, MapWriter
from bestie.artifacts.schemas import COMPONENTS, CUES, INSTANCES
from bestie.artifacts.tables import Columns, TableWriter, iter_rows, read_categories
from bestie.errors import InputError
from bestie.method.transfer import Status, Transfer, transfer
from bestie.params.dataset import Dataset
from bestie.params.make_pseudo_labels import MakePseudoLabels
from bestie.records import Category, ImageRecord, images_by_label
from bestie.runtime.device import prepare_process
from bestie.runtime.distributed import spread
from bestie.runtime.fingerprint import fingerprint
from bestie.runtime.health import HealthWarning, missing_labels, write_warnings
from bestie.runtime.parts import own_rows, written_together
from bestie.runtime.progress import track
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage

NO_CUES: Columns = {"y": np.zeros(0), "x": np.zeros(0), "category_id": np.zeros(0, np.int32), "score": np.zeros(0)}


def main(dataset: Dataset, params: MakePseudoLabels, settings: Settings) -> None:
    """Label every training image; write the instances, all components with their status, and the maps.

    Raises:
        InputError: an image has more than `MAX_INSTANCES` pseudo labels.
    """
    prepare_process(0)
    index, names = folder("prepare") / "images.parquet", folder("prepare") / "categories.parquet"
    categories = read_categories(names)
    num_classes = len(categories)
    every = read_images(index)
    records = every.of_split("train")
    semantic, points = folder("import_wsss") / "maps.zarr", folder("extract_cues") / "cues.parquet"
    wsss = MapReader(semantic)
    out = folder("make_pseudo_labels")
    tables = {"instances.parquet": INSTANCES, "components.parquet": COMPONENTS}
    mine = records.within(own_rows(records.rows, settings))
    inputs = [index, names, semantic, points]
    made_from = partial(fingerprint, "make_pseudo_labels", inputs, dataset=dataset, params=params)
    with (
        written_together(out, settings, made_from, map_names=["maps.zarr"], tables=tables) as share,
        MapWriter(share.place / "maps.zarr", {"instance": ("uint16", 0)}, len(every), wsss.layout) as maps,
        TableWriter(share.place / "instances.parquet", INSTANCES) as instances,
        TableWriter(share.place / "components.parquet", COMPONENTS) as components,
    ):
        progress = track(mine, "make_pseudo_labels", as_json=settings.json_progress)
        for record, cues in zip(progress, columns_of(mine, points, CUES), strict=True):
            labels = label_image(record, wsss, cues or NO_CUES, params, num_classes)
            if len(labels.instances.category_id) > MAX_INSTANCES:
                raise InputError(f"{record.image_id} has more than {MAX_INSTANCES} pseudo labels; raise min_area_px")
            found = labels.instances
            maps.write(record.row, "instance", labels.instance)
            masks = (labels.instance == number for number in range(1, len(found.category_id) + 1))
            centers_yx = found.center_yx.astype(np.float64)
            instances.append_rows(
                instance_rows(record, masks, found.category_id, scores=found.score, centers_yx=centers_yx)
            )
            components.append_rows(component_rows(record, labels))
    write_warnings(out, label_warnings(records, categories, out / "components.parquet"))


def label_warnings(records: Sequence[ImageRecord], categories: list[Category], table: Path) -> list[HealthWarning]:
    """Return the warnings about classes without a pseudo label, which say what became of their components."""
    verdicts: dict[int, Counter[str]] = defaultdict(Counter)
    for row in iter_rows(table, COMPONENTS, ["category_id", "status"]):
        verdicts[row["category_id"]][row["status"]] += 1
    images = images_by_label(records)
    return missing_labels(
        {each.name: verdicts[each.category_id][Status.ACCEPTED] for each in categories},
        {each.name: verdicts[each.category_id] for each in categories},
        {each.name: images[each.category_id] for each in categories},
    )


def label_image(
    record: ImageRecord, wsss: MapReader, cues: dict[str, Any], params: MakePseudoLabels, num_classes: int
) -> Transfer:
    """Apply `transfer` to one image; a cue counts for the pixel nearest to it."""
    nearest_yx = np.stack([cues["y"], cues["x"]], axis=1).round().astype(np.int64)
    return transfer(
        wsss.read(record.row, "semantic", record.height, record.width),
        np.minimum(nearest_yx, (record.height - 1, record.width - 1)),
        cues["category_id"],
        cues["score"].astype(np.float64),
        record.label_vector(num_classes),
        min_area_px=params.min_area_px,
    )


def component_rows(record: ImageRecord, labels: Transfer) -> list[dict[str, Any]]:
    """Return a table row for each component of the image, with its status: why it was accepted or not."""
    found = labels.components
    return [
        {
            "image_id": record.image_id,
            "row": record.row,
            "component_id": number + 1,
            "category_id": int(found.category_id[number]),
            "area_px": int(found.area_px[number]),
            "bbox_xywh": [float(side) for side in found.bbox_xywh[number]],
            "n_cues": int(found.n_cues[number]),
            "status": str(found.status[number]),
            "instance_id": int(found.instance_id[number]),
        }
        for number in range(len(found.category_id))
    ]


if __name__ == "__main__":
    run_stage("make_pseudo_labels", MakePseudoLabels, spread(main, gpus=False), sys.argv[1:], in_parts=True)

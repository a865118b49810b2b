"""Export labels of the training images for any Mask R-CNN: `python -m stages.export_mrcnn`.

The labels are the network's instances or, with `pseudo_labels`, the pseudo labels and what the network adds to them.
`instances.parquet` has the pipeline's own schema; `annotations.json` has the same instances in COCO's format;
Corrections by people (`bestie labels import`) take the place of the labels that they are about. `origins.parquet`
says where each label comes from.
"""

import sys
from collections.abc import Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from bestie.artifacts.coco_json import write_coco
from bestie.artifacts.corrections import FOLDER as CORRECTIONS
from bestie.artifacts.corrections import corrected_elsewhere, read_corrections
from bestie.artifacts.image_index import columns_of, read_images
from bestie.artifacts.instances import instance_map, instance_rows
from bestie.artifacts.maps import MapReader
from bestie.artifacts.schemas import INSTANCES, ORIGINS
from bestie.artifacts.tables import Columns, TableWriter, count_categories, read_categories
from bestie.method.corrections import correct
from bestie.method.inference import Instances
from bestie.method.label_merging import MergedLabels, merge_labels
from bestie.params.dataset import Dataset
from bestie.params.export_mrcnn import ExportMrcnn
from bestie.prediction.network_predictor import NetworkPredictor
from bestie.records import Category, ImageRecord, images_by_label
from bestie.runtime.device import pick_device, prepare_process
from bestie.runtime.distributed import spread
from bestie.runtime.fingerprint import fingerprint
from bestie.runtime.health import HealthWarning, missing_exports, unused_corrections, write_warnings
from bestie.runtime.parts import own_rows, written_together
from bestie.runtime.processes import in_processes
from bestie.runtime.progress import Progress
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage
from bestie.training.network_model import load_network

WSSS = folder("import_wsss") / "maps.zarr"
PSEUDO_LABELS = folder("make_pseudo_labels") / "instances.parquet"


def main(dataset: Dataset, params: ExportMrcnn, settings: Settings) -> None:
    """Predict, group and write the instances of every training image."""
    prepare_process(0)
    device = pick_device(settings.device)
    index, names = folder("prepare") / "images.parquet", folder("prepare") / "categories.parquet"
    records, categories = read_images(index, "train"), read_categories(names)
    weights = folder("train_bestie") / "network.zarr"
    predictor = NetworkPredictor(
        load_network(weights).to(device),
        params,
        num_classes=len(categories),
        device=device,
        use_image_labels=params.use_image_labels,
    )
    out = folder("export_mrcnn")
    own = records.within(own_rows(records.rows, settings))
    progress = Progress("export_mrcnn", len(own), unit="image", as_json=settings.json_progress)
    inputs = [index, names, weights, WSSS, PSEUDO_LABELS, *([CORRECTIONS] if CORRECTIONS.is_dir() else [])]
    corrections = read_corrections(categories)
    wsss = MapReader(WSSS) if params.semantic_map == "wsss" else None
    tables = {"instances.parquet": INSTANCES, "origins.parquet": ORIGINS}

    def label(item: tuple[ImageRecord, Columns | None]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        record, pseudo = item
        outputs = predictor.maps_of(record, dataset.image_root)
        given = None if wsss is None else wsss.read(record.row, "semantic", record.height, record.width)
        found = predictor.instances(outputs, record, semantic=given)
        labels = merge(record, pseudo, found, params)
        by = [""] * len(labels.category_id)
        for each in corrections:
            labels, by = correct(labels, by, each.of(record))
        rows_of_image = label_rows(record, labels)
        return rows_of_image, origin_rows(rows_of_image, labels, by)

    given_labels = columns_of(own, PSEUDO_LABELS, INSTANCES) if params.pseudo_labels else repeat(None)
    items = zip(own, given_labels, strict=False)
    made_from = partial(fingerprint, "export_mrcnn", inputs, dataset=dataset, params=params)
    with (
        written_together(out, settings, made_from, tables=tables) as share,
        TableWriter(share.place / "instances.parquet", INSTANCES) as instances,
        TableWriter(share.place / "origins.parquet", ORIGINS) as origins,
    ):
        for of_instances, of_origins in in_processes(label, items, len(own), device=device, settings=settings):
            instances.append_rows(of_instances)
            origins.append_rows(of_origins)
            progress.advance()
    progress.close()
    write_coco(out / "annotations.json", out / "instances.parquet", images=records, categories=categories)
    unused = unused_corrections(corrected_elsewhere(corrections, records))
    write_warnings(out, [*label_warnings(records, categories, out / "instances.parquet"), *unused])


def label_warnings(records: Sequence[ImageRecord], categories: list[Category], table: Path) -> list[HealthWarning]:
    """Return the warning about classes without an exported label."""
    exported = count_categories(table, INSTANCES)
    images = images_by_label(records)
    return missing_exports(
        {each.name: exported[each.category_id] for each in categories},
        {each.name: images[each.category_id] for each in categories},
    )


def merge(record: ImageRecord, pseudo: Columns | None, found: Instances, params: ExportMrcnn) -> MergedLabels:
    """Return the labels of one image: the pseudo labels, if there are any to keep, and the network's instances."""
    names = ("instance_id", "rle", "category_id", "score", "center_y", "center_x")
    columns: Columns = pseudo or {name: np.zeros(0, np.int64) for name in names}
    return merge_labels(
        instance_map(record, columns["instance_id"], columns["rle"], source=PSEUDO_LABELS).astype(np.int32),
        columns["category_id"].astype(np.int32),
        columns["score"].astype(np.float32),
        np.stack([columns["center_y"], columns["center_x"]], axis=1).astype(np.float32),
        found,
        min_score=params.min_score,
        min_area_px=params.min_area_px,
    )


def label_rows(record: ImageRecord, labels: MergedLabels) -> list[dict[str, Any]]:
    """Return the rows of the instance table."""
    masks = (labels.instance == number for number in range(1, len(labels.category_id) + 1))
    centers_yx = labels.center_yx.astype(np.float64)
    return instance_rows(record, masks, labels.category_id, scores=labels.score, centers_yx=centers_yx)


def origin_rows(rows: list[dict[str, Any]], labels: MergedLabels, by: list[str]) -> list[dict[str, Any]]:
    """Return where each label comes from."""
    names = ("image_id", "row", "instance_id")
    return [
        {**{name: row[name] for name in names}, "pseudo_id": int(pseudo_id), "corrected_by": person}
        for row, pseudo_id, person in zip(rows, labels.pseudo_id, by, strict=True)
    ]


if __name__ == "__main__":
    run_stage("export_mrcnn", ExportMrcnn, spread(main, images=True), sys.argv[1:], in_parts=True)

"""The network's instances on the training images, for any Mask R-CNN: `python -m stages.export_mrcnn`.

`instances.parquet` has the pipeline's own schema; `annotations.json` is the same in COCO's format.
"""

import sys
from functools import partial
from pathlib import Path

from bestie.artifacts.coco_json import write_coco
from bestie.artifacts.parts import own_rows, written_together
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, read_categories, read_images
from bestie.detections import group_instances, predict_as, table_rows
from bestie.distributed import spread
from bestie.fingerprint import fingerprint
from bestie.params import Dataset, ExportMrcnn
from bestie.progress import Progress
from bestie.settings import Settings
from bestie.stage import folder, run_stage
from bestie.training.device import pick_device, prepare_process
from bestie.training.models import load_network


def main(dataset: Dataset, params: ExportMrcnn, settings: Settings) -> None:
    """Predict, group and write the instances of every training image."""
    prepare_process(0)
    device = pick_device(settings.device)
    index, names = folder("prepare") / "images.parquet", folder("prepare") / "categories.parquet"
    records, categories = read_images(index, "train"), read_categories(names)
    weights = folder("train_bestie") / "network.zarr"
    network = load_network(weights).to(device)
    out = folder("export_mrcnn")
    rows = own_rows(records, settings)
    progress = Progress("export_mrcnn", len(rows), unit="image", as_json=settings.json_progress)
    inputs = [Path(__file__), index, names, weights]
    made_from = partial(fingerprint, inputs, dataset=dataset, params=params)
    with (
        written_together(out, settings, made_from, tables={"instances.parquet": INSTANCES}) as share,
        TableWriter(share.place / "instances.parquet", INSTANCES) as table,
    ):
        for record, outputs in predict_as(params, network, records, dataset.image_root, device=device, rows=rows):
            found = group_instances(
                outputs,
                record,
                params.grouping,
                num_classes=len(categories),
                min_area_px=params.min_area_px,
                use_image_labels=params.use_image_labels,
            )
            table.append_rows(table_rows(record, found, min_score=params.min_score))
            progress.advance()
    progress.close()
    write_coco(out / "annotations.json", out / "instances.parquet", images=records, categories=categories)


if __name__ == "__main__":
    run_stage("export_mrcnn", ExportMrcnn, spread(main), sys.argv[1:], in_parts=True)

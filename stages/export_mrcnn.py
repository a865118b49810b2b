"""Export the network's instances on the training images, for any Mask R-CNN: `python -m stages.export_mrcnn`.

`instances.parquet` has the pipeline's own schema; `annotations.json` has the same instances in COCO's format.
"""

import sys
from functools import partial

from bestie.artifacts.coco_json import write_coco
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, read_categories, read_images
from bestie.params.dataset import Dataset
from bestie.params.export_mrcnn import ExportMrcnn
from bestie.prediction.network_predictor import NetworkPredictor, table_rows
from bestie.runtime.device import pick_device, prepare_process
from bestie.runtime.distributed import spread
from bestie.runtime.fingerprint import fingerprint
from bestie.runtime.parts import own_rows, written_together
from bestie.runtime.progress import Progress
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage
from bestie.training.network_model import load_network


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
    rows = own_rows(records, settings)
    progress = Progress("export_mrcnn", len(rows), unit="image", as_json=settings.json_progress)
    inputs = [index, names, weights]
    made_from = partial(fingerprint, "export_mrcnn", inputs, dataset=dataset, params=params)
    with (
        written_together(out, settings, made_from, tables={"instances.parquet": INSTANCES}) as share,
        TableWriter(share.place / "instances.parquet", INSTANCES) as table,
    ):
        for record, outputs in predictor.maps(records, dataset.image_root, rows=rows):
            found = predictor.instances(outputs, record)
            table.append_rows(table_rows(record, found, min_score=params.min_score))
            progress.advance()
    progress.close()
    write_coco(out / "annotations.json", out / "instances.parquet", images=records, categories=categories)


if __name__ == "__main__":
    run_stage("export_mrcnn", ExportMrcnn, spread(main), sys.argv[1:], in_parts=True)

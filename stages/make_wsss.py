"""Make semantic maps of the training images from their labels alone: `python -m stages.make_wsss`.

No true mask is read here. If `import_wsss.source` names other maps, none are made, and the outputs are empty.
"""

import sys
from functools import partial

import numpy as np
import torch

from bestie.artifacts.image_index import read_images
from bestie.artifacts.map_layout import layout_of
from bestie.artifacts.maps import MapWriter
from bestie.artifacts.tables import read_categories
from bestie.params.dataset import Dataset
from bestie.params.make_wsss import MakeWsss
from bestie.prediction.semantic_predictor import SemanticPredictor
from bestie.records import VOID, ImageRecord
from bestie.runtime.device import pick_device, prepare_process
from bestie.runtime.distributed import spread
from bestie.runtime.fingerprint import fingerprint
from bestie.runtime.health import unlikely_maps, write_warnings
from bestie.runtime.own_maps import makes_own_maps
from bestie.runtime.parts import own_rows, written_together
from bestie.runtime.processes import in_processes
from bestie.runtime.progress import Progress
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage
from bestie.training.semantic_model import load_semantic_network

INDEX = folder("prepare") / "images.parquet"
NETWORK = folder("train_wsss") / "semantic_network.zarr"
#: A class on a larger part of its image is nearly everywhere.
NEARLY_EVERYWHERE = 0.95


def main(dataset: Dataset, params: MakeWsss, settings: Settings) -> None:
    """Write the map of each training image, and warn of classes that maps lack or that fill them."""
    prepare_process(0)
    own = makes_own_maps()
    every = read_images(INDEX)
    categories = read_categories(folder("prepare") / "categories.parquet")
    device = pick_device(settings.device)
    predictor = None
    if own:
        network, learned = load_semantic_network(NETWORK)
        predictor = SemanticPredictor(
            network.to(device).to(memory_format=torch.channels_last),
            params,
            by_network=learned.rounds > 0,
            background=learned.background,
            device=device,
        )
    out = folder("make_wsss")
    layout = layout_of(every.sizes_hw)
    records = every.of_split("train")
    mine = records.within(own_rows(records.rows, settings) if own else range(0))
    made_from = partial(fingerprint, "make_wsss", [INDEX, NETWORK], dataset=dataset, params=params, own=own)
    progress = Progress("make_wsss", len(mine), unit="image", as_json=settings.json_progress)
    spec = {"semantic": ("uint8", VOID)}
    shape = (len(categories) + 1,)
    counts = {name: np.zeros(shape, np.int64) for name in ("labeled", "absent", "everywhere")}
    with (
        written_together(out, settings, made_from, map_names=["maps.zarr"]) as share,
        MapWriter(share.place / "maps.zarr", spec, len(every), layout, {"own": own}) as maps,
    ):
        find = partial(predictor.find, root=dataset.image_root) if predictor else None
        found = in_processes(find, mine, len(mine), device=device, settings=settings) if find else ()
        for record, semantic in zip(mine, found, strict=True):
            maps.write(record.row, "semantic", semantic)
            count(record, semantic, counts)
            progress.advance()
        share.sums = counts
    progress.close()
    write_warnings(out, unlikely_maps([each.name for each in categories], share.sums))


def count(record: ImageRecord, semantic: np.ndarray, counts: dict[str, np.ndarray]) -> None:
    """Add an image's labels to the counts of labels, of labels on no pixel, and of labels nearly everywhere."""
    parts = np.bincount(semantic.ravel(), minlength=VOID + 1) / semantic.size
    for category in record.labels:
        counts["labeled"][category] += 1
        counts["absent"][category] += parts[category] == 0
        counts["everywhere"][category] += parts[category] > NEARLY_EVERYWHERE


if __name__ == "__main__":
    run_stage("make_wsss", MakeWsss, spread(main, images=True), sys.argv[1:], in_parts=True)

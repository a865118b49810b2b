"""Replacements of inputs for single rows: true maps for WSSS maps, the network's instances for pseudo labels."""

import sys
from pathlib import Path

from PIL import Image

from bestie.artifacts.image_index import read_images
from bestie.artifacts.instances import instance_map
from bestie.artifacts.maps import MapReader, MapWriter
from bestie.artifacts.paths import folder
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, iter_images, iter_rows
from bestie.errors import InputError
from bestie.evaluation.true_maps import fill_void


def write_true_maps(target: Path) -> None:
    """Write the true semantic map of every training image as `<image_id>.png`; void has the nearest label.

    Raises:
        InputError: a training image has no truth.
    """
    maps = MapReader(folder("prepare") / "ground_truth.zarr")
    for record in read_images(folder("prepare") / "images.parquet", "train"):
        semantic = fill_void(maps.read(record.row, "semantic", record.height, record.width))
        if semantic is None:
            raise InputError(f"{record.image_id} is a training image without a true map; this row needs one for each")
        path = target / f"{record.image_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(semantic).save(path)


def labels_from_export() -> None:
    """Replace the pseudo labels with the network's instances on the training images (Table 5)."""
    index, labels = folder("prepare") / "images.parquet", folder("make_pseudo_labels")
    source = folder("export_mrcnn") / "instances.parquet"
    every = read_images(index)
    layout = MapReader(folder("import_wsss") / "maps.zarr").layout
    with MapWriter(labels / "maps.zarr", {"instance": ("uint16", 0)}, len(every), layout) as maps:
        for row, columns in iter_images(source, INSTANCES, ["instance_id", "rle"]):
            instance = instance_map(every[row], columns["instance_id"], columns["rle"], source=source)
            maps.write(row, "instance", instance)
    with TableWriter(labels / "instances.parquet", INSTANCES) as table:
        table.append_rows(iter_rows(source, INSTANCES))


def main() -> None:
    """Run `python -m bestie.tables.inputs true-maps FOLDER` or `labels-from-export` in a workspace."""
    try:
        if sys.argv[1] == "true-maps":
            write_true_maps(Path(sys.argv[2]))
        else:
            labels_from_export()
    except InputError as error:
        print(f"tables: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()

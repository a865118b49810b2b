"""What a run puts in the place of an output: true maps for WSSS maps, the network's instances for pseudo labels."""

import sys
from pathlib import Path

from PIL import Image

from bestie.artifacts.instances import instance_map
from bestie.artifacts.maps import MapReader
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, iter_images, iter_rows, read_categories, read_images
from bestie.detections import fill_void
from bestie.errors import InputError
from bestie.folders import folder
from bestie.label_maps import LabelMapWriter
from bestie.params_file import load_params


def write_true_maps(target: Path) -> None:
    """Write the true semantic map of every training image as `<image_id>.png`, void filled by the nearest label.

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


def labels_from_export(*, sigma_px: float) -> None:
    """Replace the pseudo labels by the network's instances on the training images (Table 5), in the same form."""
    index, labels = folder("prepare") / "images.parquet", folder("make_pseudo_labels")
    source = folder("export_mrcnn") / "instances.parquet"
    every = read_images(index)
    num_classes = len(read_categories(folder("prepare") / "categories.parquet"))
    canvas_hw = MapReader(folder("import_wsss") / "maps.zarr").canvas_hw
    with LabelMapWriter(
        labels / "maps.zarr", len(every), canvas_hw, num_classes=num_classes, sigma_px=sigma_px
    ) as maps:
        for row, columns in iter_images(source, INSTANCES, ["instance_id", "category_id", "rle"]):
            instance = instance_map(every[row], columns["instance_id"], columns["rle"], source=source)
            maps.write_labels(row, instance, columns["category_id"])
    with TableWriter(labels / "instances.parquet", INSTANCES) as table:
        table.append_rows(iter_rows(source, INSTANCES))


def main() -> None:
    """`python -m bestie.tables.inputs true-maps FOLDER` or `labels-from-export`, in a workspace."""
    try:
        if sys.argv[1] == "true-maps":
            write_true_maps(Path(sys.argv[2]))
        else:
            labels_from_export(sigma_px=load_params().make_pseudo_labels.sigma_px)
    except InputError as error:
        print(f"tables: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()

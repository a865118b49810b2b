"""The instance tables that the page shows."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class InstanceTable:
    """One instance table of a run.

    Attributes:
        key: its name in the data of the page.
        name: its name as readers see it.
        split: the split whose images it covers.
        path: its file, relative to the folder of artifacts.
        is_scored: whether it holds detections, of which those with a low score are left out; all labels count.
    """

    key: str
    name: str
    split: str
    path: Path
    is_scored: bool

    @property
    def stage(self) -> str:
        """The stage that writes the table."""
        return self.path.parts[0]


TABLES = (
    InstanceTable("bestie", "BESTIE", "val", Path("evaluate/bestie.parquet"), True),
    InstanceTable("mrcnn", "Mask R-CNN", "val", Path("evaluate/mrcnn.parquet"), True),
    InstanceTable("pseudo_labels", "Pseudo labels", "train", Path("make_pseudo_labels/instances.parquet"), False),
    InstanceTable("export", "Exported labels", "train", Path("export_mrcnn/instances.parquet"), False),
)
TRUTH = Path("prepare/ground_truth.parquet")
TRUE_MAPS = Path("prepare/ground_truth.zarr")
IMAGES = Path("prepare/images.parquet")
CATEGORIES = Path("prepare/categories.parquet")

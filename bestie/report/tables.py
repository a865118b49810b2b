"""The instance tables that the page looks into."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class InstanceTable:
    """One instance table of a run.

    Attributes:
        key: its name in the page's own data.
        name: its name for people.
        split: the images that it is about.
        path: its file, relative to the folder of artifacts.
        is_scored: it holds detections, of which those with a low score are not looked at; labels count as they are.
    """

    key: str
    name: str
    split: str
    path: Path
    is_scored: bool

    @property
    def stage(self) -> str:
        """The stage that writes it."""
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

"""What becomes of each class on its way through the pipeline: from labeled images to detections."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bestie.artifacts.image_index import read_images
from bestie.artifacts.metrics_json import read_json
from bestie.artifacts.schemas import COMPONENTS, CUES, INSTANCES, Schema
from bestie.artifacts.tables import count_categories, read_categories, read_table
from bestie.method.transfer import Status
from bestie.records import images_by_label
from bestie.report.instance_tables import CATEGORIES, IMAGES

AGREEMENT = Path("evaluate/agreement.json")


@dataclass(frozen=True)
class Step:
    """One step: its key, its name, the table that counts it, and the verdict that a row must have to count, if any."""

    key: str
    name: str
    path: Path
    schema: Schema
    status: Status | None = None


COMPONENT_TABLE = Path("make_pseudo_labels/components.parquet")
STEPS = (
    Step("cues", "cues", Path("extract_cues/cues.parquet"), CUES),
    Step("no_cue", "no cue", COMPONENT_TABLE, COMPONENTS, Status.NO_CUE),
    Step("several_cues", "several cues", COMPONENT_TABLE, COMPONENTS, Status.SEVERAL_CUES),
    Step("too_small", "too small", COMPONENT_TABLE, COMPONENTS, Status.TOO_SMALL),
    Step("pseudo_labels", "pseudo labels", Path("make_pseudo_labels/instances.parquet"), INSTANCES),
    Step("exported", "exported", Path("export_mrcnn/instances.parquet"), INSTANCES),
    Step("bestie", "BESTIE", Path("evaluate/bestie.parquet"), INSTANCES),
    Step("mrcnn", "Mask R-CNN", Path("evaluate/mrcnn.parquet"), INSTANCES),
)


@dataclass(frozen=True)
class FunnelRow:
    """One class.

    Attributes:
        name: its name.
        train: number of training images that are labeled with it.
        val: number of validation images that are labeled with it.
        counts: key of each step -> how many; None if the stage has not run.
        agreement: average precision of Mask R-CNN at IoU 0.5 if the network's instances were the truth, in per cent;
            None if it is not known.
    """

    name: str
    train: int
    val: int
    counts: dict[str, int | None]
    agreement: float | None

    @property
    def is_lost(self) -> bool:
        """Whether images show the class and a step after them has none of it.

        Of the detections, this can be said only if validation images are labeled with the class.
        """
        kept = ("cues", "pseudo_labels", "exported", *(("mrcnn",) if self.val else ()))
        return self.train > 0 and any(self.counts[key] == 0 for key in kept)


def read_funnel(data: Path) -> list[FunnelRow]:
    """Return the funnel of each class, in the order of their category_id; nothing if there is no data set yet.

    Args:
        data: the folder that holds the output folders of the stages.

    Raises:
        InputError: a table is damaged.
    """
    if not (data / IMAGES).is_file():
        return []
    records, categories = read_images(data / IMAGES), read_categories(data / CATEGORIES)
    labeled = {split: images_by_label(r for r in records if r.split == split) for split in ("train", "val")}
    counted = {step.key: _count(data / step.path, step) for step in STEPS}
    agreement = _agreement(data / AGREEMENT)
    return [
        FunnelRow(
            name=each.name,
            train=labeled["train"][each.category_id],
            val=labeled["val"][each.category_id],
            counts={key: None if counts is None else counts[each.category_id] for key, counts in counted.items()},
            agreement=agreement.get(each.name),
        )
        for each in categories
    ]


def funnel_json(rows: Sequence[FunnelRow]) -> list[dict[str, str | int | float | bool | None]]:
    """Return the rows as JSON values."""
    return [
        {
            "class": row.name,
            "train_images": row.train,
            "val_images": row.val,
            **row.counts,
            "agreement": row.agreement,
            "is_lost": row.is_lost,
        }
        for row in rows
    ]


def _count(path: Path, step: Step) -> Counter[int] | None:
    """Return the number of rows by category_id; None if there is no such table."""
    if not path.is_file():
        return None
    if step.status is None:
        return count_categories(path, step.schema)
    found = read_table(path, step.schema, ["category_id"], where={"status": step.status})
    return Counter(found["category_id"].tolist())


def _agreement(path: Path) -> dict[str, float | None]:
    return {row["class"]: row["models"] for row in read_json(path)["classes"]} if path.is_file() else {}

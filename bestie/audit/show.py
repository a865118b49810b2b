"""The life of one image in a version: its labels, cues, WSSS map, components with verdicts, and instances."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from bestie.artifacts.maps import MapReader
from bestie.artifacts.paths import folder
from bestie.artifacts.schemas import COMPONENTS as COMPONENTS_SCHEMA
from bestie.artifacts.schemas import CUES as CUES_SCHEMA
from bestie.artifacts.schemas import EVOLUTION as EVOLUTION_SCHEMA
from bestie.artifacts.schemas import INSTANCES, ORIGINS
from bestie.artifacts.tables import as_rows, read_table
from bestie.audit.components import component_masks, reason
from bestie.audit.sources import (
    COMPONENTS,
    CUES,
    EVOLUTION,
    EXPORT_ORIGINS,
    GROUND_TRUTH,
    WSSS_MAPS,
    Artifacts,
    instances_of,
)
from bestie.audit.versions import Version
from bestie.errors import InputError
from bestie.records import VOID, ImageRecord

Row = dict[str, Any]

#: Instance tables in the order of the stages: what they hold -> their path.
TABLES = {
    "pseudo labels": instances_of("make_pseudo_labels"),
    "exported labels": instances_of("export_mrcnn"),
    "BESTIE": str(folder("evaluate") / "bestie.parquet"),
    "Mask R-CNN": str(folder("evaluate") / "mrcnn.parquet"),
    "truth": GROUND_TRUTH,
}
TABLES_OF_SPLIT = {
    "train": ("pseudo labels", "exported labels", "truth"),
    "val": ("BESTIE", "Mask R-CNN", "truth"),
}


@dataclass(frozen=True)
class Cue:
    """One cue: its position in px, its score from 0 to 1, and the component of its class that it lies on (0: none)."""

    category: str
    y: float
    x: float
    score: float
    component_id: int


@dataclass(frozen=True)
class Component:
    """One component of the WSSS map, whether it became a label, and why."""

    component_id: int
    category: str
    area_px: int
    n_cues: int
    status: str
    instance_id: int
    reason: str


@dataclass
class Life:
    """What every stage made of one image.

    Attributes:
        version: the version that the image was looked up in.
        record: its entry in the index.
        names: the names of the classes; `names[c - 1]` is that of category_id c.
        semantic: its WSSS map; None if it has none, like validation images.
        wsss_px: number of pixels in its WSSS map by class name.
        cues: its cues.
        components: the components of its WSSS map.
        masks: the masks of these components; None if the map has no such component.
        instances: rows of the instance tables by what they hold (`TABLES`, and "refined labels").
        origins: instance_id of each exported label -> that of the pseudo label that it is, 0 if the network found it;
            empty for versions that do not record it.
        corrected_by: instance_id of each exported label that a person corrected -> who that was.
        epoch: the epoch of the refined labels, which are those of the last snapshot; None if there are none.
        missing: what cannot be shown, and why.
    """

    version: Version
    record: ImageRecord
    names: list[str]
    semantic: UInt8[np.ndarray, "h w"] | None = None
    wsss_px: dict[str, int] = field(default_factory=dict)
    cues: list[Cue] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    masks: list[np.ndarray | None] = field(default_factory=list)
    instances: dict[str, list[Row]] = field(default_factory=dict)
    origins: dict[int, int] = field(default_factory=dict)
    corrected_by: dict[int, str] = field(default_factory=dict)
    epoch: int | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """The image-level labels."""
        return [self.names[label - 1] for label in self.record.labels]

    def verdicts(self) -> dict[str, str]:
        """Return what became of each image-level label, in a sentence each; empty for a validation image."""
        return {name: self._verdict(name) for name in self.labels} if self.record.split == "train" else {}

    def _verdict(self, name: str) -> str:
        cues = [cue for cue in self.cues if cue.category == name]
        components = [each for each in self.components if each.category == name]
        labels = sum(each.instance_id > 0 for each in components)
        found = f"{_number(len(cues), 'cue')}, {_number(len(components), 'component')}"
        if labels:
            return f"{_number(labels, 'label')} from {found}"
        if self.semantic is not None and not self.wsss_px.get(name):
            return f"no label: the WSSS map has no pixel of it ({_number(len(cues), 'cue')})"
        if not cues:
            return f"no label: it has no cue ({_number(len(components), 'component')})"
        if not any(cue.component_id for cue in cues):
            return f"no label: its cues lie on none of its components ({found})"
        return f"no label from {found}: see the components"


def trace_image(artifacts: Artifacts, image_id: str) -> Life:
    """Collect what the stages of a version made of one image.

    `missing` names what the version lacks, or what is neither in the cache nor in a remote.

    Raises:
        InputError: the version has no such image, or its index cannot be read.
    """
    record = artifacts.record(image_id)
    life = Life(artifacts.version, record, [category.name for category in artifacts.categories])
    if record.split == "train":
        _attempt(life, _add_semantic, artifacts)
        _attempt(life, _add_components, artifacts)
    for name in TABLES_OF_SPLIT[record.split]:
        _attempt(life, _add_instances, artifacts, name, TABLES[name])
        if name == "pseudo labels":
            _attempt(life, _add_refined, artifacts)
        if name == "exported labels" and artifacts.has(EXPORT_ORIGINS):
            _attempt(life, _add_origins, artifacts)
    return life


def _attempt(life: Life, step: Callable[..., None], artifacts: Artifacts, *arguments: str) -> None:
    try:
        step(life, artifacts, *arguments)
    except InputError as error:
        life.missing.append(str(error))


def _add_semantic(life: Life, artifacts: Artifacts) -> None:
    record = life.record
    life.semantic = MapReader(artifacts.folder(WSSS_MAPS)).read(record.row, "semantic", record.height, record.width)
    counts = np.bincount(life.semantic.ravel(), minlength=VOID + 1)
    life.wsss_px = {name: int(counts[number]) for number, name in enumerate(life.names, start=1) if counts[number]}


def _add_components(life: Life, artifacts: Artifacts) -> None:
    """Add the components and the cues; a cue belongs to the component of its class that it lies on."""
    cues = list(as_rows(read_table(artifacts.file(CUES), CUES_SCHEMA, where={"row": life.record.row})))
    rows = list(as_rows(read_table(artifacts.file(COMPONENTS), COMPONENTS_SCHEMA, where={"row": life.record.row})))
    life.masks = [None] * len(rows) if life.semantic is None else component_masks(life.semantic, rows)
    owners = [_owner(cue, rows, life.masks) for cue in cues]
    life.cues = [
        Cue(life.names[cue["category_id"] - 1], float(cue["y"]), float(cue["x"]), float(cue["score"]), owner)
        for cue, owner in zip(cues, owners, strict=True)
    ]
    least = artifacts.version.lineage.stages["make_pseudo_labels"].params.get("make_pseudo_labels.min_area_px")
    for row in rows:
        scores = [cue.score for cue in life.cues if cue.component_id == row["component_id"]]
        life.components.append(
            Component(
                component_id=int(row["component_id"]),
                category=life.names[row["category_id"] - 1],
                area_px=int(row["area_px"]),
                n_cues=int(row["n_cues"]),
                status=str(row["status"]),
                instance_id=int(row["instance_id"]),
                reason=reason(row, scores, least),
            )
        )


def _owner(cue: Row, rows: Sequence[Row], masks: Sequence[np.ndarray | None]) -> int:
    """Return the id of the component of its class that a cue lies on, 0 if there is none."""
    y, x = round(float(cue["y"])), round(float(cue["x"]))
    for row, mask in zip(rows, masks, strict=True):
        if row["category_id"] == cue["category_id"] and mask is not None and mask[y, x]:
            return int(row["component_id"])
    return 0


def _add_instances(life: Life, artifacts: Artifacts, name: str, path: str) -> None:
    life.instances[name] = list(as_rows(read_table(artifacts.file(path), INSTANCES, where={"row": life.record.row})))


def _add_origins(life: Life, artifacts: Artifacts) -> None:
    columns = read_table(artifacts.file(EXPORT_ORIGINS), ORIGINS, where={"row": life.record.row})
    rows = list(as_rows(columns))
    life.origins = {int(row["instance_id"]): int(row["pseudo_id"]) for row in rows}
    life.corrected_by = {int(row["instance_id"]): row["corrected_by"] for row in rows if row["corrected_by"]}


def _add_refined(life: Life, artifacts: Artifacts) -> None:
    """Add the refined labels of the last snapshot, which covers some of the training images."""
    epochs = read_table(artifacts.file(EVOLUTION), EVOLUTION_SCHEMA, ["epoch"], {"kind": "refined"})["epoch"]
    last = int(max(epochs, default=0))
    where = {"row": life.record.row, "kind": "refined", "epoch": last}
    rows = list(as_rows(read_table(artifacts.file(EVOLUTION), EVOLUTION_SCHEMA, where=where)))
    if not rows:
        life.missing.append(
            f"{artifacts.name(EVOLUTION)} has no refined labels of this image: there were none in the last snapshot, "
            "or the snapshots leave it out (train_bestie.evolution_images)."
        )
        return
    life.epoch, life.instances["refined labels"] = last, rows


def _number(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"

"""The check that pseudo labels are consistent: masks, maps, components, cues, and the WSSS maps they came from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from bestie.artifacts.instances import decode_mask, mask_center_yx
from bestie.artifacts.maps import MapReader
from bestie.artifacts.schemas import COMPONENTS as COMPONENTS_SCHEMA
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.schemas import WSSS_SUMMARY as WSSS_SCHEMA
from bestie.artifacts.tables import Columns, as_rows, iter_images
from bestie.audit.findings import Finding
from bestie.audit.pairing import ImageStream
from bestie.audit.sources import (
    ACTIVATIONS,
    COMPONENTS,
    IMAGES,
    PSEUDO_MAPS,
    WSSS_MAPS,
    WSSS_SUMMARY,
    Artifacts,
    instances_of,
)
from bestie.method.transfer import Status
from bestie.records import VOID, ImageRecord

TABLE = instances_of("make_pseudo_labels")
#: Status -> the least and the greatest number of cues that it allows; None: no limit.
CUES_OF_STATUS = {Status.ACCEPTED: (1, 1), Status.NO_CUE: (0, 0), Status.SEVERAL_CUES: (2, None)}


def check_shapes(artifacts: Artifacts, path: str) -> Iterator[Finding]:
    """Check that a group of maps has an entry for each image, and a canvas that fits the largest one."""
    maps = MapReader(artifacts.folder(path))
    stride_px = maps.attributes.get("stride_px", 1)
    sizes = [(-(-record.height // stride_px), -(-record.width // stride_px)) for record in artifacts.images]
    largest = [max(side) for side in zip(*sizes, strict=True)] if sizes else [0, 0]
    for name in maps.names:
        shape = maps.shape(name)
        if shape[0] != len(sizes):
            yield Finding(path, name, f"it has {shape[0]} rows, but {IMAGES} has {len(sizes)}")
        if any(side < needed for side, needed in zip(shape[-2:], largest, strict=True)):
            yield Finding(path, name, f"its canvas {shape[-2:]} is smaller than the largest image, {tuple(largest)}")
        if path == ACTIVATIONS and shape[1] != len(artifacts.categories):
            yield Finding(path, name, f"it has {shape[1]} classes, but there are {len(artifacts.categories)}")


def check_wsss(artifacts: Artifacts, advance: Callable[[], None]) -> Iterator[Finding]:
    """Check that the WSSS maps hold only existing classes, and as many pixels of each as their summary says.

    `advance` is called for each training image.
    """
    maps = MapReader(artifacts.folder(WSSS_MAPS))
    stream = ImageStream(iter_images(artifacts.file(WSSS_SUMMARY), WSSS_SCHEMA))
    known = len(artifacts.categories)
    for record in artifacts.training_images:
        advance()
        place = f"image {record.image_id}"
        semantic = maps.read(record.row, "semantic", record.height, record.width)
        counts = np.bincount(semantic.ravel(), minlength=VOID + 1)
        if counts[known + 1 : VOID].any():
            unknown = int(np.flatnonzero(counts[known + 1 : VOID])[0]) + known + 1
            yield Finding(WSSS_MAPS, place, f"it has the class {unknown}, but there are {known}")
        summary = stream.take(record.row)
        if not summary:
            yield Finding(WSSS_SUMMARY, place, "it has no row")
            continue
        counted = [*np.asarray(summary["category_px"][0]), summary["background_px"][0], summary["void_px"][0]]
        if [int(each) for each in counted] != [*counts[1 : known + 1].tolist(), counts[0], counts[VOID]]:
            yield Finding(WSSS_MAPS, place, f"its pixels by class are not those of {WSSS_SUMMARY}")


def check_pseudo_labels(artifacts: Artifacts, advance: Callable[[], None]) -> Iterator[Finding]:
    """Check instances against their maps and components, and components against the WSSS map.

    `advance` is called for each training image.
    """
    instances = ImageStream(iter_images(artifacts.file(TABLE), INSTANCES))
    components = ImageStream(iter_images(artifacts.file(COMPONENTS), COMPONENTS_SCHEMA))
    maps, wsss = MapReader(artifacts.folder(PSEUDO_MAPS)), MapReader(artifacts.folder(WSSS_MAPS))
    for record in artifacts.training_images:
        advance()
        size = (record.height, record.width)
        image = _Image(record, instances.take(record.row), components.take(record.row))
        yield from _check_components(image, wsss.read(record.row, "semantic", *size))
        try:
            masks = [decode_mask(str(rle), *size) for rle in image.instances.get("rle", ())]
        except ValueError:
            continue  # the check of the table reports it
        yield from _check_map(image, masks, maps.read(record.row, "instance", *size))


@dataclass(frozen=True)
class _Image:
    """The rows of one image in both tables; a table without any has no columns here."""

    record: ImageRecord
    instances: Columns
    components: Columns

    @property
    def place(self) -> str:
        return f"image {self.record.image_id}"

    @property
    def centers_yx(self) -> Integer[np.ndarray, "n 2"]:
        if not self.instances:
            return np.zeros((0, 2), np.int64)
        return np.stack([self.instances["center_y"], self.instances["center_x"]], axis=1).astype(np.int64)


def _check_components(image: _Image, semantic: UInt8[np.ndarray, "h w"]) -> Iterator[Finding]:
    """Check that each component is counted once, its verdict fits its cues, and the accepted ones are the instances."""
    rows, found = list(as_rows(image.components)), list(as_rows(image.instances))
    if [row["component_id"] for row in rows] != list(range(1, len(rows) + 1)):
        yield Finding(COMPONENTS, image.place, f"its component ids are not 1 to {len(rows)}")
    for label in image.record.labels:
        area = sum(int(row["area_px"]) for row in rows if row["category_id"] == label)
        if area != (pixels := int((semantic == label).sum())):
            yield Finding(COMPONENTS, image.place, f"class {label} has {area} px, but {pixels} in {WSSS_MAPS}")
    accepted = [int(row["instance_id"]) for row in rows if row["instance_id"]]
    if sorted(accepted) != list(range(1, len(found) + 1)):
        problem = f"the accepted ones are the instances {accepted}, but {TABLE} has {len(found)}"
        yield Finding(COMPONENTS, image.place, problem)
    for row in rows:
        place = f"{image.place}, component {row['component_id']}"
        for problem in _wrong_verdict(row):
            yield Finding(COMPONENTS, place, problem)
        if 0 < row["instance_id"] <= len(found):
            instance = found[int(row["instance_id"]) - 1]
            for name in ("category_id", "area_px", "bbox_xywh"):
                if not np.array_equal(row[name], instance[name]):
                    yield Finding(COMPONENTS, place, f"its {name} is not that of instance {row['instance_id']}")


def _wrong_verdict(row: dict[str, Any]) -> Iterator[str]:
    if row["status"] not in list(Status):
        yield f"its status '{row['status']}' is unknown"
        return
    if (row["status"] == Status.ACCEPTED) != (row["instance_id"] > 0):
        yield f"its status is {row['status']}, but its instance_id {row['instance_id']}"
    least, most = CUES_OF_STATUS.get(Status(row["status"]), (0, None))
    if row["n_cues"] < least or (most is not None and row["n_cues"] > most):
        yield f"its status is {row['status']}, but it has {row['n_cues']} cues"


def _check_map(
    image: _Image, masks: list[Bool[np.ndarray, "h w"]], instance: Integer[np.ndarray, "h w"]
) -> Iterator[Finding]:
    """Check that masks do not overlap, that centers are their centroids, and that the instance map shows the masks."""
    expected = np.zeros((image.record.height, image.record.width), np.int64)
    for number, mask in enumerate(masks, start=1):
        if (expected[mask] > 0).any():
            yield Finding(TABLE, f"{image.place}, instance {number}", "its mask overlaps another one")
        expected[mask] = number
    for number, (mask, center) in enumerate(zip(masks, image.centers_yx, strict=True), start=1):
        if mask.any() and center.tolist() != (centroid := [int(each) for each in mask_center_yx(mask)]):
            yield Finding(
                TABLE, f"{image.place}, instance {number}", f"its center is {center.tolist()}, its centroid {centroid}"
            )
    if (wrong := int((instance != expected).sum())) > 0:
        yield Finding(PSEUDO_MAPS, image.place, f"'instance' differs from the rle of {TABLE} in {wrong} px")

"""The export with pseudo labels and WSSS maps: what Mask R-CNN learns from, and where each label comes from."""

from pathlib import Path

import numpy as np
import pytest

from bestie.artifacts import schemas
from bestie.artifacts.image_index import read_images
from bestie.artifacts.instances import decode_mask
from bestie.artifacts.maps import MapReader
from bestie.artifacts.tables import iter_rows
from bestie.audit.show import trace_image
from bestie.audit.sources import Artifacts
from bestie.audit.versions import History
from tests import workspace as ws
from tests.audit_project import Project

EXPORT = Path("data/export_mrcnn")
PSEUDO = Path("data/make_pseudo_labels/instances.parquet")


def exported() -> list[tuple[dict, int]]:
    """Each exported label with the pseudo label that it is, 0 for one of the network."""
    rows = iter_rows(EXPORT / "instances.parquet", schemas.INSTANCES)
    origins = iter_rows(EXPORT / "origins.parquet", schemas.ORIGINS)
    found = []
    for row, origin in zip(rows, origins, strict=True):
        assert [row[name] for name in ("image_id", "row", "instance_id")] == list(origin.values())[:3]
        found.append((row, origin["pseudo_id"]))
    return found


def test_by_default_all_labels_are_the_networks(finished_run: Path):
    assert {pseudo_id for _, pseudo_id in exported()} == {0}


@pytest.mark.parametrize("semantic_map", ["network", "wsss"])
def test_all_pseudo_labels_are_exported_as_they_are_and_no_label_overlaps_another(workspace: Path, semantic_map: str):
    ws.set_params("export_mrcnn.pseudo_labels=true", f"export_mrcnn.semantic_map={semantic_map}")
    ws.run("export_mrcnn")
    labels = exported()
    kept = {(row["row"], pseudo_id): row["rle"] for row, pseudo_id in labels if pseudo_id}
    assert kept == {(row["row"], row["instance_id"]): row["rle"] for row in iter_rows(PSEUDO, schemas.INSTANCES)}
    records = read_images(Path("data/prepare/images.parquet"))
    covered = {record.row: np.zeros((record.height, record.width), int) for record in records}
    for row, _ in labels:
        covered[row["row"]] += decode_mask(row["rle"], *covered[row["row"]].shape)
    assert max(each.max() for each in covered.values()) == 1
    assert len(labels) > len(kept), "the network adds nothing, so nothing of it is tested"


def test_components_of_the_wsss_map_are_split_where_it_is_asked_for(workspace: Path):
    ws.set_params("export_mrcnn.semantic_map=wsss", "export_mrcnn.min_score=0")
    ws.run("export_mrcnn")
    maps, records = MapReader(Path("data/import_wsss/maps.zarr")), read_images(Path("data/prepare/images.parquet"))
    labels = exported()
    assert labels
    for row, _ in labels:
        size = (records[row["row"]].height, records[row["row"]].width)
        inside = maps.read(row["row"], "semantic", *size)[decode_mask(row["rle"], *size)]
        assert (inside == row["category_id"]).all()


def test_the_audit_tells_where_an_exported_label_comes_from(project: Project):
    ws.set_params("export_mrcnn.pseudo_labels=true")
    ws.run("export_mrcnn")
    project.commit("with pseudo labels", "export_mrcnn")
    labels = exported()
    image_id = next(row["image_id"] for row, pseudo_id in labels if pseudo_id)
    life = trace_image(Artifacts(History().resolve("HEAD", "export_mrcnn")), image_id)
    assert life.origins == {row["instance_id"]: pseudo for row, pseudo in labels if row["image_id"] == image_id}

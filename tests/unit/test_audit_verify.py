"""Silent corruption is found and named, in the stored bytes and in contents that were wrong when they were written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from bestie.artifacts.instances import decode_mask, encode_mask
from bestie.artifacts.schemas import CATEGORIES as CATEGORIES_SCHEMA
from bestie.artifacts.schemas import COMPONENTS as COMPONENTS_SCHEMA
from bestie.artifacts.schemas import CUES as CUES_SCHEMA
from bestie.artifacts.schemas import IMAGES as IMAGES_SCHEMA
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.schemas import WSSS_SUMMARY as WSSS_SCHEMA
from bestie.artifacts.tables import TableWriter, iter_rows
from bestie.audit.check_export import ANNOTATIONS
from bestie.audit.findings import LIMIT
from bestie.audit.sources import (
    ACTIVATIONS,
    CATEGORIES,
    COMPONENTS,
    CUES,
    IMAGES,
    PSEUDO_MAPS,
    WSSS_MAPS,
    WSSS_SUMMARY,
    Artifacts,
    instances_of,
)
from bestie.audit.verify import verify_version
from bestie.audit.versions import WORKSPACE, History
from tests.audit_project import LABELS, Project, write_maps_of_before

TABLE = instances_of("make_pseudo_labels")
EXPORT = instances_of("export_mrcnn")
Row = dict[str, Any]


def verify(name: str = "HEAD", stage: str | None = None) -> list[str]:
    artifacts = Artifacts(History().resolve(name, stage))
    return [str(finding) for finding in verify_version(artifacts)]


def rewrite(path: str, schema: Any, edit: Callable[[list[Row]], list[Row]]) -> None:
    """Write a table anew with edited rows: a fault that has the right hash."""
    rows = edit(list(iter_rows(Path(path), schema)))
    with TableWriter(Path(path), schema) as writer:
        writer.append_rows(rows)


def edit_first(path: str, schema: Any, **values: Any) -> None:
    rewrite(path, schema, lambda rows: [{**rows[0], **values}, *rows[1:]])


def flip_byte(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def only(findings: list[str], *words: str) -> None:
    """All findings are of these kinds, and each kind is there."""
    assert findings
    assert [text for text in findings if not any(word in text for word in words)] == []
    assert [word for word in words if not any(word in text for text in findings)] == []


def first_row(path: str, schema: Any) -> Row:
    return next(iter_rows(Path(path), schema))


@pytest.mark.parametrize("stage", ["make_pseudo_labels", "export_mrcnn"])
@pytest.mark.parametrize("name", ["HEAD", WORKSPACE])
def test_a_finished_run_is_sound(project: Project, name: str, stage: str):
    assert verify(name, stage) == []


@pytest.mark.parametrize("name", ["HEAD", WORKSPACE])
def test_a_version_of_before_with_offset_and_center_maps_is_sound(project: Project, name: str):
    write_maps_of_before()
    project.commit("as the maps were before", "make_pseudo_labels")
    assert verify(name) == []


def test_a_flipped_byte_in_a_cached_shard_is_found_and_its_file_named(project: Project):
    files = project.files_of("make_pseudo_labels", PSEUDO_MAPS)
    shard = next(name for name in files if name.startswith("instance/c/"))
    flip_byte(project.stored(files[shard]))
    findings = verify()
    assert f"{PSEUDO_MAPS}: {shard}: its bytes are not those that were written" in findings[0]
    assert verify(WORKSPACE) == []


def test_a_flipped_byte_in_the_workspace_is_found_and_its_file_named(project: Project):
    shard = next(
        path for path in Path(PSEUDO_MAPS).rglob("*") if path.is_file() and path.parts[3:5] == ("instance", "c")
    )
    flip_byte(shard)
    only(verify(WORKSPACE), f"{PSEUDO_MAPS}: {shard.relative_to(PSEUDO_MAPS)}: its bytes are not", PSEUDO_MAPS)
    assert verify() == []


def test_a_flipped_byte_in_a_cached_table_is_found(project: Project):
    flip_byte(project.stored(project.out("extract_cues", CUES)))
    assert any(text.startswith(f"{CUES}: its bytes are not those that were written") for text in verify())


def test_a_changed_listing_is_found(project: Project):
    path = project.stored(project.out("import_wsss", WSSS_MAPS))
    entries = json.loads(path.read_bytes())
    path.write_text(json.dumps(entries[:-1]), encoding="utf-8")
    assert any(text.startswith(f"{WSSS_MAPS}: its listing: its bytes are not") for text in verify())


def test_missing_objects_and_files_are_found(project: Project):
    project.stored(project.out("extract_cues", CUES)).unlink()
    Path(COMPONENTS).unlink()
    assert any(text.startswith(f"{CUES}: {CUES} of") and "is not in the cache" in text for text in verify())
    assert f"{COMPONENTS}: it does not exist; `dvc checkout` restores it from the cache" in verify(WORKSPACE)


def test_a_file_too_many_in_a_folder_of_the_workspace_is_found(project: Project):
    (Path(WSSS_MAPS) / "notes.txt").write_text("hello", encoding="utf-8")
    next(path for path in Path(PSEUDO_MAPS).rglob("*") if path.is_file() and "c" in path.parts).unlink()
    findings = verify(WORKSPACE)
    assert f"{WSSS_MAPS}: notes.txt: it was not there when the stage ended" in findings
    assert any(text.startswith(PSEUDO_MAPS) and text.endswith("it does not exist") for text in findings)


def test_a_changed_rle_is_found_by_area_box_map_and_components(project: Project):
    row = first_row(TABLE, INSTANCES)
    record = Artifacts(History().resolve("HEAD")).images[row["row"]]
    mask = decode_mask(row["rle"], record.height, record.width)
    mask[np.argwhere(mask)[0][0]] = False
    edit_first(TABLE, INSTANCES, rle=encode_mask(mask))
    project.commit("wrong", *LABELS)
    place = f"{TABLE}: image {record.image_id}, instance 1: "
    only(verify(), f"{place}its area_px", f"{place}its bbox_xywh", "'instance' differs from the rle", place)


def test_a_damaged_rle_is_found(project: Project):
    edit_first(TABLE, INSTANCES, rle="damaged")
    project.commit("wrong", *LABELS)
    only(verify(), "its rle is damaged")


def test_a_changed_area_is_found(project: Project):
    edit_first(TABLE, INSTANCES, area_px=1)
    project.commit("wrong", *LABELS)
    only(verify(), "its area_px is 1, but its mask has", "its area_px is not that of instance 1")


def test_swapped_rows_are_found(project: Project):
    rewrite(TABLE, INSTANCES, lambda rows: [rows[-1], *rows[1:-1], rows[0]])
    project.commit("wrong", *LABELS)
    only(verify(), f"{TABLE} of", "is not ordered by its column row")


def test_swapped_ids_are_found(project: Project):
    def swap(rows: list[Row]) -> list[Row]:
        other = next(row for row in rows if row["row"] != rows[0]["row"])
        return [{**row, "image_id": other["image_id"]} if row["row"] == rows[0]["row"] else row for row in rows]

    rewrite(TABLE, INSTANCES, swap)
    project.commit("wrong", *LABELS)
    only(verify(), f"its image_id is {first_row(TABLE, INSTANCES)['image_id']}, but {IMAGES} has")


def test_a_row_beyond_the_index_is_found(project: Project):
    rewrite(CUES, CUES_SCHEMA, lambda rows: [*rows, {**rows[-1], "row": 999}])
    project.commit("wrong", *LABELS)
    only(verify(), f"{CUES}: row 999: {IMAGES} has no such row, only 32")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"center_y": 9999.0}, "lies outside the image of"),
        ({"score": 1.5}, "its score is 1.5, not in 0..1"),
        ({"score": float("nan")}, "its score is nan, not in 0..1"),
        ({"instance_id": 7}, "its instance ids are [7"),
        ({"category_id": 99}, "its category_id 99 is not one of"),
    ],
)
def test_a_wrong_value_of_an_instance_is_found(project: Project, values: Row, message: str):
    edit_first(TABLE, INSTANCES, **values)
    project.commit("wrong", *LABELS)
    assert any(message in text for text in verify())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"status": "odd"}, "its status 'odd' is unknown"),
        ({"component_id": 9}, "its component ids are not 1 to"),
        ({"area_px": 1}, f"px in {WSSS_MAPS}".replace("px in", "in")),
        ({"instance_id": 5}, "the accepted ones are the instances ["),
        ({"n_cues": 5, "status": "no_cue", "instance_id": 0}, "its status is no_cue, but it has 5 cues"),
    ],
)
def test_a_wrong_component_is_found(project: Project, values: Row, message: str):
    edit_first(COMPONENTS, COMPONENTS_SCHEMA, **values)
    project.commit("wrong", *LABELS)
    findings = verify()
    assert any(text.startswith(COMPONENTS) and message in text for text in findings), findings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"y": 500.0}, "it lies outside the image"),
        ({"category_id": 99}, "the image has no such label"),
        ({"score": -1.0}, "its score is not in 0..1"),
    ],
)
def test_a_wrong_cue_is_found(project: Project, values: Row, message: str):
    edit_first(CUES, CUES_SCHEMA, **values)
    project.commit("wrong", *LABELS)
    only(verify(), f"cue 1: {message}")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"row": 5}, "is row 5 and stands in row 0"),
        ({"split": "test"}, "its split is 'test', neither train nor val"),
        ({"height": 0}, "of 0x"),
        ({"labels": [3, 1]}, "its labels [3, 1] are not ascending category ids"),
        ({"labels": [99]}, "its labels [99] are not ascending category ids"),
    ],
)
def test_a_wrong_index_is_found(project: Project, values: Row, message: str):
    edit_first(IMAGES, IMAGES_SCHEMA, **values)
    project.commit("wrong", *LABELS)
    found = verify()
    assert any(text.startswith(IMAGES) and message in text for text in found), found


def test_an_image_id_and_a_category_that_occur_twice_are_found(project: Project):
    rewrite(IMAGES, IMAGES_SCHEMA, lambda rows: [*rows[:-1], {**rows[-1], "image_id": rows[-2]["image_id"]}])
    rewrite(CATEGORIES, CATEGORIES_SCHEMA, lambda rows: [*rows[:-1], {**rows[-1], "name": rows[0]["name"]}])
    project.commit("wrong", *LABELS)
    findings = verify()
    assert any("its image_id occurs twice" in text for text in findings)
    assert any(text.startswith(CATEGORIES) and "the name occurs twice" in text for text in findings)


def test_maps_that_do_not_fit_their_table_are_found(project: Project):
    row = first_row(TABLE, INSTANCES)
    record = Artifacts(History().resolve("HEAD")).images[row["row"]]
    y, x = np.argwhere(decode_mask(row["rle"], record.height, record.width))[-1]
    group = zarr.open_group(PSEUDO_MAPS, mode="r+")
    group["instance"][record.row, y, x] = group["instance"][record.row, y, x] + 3
    project.commit("wrong", *LABELS)
    only(verify(), f"{PSEUDO_MAPS}: image {record.image_id}: 'instance' differs")


def test_a_center_that_is_not_the_centroid_is_found(project: Project):
    row = first_row(TABLE, INSTANCES)
    edit_first(TABLE, INSTANCES, center_x=row["center_x"] + 2)
    project.commit("wrong", *LABELS)
    only(verify(), "its centroid")


def test_wsss_maps_that_do_not_fit_their_summary_are_found(project: Project):
    edit_first(WSSS_SUMMARY, WSSS_SCHEMA, background_px=1)
    rewrite(WSSS_SUMMARY, WSSS_SCHEMA, lambda rows: [rows[0], *rows[2:]])
    group = zarr.open_group(WSSS_MAPS, mode="r+")
    group["semantic"][2, 0, 0] = 77
    project.commit("wrong", *LABELS)
    findings = [text for text in verify() if "import_wsss" in text.split(":")[0]]
    only(findings, "its pixels by class are not those of", "it has no row", "it has the class 77, but there are")


def test_maps_of_another_number_of_images_or_classes_are_found(project: Project):
    for path, name in ((WSSS_MAPS, "semantic"), (ACTIVATIONS, "activation")):
        metadata = Path(path) / name / "zarr.json"
        values = json.loads(metadata.read_text(encoding="utf-8"))
        values["shape"][0] = 31
        metadata.write_text(json.dumps(values), encoding="utf-8")
    project.commit("wrong", *LABELS)
    findings = verify()
    assert f"{WSSS_MAPS}: semantic: it has 31 rows, but {IMAGES} has 32" in findings
    assert f"{ACTIVATIONS}: activation: it has 31 rows, but {IMAGES} has 32" in findings


def test_annotations_that_are_not_those_of_the_table_are_found(project: Project):
    written = json.loads(Path(ANNOTATIONS).read_text(encoding="utf-8"))
    written["annotations"][0]["area"] += 1
    Path(ANNOTATIONS).write_text(json.dumps(written), encoding="utf-8")
    project.commit("wrong", "export_mrcnn")
    only(verify("HEAD", "export_mrcnn"), f"{ANNOTATIONS}: annotation 1: its area is not that of instance 1 of {EXPORT}")


@pytest.mark.parametrize(
    ("count", "message"),
    [(-1, "but data/export_mrcnn/instances.parquet has more instances"), (1, "it has more annotations than")],
)
def test_annotations_too_few_or_too_many_are_found(project: Project, count: int, message: str):
    written = json.loads(Path(ANNOTATIONS).read_text(encoding="utf-8"))
    every = written["annotations"]
    written["annotations"] = every[:-1] if count < 0 else [*every, every[-1]]
    Path(ANNOTATIONS).write_text(json.dumps(written), encoding="utf-8")
    project.commit("wrong", "export_mrcnn")
    only(verify("HEAD", "export_mrcnn"), message)


def test_annotations_that_are_no_json_are_found(project: Project):
    Path(ANNOTATIONS).write_text("{", encoding="utf-8")
    project.commit("wrong", "export_mrcnn")
    only(verify("HEAD", "export_mrcnn"), "is no valid JSON")
    only(verify(WORKSPACE, "export_mrcnn"), "is no valid JSON")


def test_a_file_that_is_wrong_throughout_is_not_listed_row_by_row(project: Project):
    rewrite(CUES, CUES_SCHEMA, lambda rows: [{**row, "score": -1.0} for row in rows])
    project.commit("wrong", *LABELS)
    findings = [text for text in verify() if text.startswith(CUES)]
    assert len(findings) == LIMIT + 1
    assert findings[-1] == f"{CUES}: more is wrong; the first {LIMIT} findings are listed"


def test_a_table_of_an_older_schema_is_a_finding(project: Project):
    older = CUES_SCHEMA.remove(CUES_SCHEMA.get_field_index("score"))
    rows = [{name: row[name] for name in older.names} for row in iter_rows(Path(CUES), CUES_SCHEMA)]
    with TableWriter(Path(CUES), older) as writer:
        writer.append_rows(rows)
    project.commit("older", *LABELS)
    only(verify(), "has no column score. It was written by other code than this")

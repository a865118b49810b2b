"""What becomes of each class: the numbers of the funnel are those of the tables, and a lost class is named."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from bestie.artifacts.metrics_json import read_json
from bestie.artifacts.paths import DATA
from bestie.report.funnel import STEPS, FunnelRow, funnel_json, read_funnel
from tests import workspace as ws
from tests.unit.test_summary import printed


def counts(path: str, **wanted: str) -> Counter:
    rows = pq.read_table(DATA / path).to_pylist()
    return Counter(row["category_id"] for row in rows if all(row[key] == value for key, value in wanted.items()))


def test_every_number_is_that_of_its_table(finished_run: Path):
    rows = read_funnel(DATA)
    images = pq.read_table(DATA / "prepare/images.parquet").to_pylist()
    tables = {
        "cues": counts("extract_cues/cues.parquet"),
        "no_cue": counts("make_pseudo_labels/components.parquet", status="no_cue"),
        "several_cues": counts("make_pseudo_labels/components.parquet", status="several_cues"),
        "too_small": counts("make_pseudo_labels/components.parquet", status="too_small"),
        "pseudo_labels": counts("make_pseudo_labels/components.parquet", status="accepted"),
        "exported": counts("export_mrcnn/instances.parquet"),
        "bestie": counts("evaluate/bestie.parquet"),
        "mrcnn": counts("evaluate/mrcnn.parquet"),
    }
    assert [step.key for step in STEPS] == list(tables)
    assert any(row.counts["pseudo_labels"] for row in rows)
    agreement = {row["class"]: row["models"] for row in read_json(DATA / "evaluate/agreement.json")["classes"]}
    for number, row in enumerate(rows, start=1):
        assert row.counts == {key: table[number] for key, table in tables.items()}
        assert row.train == sum(number in each["labels"] for each in images if each["split"] == "train")
        assert row.val == sum(number in each["labels"] for each in images if each["split"] == "val")
        assert row.agreement == agreement[row.name]
        assert row.is_lost == any(not row.counts[key] for key in ("cues", "pseudo_labels", "exported", "mrcnn"))
    assert [each["class"] for each in funnel_json(rows)] == [row.name for row in rows]
    text = printed()
    assert "From labeled images to detections" in text
    assert all(row.name in text for row in rows)


def test_before_a_stage_has_run_its_numbers_are_missing_and_nothing_is_lost(workspace: Path):
    for stage in ("export_mrcnn", "evaluate"):
        for path in ws.declared_outputs(stage):
            if path.is_file():
                path.unlink()
    for row in read_funnel(DATA):
        assert row.counts["exported"] is row.counts["mrcnn"] is row.agreement is None
        assert row.counts["cues"] is not None


def test_a_class_of_no_validation_image_is_not_lost_for_want_of_detections():
    counts = {step.key: 3 for step in STEPS} | {"mrcnn": 0}
    assert not FunnelRow("cat", train=5, val=0, counts=counts, agreement=None).is_lost
    assert FunnelRow("cat", train=5, val=1, counts=counts, agreement=None).is_lost
    assert FunnelRow("cat", train=5, val=0, counts={**counts, "exported": 0}, agreement=None).is_lost


def test_a_class_without_exported_labels_is_a_warning_and_lost(workspace: Path):
    ws.set_params("export_mrcnn.min_score=1.0", "export_mrcnn.pseudo_labels=false")
    ws.run("export_mrcnn")
    (warning,) = read_json(DATA / "export_mrcnn/warnings.json")
    rows = read_funnel(DATA)
    assert all(row.is_lost for row in rows if row.train)
    assert warning["what"].startswith("no exported label for ")
    assert all(f"{row.name} (in {row.train} training images)" in warning["what"] for row in rows if row.train)
    assert "(lost)" in printed()

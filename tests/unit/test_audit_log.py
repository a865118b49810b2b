"""The log says for every version what changed, what it was made from, and how many labels are right."""

import json
from pathlib import Path

import pytest

from bestie.artifacts.metrics_json import read_json
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter, iter_rows, read_table
from bestie.audit import counts as counting
from bestie.audit.counts import count_labels
from bestie.audit.log import LogEntry, log_versions
from bestie.audit.sources import CLASSIFIER, CUES, GROUND_TRUTH, IMAGES, NETWORK, WSSS_MAPS, Artifacts, instances_of
from bestie.audit.versions import History
from tests import workspace as ws
from tests.audit_project import Project


def entries(stage: str = "make_pseudo_labels", **options: Path) -> list[LogEntry]:
    return list(log_versions(History(), [stage], **options))


@pytest.mark.parametrize(("stage", "name"), [("make_pseudo_labels", "pseudo_labels"), ("export_mrcnn", "export")])
def test_counts_are_those_of_the_evaluation(project: Project, monkeypatch: pytest.MonkeyPatch, stage: str, name: str):
    monkeypatch.setattr(counting, "BATCH_IMAGES", 5)
    expected = read_json(Path("data/evaluate/metrics.json"))[name]
    (entry,) = entries(stage)
    counts = entry.counts
    assert counts is not None
    assert (counts.instances, counts.true_positives) == (expected["labels"], expected["true_positives"])
    assert (counts.precision, counts.recall) == pytest.approx((expected["precision"], expected["recall"]), rel=1e-5)
    assert (counts.images, counts.true_images) == (24, 24)
    table = read_table(Path(instances_of(stage)), INSTANCES)
    assert counts.labeled_images == len(set(table["row"]))
    assert sum(counts.by_class.values()) == counts.instances


def test_upstream_hashes_are_those_of_the_lock(project: Project):
    (pseudo,), (export,) = entries(), entries("export_mrcnn")
    paths = {"data": IMAGES, "classifier": CLASSIFIER, "cues": CUES, "wsss": WSSS_MAPS}
    hashes = Artifacts(export.version).hashes
    assert pseudo.upstream == {name: hashes[path][:8] for name, path in paths.items()}
    assert export.upstream == {**pseudo.upstream, "network": hashes[NETWORK][:8], "pseudo_labels": pseudo.version.hash}


def test_a_changed_parameter_is_named_against_the_version_before(project: Project):
    ws.set_params("make_pseudo_labels.min_area_px=200")
    ws.run("make_pseudo_labels")
    project.commit("wider", "make_pseudo_labels")
    newest, first = entries()
    assert [str(cause) for cause in newest.causes] == ["make_pseudo_labels.min_area_px: 10 -> 200"]
    assert (newest.before and newest.before.hash, first.before, first.causes) == (first.version.hash, None, [])


def test_a_version_without_its_artifacts_stays_in_the_log(project: Project):
    project.stored(project.out("make_pseudo_labels", instances_of("make_pseudo_labels"))).unlink()
    (entry,) = entries()
    assert entry.counts is None
    assert entry.problem is not None
    assert "is not in the cache" in entry.problem


def test_without_a_truth_nothing_is_right_or_wrong(project: Project):
    with TableWriter(Path(GROUND_TRUTH), INSTANCES):
        pass
    project.commit("no truth", "prepare")
    counts = count_labels(Artifacts(History().resolve("HEAD")))
    assert counts.instances > 0
    assert (counts.true_images, counts.true_positives, counts.precision, counts.recall) == (0, None, None, None)


def test_counts_are_remembered_until_what_is_counted_changes(project: Project, tmp_path: Path):
    memory = tmp_path / "memory"
    (counted,) = entries(memory=memory)
    (kept,) = memory.iterdir()
    values = json.loads(kept.read_text(encoding="utf-8"))
    kept.write_text(json.dumps({**values, "instances": 999}), encoding="utf-8")
    (remembered,) = entries(memory=memory)
    assert remembered.counts is not None
    assert remembered.counts.instances == 999
    kept.write_text("damaged", encoding="utf-8")
    assert entries(memory=memory)[0].counts == counted.counts


def test_labels_of_an_unknown_class_are_a_problem_of_that_version(project: Project):
    path = Path(instances_of("make_pseudo_labels"))
    rows = list(iter_rows(path, INSTANCES))
    rows[0]["category_id"] = 99
    with TableWriter(path, INSTANCES) as writer:
        writer.append_rows(rows)
    project.commit("wrong", "make_pseudo_labels")
    assert "has the category_id 99" in str(entries()[0].problem)

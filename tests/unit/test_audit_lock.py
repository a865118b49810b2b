"""`dvc.lock` is read, and says what labels were made from."""

import pytest

from bestie.audit.lock import Lock, StageRun, lineage, made_from, parse_lock, short_hash
from bestie.errors import InputError


def run(name: str, deps: dict[str, str], outs: dict[str, str]) -> StageRun:
    return StageRun(name, f"python -m stages.{name}", {}, deps, outs)


INDEX = run("prepare", {"data/raw": "r1.dir", "stages/prepare.py": "c1"}, {"data/images": "i1"})
CUES = run("cues", {"data/images": "i1"}, {"data/cues": "q1"})
LABELS = run("labels", {"data/images": "i1", "data/cues": "q1", "bestie/a.py": "c2"}, {"data/labels": "l1"})
NETWORK = run("network", {"data/labels": "l1", "data/images": "i1"}, {"data/weights": "w1"})


def lock_of(*runs: StageRun) -> Lock:
    return Lock({each.name: each for each in runs})


def test_a_lock_is_parsed_with_full_keys_and_hashes():
    text = b"""
schema: '2.0'
stages:
  labels:
    cmd: python -m stages.labels
    deps:
    - {path: data/images, hash: md5, md5: i1, size: 3}
    params:
      params.yaml: {labels: {least: 3, sizes: [1, 2], nested: {flag: true}}, dataset: {name: x}}
    outs:
    - {path: data/labels, hash: md5, md5: l1.dir, size: 3, nfiles: 1}
"""
    parsed = parse_lock(text, "dvc.lock").stages["labels"]
    assert parsed.params == {"labels.least": 3, "labels.sizes": [1, 2], "labels.nested.flag": True, "dataset.name": "x"}
    assert (parsed.deps, parsed.outs) == ({"data/images": "i1"}, {"data/labels": "l1.dir"})


@pytest.mark.parametrize(
    "text", [b"<<<<<<< HEAD\n", b"stages: [", b"[]", b"stages:\n  a: 3", b"stages:\n  a: {deps: []}", b"\xff\xfe"]
)
def test_a_malformed_lock_is_one_message(text: bytes):
    with pytest.raises(InputError, match=r"dvc\.lock of 1a2b3c4 is no dvc\.lock of DVC 2 or 3"):
        parse_lock(text, "dvc.lock of 1a2b3c4")


def test_a_lineage_goes_back_to_the_first_stage():
    found = lineage(lock_of(NETWORK, LABELS, INDEX, CUES), "labels")
    assert list(found.stages) == ["prepare", "cues", "labels"]
    assert found.files["data/raw"] == "r1.dir"
    assert found.files["data/labels"] == "l1"
    assert found.unrecorded == ()


def test_a_stage_that_ran_again_since_is_not_in_the_lineage():
    again = run("cues", {"data/images": "i1"}, {"data/cues": "q2"})
    found = lineage(lock_of(INDEX, again, LABELS), "labels")
    assert list(found.stages) == ["prepare", "labels"]
    assert found.files["data/cues"] == "q1"
    assert found.unrecorded == ("cues",)


def test_later_stages_count_only_if_they_read_these_labels():
    later = run("export", {"data/weights": "w1"}, {"data/export": "e1"})
    stale = run("report", {"data/labels": "l0", "data/images": "i1"}, {"data/report": "p1"})
    lock = lock_of(INDEX, CUES, LABELS, NETWORK, later, stale)
    assert list(made_from(lock, lineage(lock, "labels"))) == ["network", "export"]


def test_what_was_made_from_stale_outputs_is_left_out_too():
    stale = run("network", {"data/labels": "l0"}, {"data/weights": "w1"})
    later = run("export", {"data/weights": "w1"}, {"data/export": "e1"})
    lock = lock_of(INDEX, CUES, LABELS, stale, later)
    assert made_from(lock, lineage(lock, "labels")) == {}


def test_a_short_hash_depends_on_paths_and_contents_alone():
    assert short_hash({"a": "1", "b": "2"}) == short_hash({"b": "2", "a": "1"})
    assert len({short_hash(outs) for outs in ({"a": "1"}, {"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"})}) == 4
    assert len(short_hash({"a": "1"})) == 8

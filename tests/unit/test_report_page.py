"""The page as text: what it holds, that nothing in it runs but its own script, and that it is the same every time."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import TableWriter
from bestie.audit.objects import CACHE
from bestie.cli import app as cli
from bestie.errors import InputError
from bestie.report.content import collect
from bestie.report.page import render
from tests.report_run import FOUND, commit, write_label_lock, write_lock, write_run, write_versions
from tests.stored_run import git

EVIL = "<script>alert(1)</script>"
QUOTES = "\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    return tmp_path


def page(folder: Path, *, max_images: int = 100) -> str:
    return render(collect(folder, state=folder / ".bestie", max_images=max_images))


def gallery(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="gallery-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.all)


def test_it_has_a_section_for_all_that_the_run_has(run: Path):
    write_lock(run)
    text = page(run)
    for section in ("summary", "pipeline", "training", "scores", "errors", "gallery", "parameters"):
        assert f'<section id="{section}"' in text, section
    for chart in ("loss-network", "center-maxima", "true-positives", "map-by-epoch", "precision-recall"):
        assert f'id="{chart}"' in text, chart
    assert "mAP50 by size of object" in text
    assert "All 12 images." in text


def test_nothing_in_it_points_elsewhere(run: Path):
    elements = Elements(page(run))
    for tag, attributes in elements.all:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert elements.count("link") == 0
    assert elements.count("iframe") == 0


def test_names_are_escaped_and_no_script_but_the_pages_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, names=(EVIL, QUOTES))
    text = page(tmp_path)
    elements = Elements(text)
    assert [attributes["type"] for tag, attributes in elements.all if tag == "script"] == ["application/json", "module"]
    assert elements.count("img") == 0
    assert not any(name.startswith("on") for _, attributes in elements.all for name in attributes)
    assert gallery(text)["categories"] == [EVIL, QUOTES]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_its_policy_names_its_own_script_and_style_sheet(run: Path):
    text = page(run)
    policy = next(
        attributes["content"]
        for tag, attributes in Elements(text).all
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "style=" not in text.split("<script")[0]


def test_equal_runs_give_equal_pages(run: Path):
    assert page(run) == page(run)


def test_the_gallery_has_every_verdict_where_it_belongs(run: Path):
    content = gallery(page(run))
    images = [image for image in content["images"] if image["split"] == "val"]
    for image, fault in zip(images, list(FOUND) * 2, strict=False):
        table = image["tables"]["bestie"]
        verdicts = {entry["verdict"] for entry in table["found"]} | ({"missed"} if table["missed"] else set())
        assert verdicts == {"correct", fault}, image["id"]
    poor = next(each for each in images[4]["tables"]["bestie"]["found"] if each["verdict"] == "poor_mask")
    assert poor["iou"] == pytest.approx(144 / 400, abs=0.01)
    assert all(set(image["tables"]) == {"pseudo_labels"} for image in content["images"] if image["split"] == "train")


def test_counts_are_of_all_images_and_the_gallery_says_that_it_samples(run: Path):
    text = page(run, max_images=5)
    assert "A sample of 5 of\n12 images" in text
    assert len(gallery(text)["images"]) == 5
    missed = re.search(r'data-table="bestie" data-verdict="missed"[^>]*>(\d+)<', text)
    assert missed is not None
    assert missed[1] == "2"


def test_detections_below_the_best_score_are_left_out(run: Path):
    content = collect(run, state=run, max_images=100)
    limits = {row.table.table.key: row.table.min_score for row in content.errors}
    assert limits["bestie"] == pytest.approx(0.8)
    assert limits["pseudo_labels"] == 0
    first = next(image for image in content.gallery.content["images"] if image["split"] == "val")
    assert [entry["score"] for entry in first["tables"]["bestie"]["found"]] == [0.9, 0.8]


def test_without_truth_there_are_no_verdicts(run: Path):
    with TableWriter(run / "data/prepare/ground_truth.parquet", INSTANCES):
        pass
    (run / "data/evaluate/metrics.json").write_text("{}")
    shutil.rmtree(run / "data/train_pam")
    text = page(run)
    assert '<section id="errors"' not in text
    assert "This run has no scores" in text
    found = gallery(text)["images"][-1]["tables"]["bestie"]["found"]
    assert found
    assert all("verdict" not in entry for entry in found)


def test_after_prepare_alone_it_is_a_page_already(run: Path):
    for stage in ("evaluate", "train_bestie", "make_pseudo_labels", "train_pam"):
        shutil.rmtree(run / "data" / stage)
    text = page(run)
    assert '<section id="training"' not in text
    assert len(gallery(text)["images"]) == 12


def test_an_image_without_objects_is_judged_where_its_truth_is_known(run: Path):
    from bestie.artifacts.maps import MapWriter

    shutil.rmtree(run / "data")
    write_run(run, validation=2)
    with MapWriter(run / "data/prepare/ground_truth.zarr", {"semantic": ("uint8", 255)}, 6, (64, 64)) as maps:
        for row in range(6):
            maps.write(row, "semantic", np.zeros((64, 64), np.uint8))
    rows = [row for row in _rows(run / "data/prepare/ground_truth.parquet") if row["row"] != 5]
    with TableWriter(run / "data/prepare/ground_truth.parquet", INSTANCES) as table:
        table.append_rows(rows)
    counts = {
        row.table.table.key: {v: n for v, _, n in row.counts} for row in collect(run, state=run, max_images=9).errors
    }
    assert counts["mrcnn"]["correct"] == 2
    assert counts["mrcnn"]["background"] == 2


def _rows(path: Path) -> list[dict]:
    from bestie.artifacts.tables import iter_rows

    return list(iter_rows(path, INSTANCES))


def test_before_prepare_it_says_what_to_do(tmp_path: Path):
    with pytest.raises(InputError, match=r"images.parquet does not exist. Run the stage"):
        page(tmp_path)


def test_the_command_says_what_it_wrote(run: Path):
    found = CliRunner().invoke(cli.app, ["report", "--json", "--images", "7"], catch_exceptions=False)
    said = json.loads(found.stdout)
    assert said == {
        "path": "report.html",
        "bytes": Path("report.html").stat().st_size,
        "images": 7,
        "of_images": 12,
        "against": None,
    }
    found = CliRunner().invoke(cli.app, ["report", "--out", "sub/page.html"], catch_exceptions=False)
    assert found.stdout.startswith("sub/page.html: 12 of 12 images")
    assert Path("sub/page.html").is_file()


def labels_section(text: str) -> str:
    """The words of the section on labels."""
    section = re.search(r'<section id="labels".*?</section>', text, re.DOTALL)
    return "" if section is None else " ".join(re.sub(r"<[^>]*>", " ", section[0]).split())


def test_labels_are_compared_by_class_and_image_with_their_causes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, train=5, validation=1)
    revision = write_versions(tmp_path)
    text = page(tmp_path)
    said = labels_section(text)
    assert "make_pseudo_labels.min_area_px: 60 -&gt; 80" in said
    # class, before, now, appeared, vanished, moved, class changed, unchanged
    assert "all classes 5 5 1 1 1 1 2" in said
    assert "cat 3 4 1 0 1 0 2" in said
    assert "dog 2 1 0 1 0 1 0" in said
    assert "4 of 5 images have changed labels." in said
    assert f"changes are against <code>{revision}</code>" in text
    tables = [image["tables"]["pseudo_labels"] for image in gallery(text)["images"] if image["split"] == "train"]
    changes = [[each["change"] for each in (*table["found"], *table["vanished"])] for table in tables]
    assert changes == [["unchanged", "vanished"], ["moved"], ["class_changed"], ["appeared"], ["unchanged"]]
    assert tables[0]["vanished"][0]["category"] == 2
    assert tables[1]["found"][0]["overlap"] == pytest.approx(18 / 22, abs=0.01)
    assert (tables[2]["found"][0]["was"], tables[2]["found"][0]["category"]) == (2, 1)
    assert [table["changed"] > 0 for table in tables] == [True, True, True, True, False]


def test_images_with_changed_labels_are_half_of_a_sample_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path, train=40, validation=20)
    write_versions(tmp_path)
    changed = {f"train_{row:05d}" for row in range(4)}
    for budget, expected in ((6, 3), (20, 4)):
        text = page(tmp_path, max_images=budget)
        shown = {image["id"] for image in gallery(text)["images"]}
        assert len(shown) == budget
        assert len(shown & changed) >= expected
        assert "after images whose\nlabels changed: half of the sample at most" in text
        assert f"The gallery shows {len(shown & changed)} of these images." in labels_section(text)


def test_labels_that_cannot_be_read_are_a_sentence_on_the_page(run: Path):
    revision = write_versions(run)
    lock = git(run, "show", "HEAD:dvc.lock")
    found = re.search(r"outs:\s+- md5: (\w+)\s+path: data/make_pseudo_labels", lock)
    assert found is not None
    stored = run / CACHE / found[1][:2] / found[1][2:]
    older = INSTANCES.remove(INSTANCES.get_field_index("rle"))
    with TableWriter(stored, older):
        pass
    assert (
        f"They cannot be compared: data/make_pseudo_labels/instances.parquet of {revision} has no column rle. It was "
        "written by other code than this"
    ) in labels_section(page(run))
    stored.unlink()
    assert f"of {revision} (md5 {found[1]}) is not in the cache. Run `dvc push`" in labels_section(page(run))


def test_equal_labels_and_absent_ones_are_said(run: Path):
    write_lock(run)
    git(run, "init", "--quiet")
    first = commit(run, "dvc.lock")
    write_label_lock(run, min_area_px=60)
    commit(run, "dvc.lock")
    text = render(collect(run, state=run, max_images=9, against="HEAD"))
    assert "Both versions hold the same labels." in labels_section(text)
    assert "the version that was\nasked for" in text
    assert f"They cannot be compared: {first} has no run of make_pseudo_labels." in labels_section(page(run))

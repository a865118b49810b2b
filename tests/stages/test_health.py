"""The warnings of a run: from the stages, on standard error and in files, and in summary and report."""

import io
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from bestie.artifacts.image_index import read_images
from bestie.artifacts.tables import read_categories
from bestie.errors import InputError
from bestie.report.content import collect
from bestie.report.page import render
from bestie.report.summary import print_summary
from bestie.runtime.health import read_warnings
from bestie.runtime.stage import run_stage
from tests import workspace as ws

DATA = Path("data")
VOC = ("dataset.format=voc", "dataset.root=photos", "import_wsss.source=photos/WSSS_maps")


@pytest.fixture
def photos(workspace: Path) -> Path:
    """The generated images as a data set of somebody else, in VOC's layout; bad samples are set aside."""
    names = [category.name for category in read_categories(Path("data/prepare/categories.parquet"))]
    Path("data/raw/generated").rename("photos")
    ws.set_params(*VOC, f"prepare.categories={names}", "prepare.on_error=skip")
    return Path("photos")


def test_a_threshold_that_leaves_no_cue_warns_in_two_stages_in_report_and_summary(
    workspace: Path, capsys: pytest.CaptureFixture
):
    ws.set_params("extract_cues.threshold=1.0")
    ws.run("extract_cues", "make_pseudo_labels")

    said = capsys.readouterr().err
    assert "extract_cues: warning: no cue for " in said
    assert "make_pseudo_labels: warning: the pseudo labels are empty for " in said
    for stage in ("export_mrcnn", "evaluate"):
        (DATA / stage / "warnings.json").unlink()  # those of the run before
    found = dict(read_warnings(DATA))
    assert found.keys() == {"extract_cues", "make_pseudo_labels"}
    assert found["make_pseudo_labels"].look_at[0] == "extract_cues.threshold"
    page = render(collect(workspace, state=workspace / ".bestie", max_images=1))
    assert "the pseudo labels are empty for" in page
    console = Console(file=io.StringIO(), width=200)
    print_summary(console)
    assert "Warning of make_pseudo_labels: the pseudo labels are empty" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_collapsed_center_map_warns_and_the_run_goes_on(workspace: Path, capsys: pytest.CaptureFixture):
    ws.set_params("train_bestie.epochs=1", "train_bestie.snapshot_grouping.threshold=0.9")
    ws.run("train_bestie")
    assert "train_bestie: warning: the center map has collapsed" in capsys.readouterr().err
    assert Path("data/train_bestie/network.zarr").is_dir()


def test_warnings_of_equal_runs_have_equal_bytes(workspace: Path):
    ws.set_params("make_pseudo_labels.min_area_px=4000")
    ws.run("make_pseudo_labels")
    before = Path("data/make_pseudo_labels/warnings.json").read_bytes()
    assert b"make_pseudo_labels.min_area_px" in before
    ws.run("make_pseudo_labels")
    assert Path("data/make_pseudo_labels/warnings.json").read_bytes() == before


def test_bad_samples_are_set_aside_with_their_reasons(photos: Path, capsys: pytest.CaptureFixture):
    train = (photos / "ImageSets/Segmentation/train.txt").read_text().split()
    cut, gone, wrong, torn = train[:4]
    image = photos / "JPEGImages" / f"{cut}.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    (photos / "JPEGImages" / f"{gone}.jpg").unlink()
    (photos / "Annotations" / f"{wrong}.xml").write_text("<annotation><object><name>ghost</name></object></annotation>")
    Image.new("P", (3, 3)).save(photos / "SegmentationClass" / f"{torn}.png")
    whole = len(read_images(Path("data/prepare/images.parquet"), "train"))

    ws.run("prepare")

    records = read_images(Path("data/prepare/images.parquet"))
    assert [record.row for record in records] == list(range(len(records)))
    assert sum(record.split == "train" for record in records) == whole - 4
    skipped = pq.read_table("data/prepare/skipped.parquet").to_pylist()
    assert [row["image"] for row in skipped] == [cut, gone, wrong, torn]
    reasons = ("cannot be decoded", "does not exist", "'ghost'", "has the shape (3, 3)")
    for row, part in zip(skipped, reasons, strict=True):
        assert part in row["reason"]
        assert row["image"] in row["reason"]
    assert f"prepare: warning: 4 of {whole + 8} samples are set aside" in capsys.readouterr().err


def test_bad_samples_are_set_aside_where_the_command_says_so(photos: Path, capsys: pytest.CaptureFixture):
    names = [category.name for category in read_categories(Path("data/prepare/categories.parquet"))]
    ws.set_params(*VOC, f"prepare.categories={names}")
    (photos / "JPEGImages" / "shapes_000001.jpg").unlink()
    run_stage("prepare", *ws.stage_main("prepare"), ["--on-error", "skip"])
    assert pq.read_table("data/prepare/skipped.parquet")["image"].to_pylist() == ["shapes_000001"]
    assert "prepare: warning: 1 of 32 samples are set aside" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--on-error", "ignore"], "on_error = 'ignore'"),
        (["--on-eror=skip"], "unknown key 'on_eror'"),
        (["--on-error"], "a stage takes keys of its section"),
        (["skip"], "a stage takes keys of its section"),
        (["--on-error", "[skip"], "--on-error: '[skip' is no YAML value"),
    ],
)
def test_wrong_arguments_of_a_stage_are_one_message(
    workspace: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str
):
    with pytest.raises(SystemExit):
        run_stage("prepare", *ws.stage_main("prepare"), arguments)
    assert message in capsys.readouterr().err


def test_one_bad_sample_stops_by_default(photos: Path):
    names = [category.name for category in read_categories(Path("data/prepare/categories.parquet"))]
    ws.set_params(*VOC, f"prepare.categories={names}")
    (photos / "JPEGImages" / "shapes_000001.jpg").unlink()
    with pytest.raises(InputError, match=r"shapes_000001\.jpg does not exist"):
        ws.run("prepare")


def test_a_data_set_of_bad_samples_alone_is_refused(photos: Path):
    shutil.rmtree(photos / "Annotations")
    with pytest.raises(InputError, match=r"no training image is left: \d+ samples are bad, the first: .*exist"):
        ws.run("prepare")

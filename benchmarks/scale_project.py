"""The projects that `benchmarks.scale` measures: images in VOC's layout, trained models, and the steps of a user."""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import Any

from benchmarks.measured import CommandError, Usage, count_files, run_measured
from bestie.artifacts.paths import OWN_MAPS, folder
from bestie.datasets.shapes import SHAPE_CLASS_NAMES
from tests import workspace as ws
from tests.clones import Clone, make_clone

#: Sides of the images by default, which have as many pixels as VOC's of 375 x 500 px.
SIDE_PX = 433
#: Training images of the project in which the models are trained, and training images for each validation image.
TRAINED_ON, TRAIN_PER_VAL = 48, 10
#: Areas of the smallest pseudo label in two versions; about half of the objects are smaller than the second.
MIN_AREAS_PX = (50, 6_000)  # on images of `SIDE_PX`
DRAWING = "draw the images"
TRAININGS = ("train_pam", "train_wsss", "train_bestie", "train_mrcnn")
MAP_STAGES = tuple(stage for stage in ws.STAGES if stage not in TRAININGS)
GIVEN_MAPS = "../images/WSSS_maps"
AUGMENTATION = {"crop_px": 128, "scale": [0.4, 0.6]}
PREDICTION = {"grouping": {"window_px": 41}, "semantic_scales": [0.5], "instance_scales": [0.5]}
#: Changes of the profile `smoke` for these images, which its models see at half their size. They learn just enough to
#: find some instances on an image, as better models do.
OVERRIDES: dict[str, dict[str, Any]] = {
    "dataset": {"name": "scale", "format": "voc", "root": "../images"},
    "prepare": {"categories": SHAPE_CLASS_NAMES},
    "train_pam": {"epochs": 20, "plain_epochs": 14, "augmentation": AUGMENTATION},
    "extract_cues": {"scales": [0.5], "window_px": 21},
    "train_wsss": {"scales": [0.5], "maps": {"color_steps": 0}, "augmentation": AUGMENTATION},
    "make_wsss": {"color_steps": 0, "flip": False},
    "import_wsss": {"source": str(OWN_MAPS)},
    # No snapshots: they belong to rows of the index, which are other images in a larger project.
    "train_bestie": {"augmentation": AUGMENTATION, "evolution_every": 0},
    "export_mrcnn": {**PREDICTION, "pseudo_labels": True},
    "train_mrcnn": {"min_side_px": 128, "max_side_px": 176, "anchor_sizes_px": [16, 32, 64]},
    "evaluate": PREDICTION,
}
#: The stages whose `min_area_px` is the first of `MIN_AREAS_PX`.
WITH_LEAST_AREA = ("make_pseudo_labels", "export_mrcnn", "evaluate")
DRAW = """\
import sys
from pathlib import Path
from bestie.datasets.shapes import generate_shapes
generate_shapes(Path(sys.argv[1]), seed=0, num_train=int(sys.argv[2]), num_val=int(sys.argv[3]),
                min_side_px=int(sys.argv[4]), max_side_px=int(sys.argv[4]), max_objects=3, class_colors=True)
"""
#: Settings that a benchmark takes over from its own environment; others are left out.
KEPT = ("BESTIE_DEVICE", "BESTIE_WORKERS")
#: A short step is repeated, and the run with the middle wall time counts.
REPEATS = 3

Tell = Callable[[str, Usage], None]


class ScaleProject:
    """A clone of the working tree beside its images, and what each step took there.

    Args:
        place: the folder to make `images/`, `project/` and, for `dvc push`, `remote/` in.
        images: number of training images; there is one validation image for each ten.
        side_px: height and width of the images.
        tell: called with each step as soon as it is done.

    Attributes:
        steps: what each measured step took, by its name.
    """

    def __init__(self, place: Path, images: int, side_px: int, tell: Tell) -> None:
        self.place, self.images, self.side_px, self._tell = place, images, side_px, tell
        self.steps: dict[str, Usage] = {}
        place.mkdir(parents=True)
        self._clone: Clone = make_clone(place / "project")
        self._clone.environment |= {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "PYTHONPATH": str(self._clone.folder),
            "DVC_SITE_CACHE_DIR": str(place / "dvc"),
        }
        with chdir(self._clone.folder):
            ws.set_params(
                *(f"{section}={json.dumps(values)}" for section, values in OVERRIDES.items()),
                *(f"{stage}.min_area_px={self._least_area(0)}" for stage in WITH_LEAST_AREA),
            )

    def draw(self) -> None:
        """Draw the images, with the generator of the profile `shapes`."""
        val = self.images // TRAIN_PER_VAL
        numbers = map(str, (self.images, val, self.side_px))
        self._measure(DRAWING, "python", "-c", DRAW, "../images", *numbers)

    def train(self) -> None:
        """Run all stages but the last, and so train all models."""
        for stage in ws.STAGES[:-1]:
            self._choose_maps(stage)
            self._measure(stage, "python", "-m", f"stages.{stage}", outputs=ws.declared_outputs(stage))

    def take_models(self, trained: "ScaleProject") -> None:
        """Copy what the trainings of another project wrote."""
        for stage in TRAININGS:
            shutil.copytree(trained._clone.folder / folder(stage), self._clone.folder / folder(stage))

    def run_map_stages(self) -> None:
        """Run each stage that makes something of every image."""
        for stage in MAP_STAGES:
            self._choose_maps(stage)
            self._measure(stage, "python", "-m", f"stages.{stage}", outputs=ws.declared_outputs(stage))

    def store(self) -> None:
        """Put all outputs into DVC's cache and into a remote folder, and get them from there again.

        Raises:
            CommandError: a command failed, ran a stage, or brought back other files.
        """
        remote = self.place / "remote"
        self._run("dvc", "config", "--local", "core.check_update", "false")
        self._run("dvc", "remote", "add", "--local", "--default", "scale", str(remote))
        self._measure("dvc commit", "dvc", "commit", "--force", outputs=[Path(".dvc", "cache")])
        self._save("first version")
        self._measure("dvc status", "dvc", "status", repeats=REPEATS)
        if "Running stage" in self._measure("dvc repro, no-op", "dvc", "repro", repeats=REPEATS):
            raise CommandError("dvc repro ran a stage, although all stages are committed")
        self._measure("dvc push", "dvc", "push", outputs=[remote])
        outputs = [path for stage in ws.STAGES for path in ws.declared_outputs(stage)]
        before = count_files(self._clone.folder / path for path in outputs)
        for path in (Path(".dvc", "cache"), *outputs):
            _remove(self._clone.folder / path)
        self._measure("dvc pull", "dvc", "pull", outputs=outputs)
        if count_files(self._clone.folder / path for path in outputs) != before:
            raise CommandError("dvc pull brought back other files than dvc push had sent")

    def read(self) -> None:
        """Commit a second version of the pseudo labels, and read both as a user does."""
        self._clone.set_param("make_pseudo_labels", "min_area_px", self._least_area(1))
        self._run("python", "-m", "stages.make_pseudo_labels")
        self._run("dvc", "commit", "--force", "make_pseudo_labels")
        self._save("second version")
        self._measure("audit log", "bestie", "audit", "log")
        self._measure("audit diff", "bestie", "audit", "diff", "HEAD~1", "HEAD")
        self._measure("report", "bestie", "report", outputs=[Path("report.html")])

    def _least_area(self, version: int) -> int:
        """Return the area of the smallest pseudo label of a version, in px: the same part of an image at any size."""
        return round(MIN_AREAS_PX[version] * (self.side_px / SIDE_PX) ** 2)

    def _choose_maps(self, stage: str) -> None:
        """Before `import_wsss`, choose the drawn maps: own ones of so small a network leave no instance to speak of."""
        if stage == "import_wsss":
            self._clone.set_param("import_wsss", "source", GIVEN_MAPS)

    def _save(self, message: str) -> None:
        self._run("git", "add", "--all")
        self._run("git", "commit", "--quiet", "--message", message)

    def _measure(self, name: str, *command: str, outputs: Iterable[Path] = (), repeats: int = 1) -> str:
        """Run a command `repeats` times, keep what the middle run took, and return what the last one printed."""
        listed = list(outputs)
        runs = [self._run_once(command, listed) for _ in range(repeats)]
        middle = median_low(usage.seconds for usage, _ in runs)
        self.steps[name] = next(usage for usage, _ in runs if usage.seconds == middle)
        self._tell(name, self.steps[name])
        return runs[-1][1]

    def _run(self, *command: str) -> None:
        self._run_once(command, [])

    def _run_once(self, command: tuple[str, ...], outputs: list[Path]) -> tuple[Usage, str]:
        return run_measured(command, folder=self._clone.folder, environment=self._clone.environment, outputs=outputs)


def total_of_stages(steps: dict[str, Usage]) -> Usage:
    """Return what all stages wrote together, with the time of all and the memory of the largest."""
    stages = [steps[stage] for stage in MAP_STAGES]
    return replace(
        stages[0],
        seconds=sum(each.seconds for each in stages),
        processor_seconds=sum(each.processor_seconds for each in stages),
        memory_mb=max(each.memory_mb for each in stages),
        largest_process_mb=max(each.largest_process_mb for each in stages),
        files=sum(each.files for each in stages),
        output_mb=sum(each.output_mb for each in stages),
    )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

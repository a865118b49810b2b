"""Detections are shown from the score on at which they agree best with the labels that were learned."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection import MaskRCNN

from bestie.artifacts.instances import encode_mask
from bestie.evaluation import shown_score
from bestie.evaluation.shown_score import find_shown_score
from bestie.records import ImageRecord, hash_file
from bestie.training.detector_training import DetectorImages

SIDE = 32
CPU = torch.device("cpu")


class Finder(MaskRCNN):
    """A detector that answers every image with given boxes: (left, category, score)."""

    def __init__(self, answers: list[tuple[int, int, float]]) -> None:
        torch.nn.Module.__init__(self)
        self.answers, self.images = answers, 0

    def forward(self, images: list[torch.Tensor], targets: None = None) -> list[dict[str, torch.Tensor]]:
        self.images += len(images)
        masks = torch.zeros(len(self.answers), 1, SIDE, SIDE)
        for mask, (left, _, _) in zip(masks, self.answers, strict=True):
            mask[0, 4:12, left : left + 8] = 1
        _, labels, scores = zip(*self.answers, strict=True) if self.answers else ((), (), ())
        answer = {"masks": masks, "labels": torch.tensor(labels, dtype=torch.int64), "scores": torch.tensor(scores)}
        return [answer for _ in images]


def samples(folder: Path, count: int) -> DetectorImages:
    """Return images that are labeled with one object of class 1 at the left, and one of class 2 at 20 px."""
    records = []
    for row in range(count):
        path = folder / f"{row}.png"
        Image.fromarray(np.full((SIDE, SIDE, 3), row, np.uint8)).save(path)
        records.append(ImageRecord(row, str(row), "train", path.name, SIDE, SIDE, hash_file(path), (1, 2)))
    rles = []
    for left in (0, 20):
        mask = np.zeros((SIDE, SIDE), bool)
        mask[4:12, left : left + 8] = True
        rles.append(encode_mask(mask))
    return DetectorImages(records, folder, {row: [(rles[0], 1), (rles[1], 2)] for row in range(count)}, jitter=0)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(0, 1, 0.9), (20, 2, 0.6), (12, 1, 0.4)], 0.6),  # the third meets no label
        ([(0, 1, 0.9), (20, 1, 0.6)], 0.9),  # the second has the class of the first
        ([(0, 1, 0.9), (1, 1, 0.8), (20, 2, 0.7)], 0.7),  # a double costs less than an object that is not shown
        ([(12, 1, 0.9)], 0.0),
        ([], 0.0),
    ],
)
def test_it_is_where_the_right_ones_are_shown_and_the_wrong_ones_are_not(
    tmp_path: Path, answers: list, expected: float
):
    found = find_shown_score(Finder(answers), samples(tmp_path, 3), CPU, "fp32")
    assert found == pytest.approx(expected, abs=0.002)


def test_only_some_images_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shown_score, "MAX_IMAGES", 4)
    finder = Finder([(0, 1, 0.9)])
    find_shown_score(finder, samples(tmp_path, 9), CPU, "fp32")
    assert finder.images == 4

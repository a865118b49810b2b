"""Semantic knowledge transfer and its rendering against the authors' release."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bestie.method.targets import center_map_from_points, render_targets_numpy
from bestie.method.transfer import Transfer, transfer


@pytest.fixture(scope="module")
def recorded_cases(golden_files: Callable[[str], list[Path]]) -> dict[str, np.lib.npyio.NpzFile]:
    return {str(path): np.load(path) for path in golden_files("transfer*.npz")}


def run_transfer(case: np.lib.npyio.NpzFile) -> tuple[Transfer, np.ndarray, np.ndarray]:
    """The transfer of a recorded case, its cues (y, x) and their category_id."""
    cues = case["cues_x_y_class_score"]
    cues_yx = cues[:, [1, 0]].astype(np.int64)
    cue_category = cues[:, 2].astype(np.int64) + 1
    result = transfer(case["wsss"], cues_yx, cue_category, cues[:, 3], case["image_labels"])
    return result, cues_yx, cue_category


@pytest.mark.parametrize("supervision", ["cls", "point"])
def test_offsets_and_labeled_region_are_those_of_the_release(recorded_cases, supervision: str):
    for name, case in recorded_cases.items():
        result, _, _ = run_transfer(case)
        targets = render_targets_numpy(
            result.instance,
            result.instances.category_id,
            num_classes=len(case["image_labels"]),
            sigma_px=float(case["sigma"]),
        )
        np.testing.assert_array_equal(targets.guidance, case[f"{supervision}_weight"] > 0, err_msg=name)
        np.testing.assert_allclose(targets.offset, case[f"{supervision}_offset"], atol=1e-5, err_msg=name)


def test_center_map_of_image_supervision_is_that_of_the_release(recorded_cases):
    for name, case in recorded_cases.items():
        result, _, _ = run_transfer(case)
        targets = render_targets_numpy(
            result.instance,
            result.instances.category_id,
            num_classes=len(case["image_labels"]),
            sigma_px=float(case["sigma"]),
        )
        np.testing.assert_allclose(targets.center, case["cls_center"], atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(targets.centers_yx, result.instances.center_yx, err_msg=name)


def test_center_map_of_point_supervision_shows_every_point(recorded_cases):
    for name, case in recorded_cases.items():
        _, cues_yx, cue_category = run_transfer(case)
        present = case["image_labels"][cue_category - 1] > 0
        center = center_map_from_points(
            torch.from_numpy(cues_yx)[None],
            torch.from_numpy(cue_category * present)[None],
            height=case["wsss"].shape[0],
            width=case["wsss"].shape[1],
            num_classes=len(case["image_labels"]),
            sigma_px=float(case["sigma"]),
        )
        np.testing.assert_allclose(center[0].numpy(), case["point_center"], atol=1e-5, err_msg=name)

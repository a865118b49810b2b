"""Refined labels against the authors' release."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bestie.method.refinement import refine


def test_refined_labels_are_those_of_the_release(golden_files: Callable[[str], list[Path]]):
    for path in golden_files("refine*.npz"):
        recorded = np.load(path)
        maps = {name: torch.from_numpy(recorded[name]) for name in recorded if recorded[name].ndim}

        refined = refine(
            maps["center"],
            maps["offset"],
            semantic_logits=maps["semantic_logits"],
            image_labels=maps["image_labels"],
            wsss=maps["wsss"],
            threshold=float(recorded["refine_thresh"]),
            window_px=int(recorded["kernel"]),
            sigma_px=float(recorded["sigma"]),
            cluster=float(recorded["beta"]) > 0,
            confidence="release",
        )

        targets = {
            "center": refined.targets.center,
            "offset": refined.targets.offset,
            "weight": refined.weight,
        }
        for name, found in targets.items():
            np.testing.assert_allclose(found, recorded[f"out_{name}"], atol=1e-5, err_msg=f"{path}: {name}")

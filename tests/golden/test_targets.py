"""The renderer with given centers against the refined labels of the authors' release."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bestie.method.targets import render_targets


def instances_of(offset: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An instance map and the centers (y, x): pixels that a recorded offset map sends to one place."""
    height, width = weight.shape
    labeled = weight > 0
    pointed_yx = np.rint(np.indices((height, width)) + offset).astype(int)[:, labeled].T
    centers_yx, member_of = np.unique(pointed_yx, axis=0, return_inverse=True)
    instance = np.zeros((height, width), dtype=np.int64)
    instance[labeled] = member_of.ravel() + 1
    return instance, centers_yx


def test_refined_maps_are_those_of_the_release(golden_files: Callable[[str], list[Path]]):
    for path in golden_files("refine*.npz"):
        case = np.load(path)
        for image in range(len(case["out_center"])):
            instance, centers_yx = instances_of(case["out_offset"][image], case["out_weight"][image, 0])
            y, x = centers_yx.T
            _, first_pixel = np.unique(instance[instance > 0], return_index=True)
            category = case["wsss"][image][instance > 0][first_pixel].astype(np.int64)

            targets = render_targets(
                torch.from_numpy(instance)[None],
                torch.from_numpy(category)[None],
                num_classes=case["out_center"].shape[1],
                sigma_px=float(case["sigma"]),
                centers_yx=torch.from_numpy(centers_yx)[None],
            )

            center, offset = targets.center[0].numpy(), targets.offset[0].numpy()
            np.testing.assert_allclose(center, case["out_center"][image], atol=1e-5, err_msg=str(path))
            np.testing.assert_allclose(offset, case["out_offset"][image], atol=1e-5, err_msg=str(path))
            assert (center[category - 1, y, x] == 1).all()

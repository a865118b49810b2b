"""Smoothing and peaks against the authors' release."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bestie.method.cues import find_cues, smooth


def test_smoothing_is_that_of_the_release(golden_files: Callable[[str], list[Path]]):
    for path in golden_files("cues*.npz"):
        recorded = np.load(path)
        np.testing.assert_allclose(smooth(recorded["cam"]), recorded["smoothed"], atol=1e-5, err_msg=str(path))


def test_cues_are_those_of_the_release(golden_files: Callable[[str], list[Path]]):
    for path in golden_files("cues*.npz"):
        recorded = np.load(path)
        expected = recorded["peaks_class_y_x_score"]

        cues = find_cues(smooth(recorded["cam"]), threshold=0.1)

        found = np.stack((cues.channel, cues.y, cues.x), axis=1)
        assert len(found) == len(expected), path
        assert set(map(tuple, found)) == set(map(tuple, expected[:, :3].astype(int))), path
        np.testing.assert_allclose(cues.score, expected[:, 3], atol=1e-5, err_msg=str(path))

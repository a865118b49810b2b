"""Smoothing and peaks against the authors' release."""

from pathlib import Path

import numpy as np

from bestie.cues import find_cues, smooth


def test_smoothing_is_that_of_the_release(golden_dir: Path):
    files = sorted(golden_dir.glob("cues*.npz"))
    assert files
    for path in files:
        recorded = np.load(path)
        np.testing.assert_allclose(smooth(recorded["cam"]), recorded["smoothed"], atol=1e-5, err_msg=path.name)


def test_cues_are_those_of_the_release(golden_dir: Path):
    files = sorted(golden_dir.glob("cues*.npz"))
    assert files
    for path in files:
        recorded = np.load(path)
        expected = recorded["peaks_class_y_x_score"]

        cues = find_cues(smooth(recorded["cam"]), threshold=0.1)

        found = np.stack((cues.channel, cues.y, cues.x), axis=1)
        assert len(found) == len(expected), path.name
        assert set(map(tuple, found)) == set(map(tuple, expected[:, :3].astype(int))), path.name
        np.testing.assert_allclose(cues.score, expected[:, 3], atol=1e-5, err_msg=path.name)

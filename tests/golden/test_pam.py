"""The peak attention module against the authors' release."""

from pathlib import Path

import numpy as np
import torch

from bestie.classifier import peak_attention


def test_peak_attention_is_that_of_the_release(golden_dir: Path):
    files = sorted(golden_dir.glob("pam*.npz"))
    assert files
    for path in files:
        recorded = np.load(path)
        alphas = [name.removeprefix("y_alpha_") for name in recorded if name.startswith("y_alpha_")]
        assert alphas, path.name
        for alpha in alphas:
            found = peak_attention(torch.from_numpy(recorded["x"]), float(alpha))
            expected = recorded[f"y_alpha_{alpha}"]
            np.testing.assert_array_equal(found > 0, expected > 0, f"{path.name}, alpha {alpha}")
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=f"{path.name}, alpha {alpha}")

"""The peak attention module against the authors' release."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bestie.method.pam import peak_attention


def test_peak_attention_is_that_of_the_release(golden_files: Callable[[str], list[Path]]):
    for path in golden_files("pam*.npz"):
        recorded = np.load(path)
        alphas = [name.removeprefix("y_alpha_") for name in recorded if name.startswith("y_alpha_")]
        assert alphas, path
        for alpha in alphas:
            found = peak_attention(torch.from_numpy(recorded["x"]), float(alpha))
            expected = recorded[f"y_alpha_{alpha}"]
            np.testing.assert_array_equal(found > 0, expected > 0, f"{path}, alpha {alpha}")
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=f"{path}, alpha {alpha}")

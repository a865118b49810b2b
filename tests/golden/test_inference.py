"""Predicted instances against the authors' release."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bestie.method.inference import predict_instances


def test_predicted_instances_are_those_of_the_release(golden_files: Callable[[str], list[Path]]):
    for path in golden_files("inference*.npz"):
        recorded = np.load(path)
        maps = (torch.from_numpy(recorded[name]) for name in ("semantic_logits", "center", "offset"))

        (predicted,) = predict_instances(
            *maps,
            threshold=float(recorded["val_thresh"]),
            window_px=int(recorded["val_kernel"]),
            cluster=float(recorded["beta"]) > 0,
            drop_components_without_center=bool(recorded["val_ignore"]),
            confidence="release",
        )

        np.testing.assert_array_equal(predicted.semantic, recorded["out_semantic"], str(path))
        np.testing.assert_array_equal(predicted.category_id - 1, recorded["out_labels"], str(path))
        np.testing.assert_array_equal(predicted.masks, recorded["out_masks"], str(path))
        np.testing.assert_allclose(predicted.score, recorded["out_scores"], atol=1e-5, err_msg=str(path))

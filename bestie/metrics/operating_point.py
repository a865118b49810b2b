"""The score from which on detections are worth showing: the one with the largest F1."""

import numpy as np
from jaxtyping import Bool, Float

BINS = 1000


class ScoreHistogram:
    """Counts of right and wrong predictions by score, added up image by image in constant memory.

    Scores are limited to 0..1 and counted in steps of 1 / `BINS`.
    """

    def __init__(self) -> None:
        self._right = np.zeros(BINS + 1, np.int64)
        self._wrong = np.zeros(BINS + 1, np.int64)

    def update(self, score: Float[np.ndarray, " n"], is_right: Bool[np.ndarray, " n"]) -> None:
        """Count some predictions."""
        step = np.floor(np.clip(score, 0, 1) * BINS).astype(np.int64)
        self._right += np.bincount(step[is_right], minlength=BINS + 1)
        self._wrong += np.bincount(step[~is_right], minlength=BINS + 1)

    def best_score(self, num_truth: int) -> float:
        """Return the score from which on F1 against `num_truth` true objects is largest.

        If several scores have the same F1, the highest of them is returned; if no prediction is right, 0.
        """
        right = self._right[::-1].cumsum()[::-1]
        predicted = right + self._wrong[::-1].cumsum()[::-1]
        f1 = np.divide(2 * right, predicted + num_truth, out=np.zeros(BINS + 1), where=predicted + num_truth > 0)
        if not f1.any():
            return 0.0
        return float(np.flatnonzero(f1 == f1.max())[-1] / BINS)

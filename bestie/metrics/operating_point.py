"""From which score on detections are worth showing: where F1 is largest."""

import numpy as np
from jaxtyping import Bool, Float

BINS = 1000


class ScoreHistogram:
    """Right and wrong predictions by score, added up image by image; its memory does not grow.

    Scores are limited to 0..1 and told apart in steps of 1 / `BINS`.
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
        """The score above which F1 against `num_truth` true objects is largest; the higher of equals.

        0 where no prediction is right.
        """
        right = self._right[::-1].cumsum()[::-1]
        predicted = right + self._wrong[::-1].cumsum()[::-1]
        f1 = np.divide(2 * right, predicted + num_truth, out=np.zeros(BINS + 1), where=predicted + num_truth > 0)
        if not f1.any():
            return 0.0
        return float(np.flatnonzero(f1 == f1.max())[-1] / BINS)

"""Instance cues: the local maxima of activation maps, each of which marks one object (Section 3.3, Listing 3)."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Int

SMOOTHING_PX = 3


@dataclass(frozen=True)
class Cues:
    """Points on objects, one per row, sorted by channel, then by descending score, then by y and x.

    `channel` k is the activation map of category_id k + 1; `y` and `x` are in px of that map; `score` is its value.
    """

    channel: Int[np.ndarray, " n"]
    y: Int[np.ndarray, " n"]
    x: Int[np.ndarray, " n"]
    score: Float32[np.ndarray, " n"]


def smooth(activation: Float32[np.ndarray, "c h w"]) -> Float32[np.ndarray, "c h w"]:
    """Return the 3 x 3 mean of each map, with 0 beyond the border, as the authors' release does before `find_cues`."""
    smoothed = np.empty_like(activation)
    for source, result in zip(activation, smoothed, strict=True):
        result[:] = cv2.blur(source, (SMOOTHING_PX, SMOOTHING_PX), borderType=cv2.BORDER_CONSTANT)
    return smoothed


def find_cues(
    activation: Float32[np.ndarray, "c h w"],
    *,
    window_px: int = 15,
    threshold: float = 0.5,
    max_per_class: int = 25,
) -> Cues:
    """Find the local maxima of smoothed activation maps (paper Section 3.3 and Listing 3).

    A cue is a positive value of at least `threshold` that is the largest in the square window around it. As in the
    authors' release, every pixel of a plateau is a cue of its own, and `torch.topk` decides which of equal scores
    are kept at the limit.

    Args:
        activation: one map per class, in [0, 1].
        window_px: side of the window, odd.
        threshold: lower limit of the score, inclusive.
        max_per_class: keep only this many cues of a class, those with the highest scores.

    Raises:
        ValueError: `window_px` is even or not positive.
    """
    if window_px < 1 or window_px % 2 == 0:
        raise ValueError(f"window_px must be odd and positive, not {window_px}")
    window = np.ones((window_px, window_px), dtype=np.uint8)
    found = [
        _channel_cues(channel, scores, window, threshold, max_per_class) for channel, scores in enumerate(activation)
    ]
    if not found:
        nothing = np.empty(0, dtype=np.int64)
        return Cues(channel=nothing, y=nothing, x=nothing, score=np.empty(0, dtype=np.float32))
    return Cues(
        channel=np.concatenate([cues.channel for cues in found]),
        y=np.concatenate([cues.y for cues in found]),
        x=np.concatenate([cues.x for cues in found]),
        score=np.concatenate([cues.score for cues in found]),
    )


def _channel_cues(
    channel: int,
    scores: Float32[np.ndarray, "h w"],
    window: np.ndarray,
    threshold: float,
    max_per_class: int,
) -> Cues:
    is_peak = (scores == cv2.dilate(scores, window)) & (scores > 0)
    place = np.flatnonzero(is_peak & (scores >= threshold))
    if len(place) > max_per_class:
        peaks = torch.from_numpy(np.where(is_peak, scores, np.float32(0)).ravel())
        place = np.sort(peaks.topk(max_per_class).indices.numpy())
    score = scores.ravel()[place]
    order = np.argsort(-score, kind="stable")
    y, x = np.divmod(place[order], scores.shape[1])
    return Cues(channel=np.full(len(order), channel), y=y, x=x, score=score[order])

"""Activation maps to instance cues: the local maxima that mark one object each."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Int

SMOOTHING_PX = 3


@dataclass(frozen=True)
class Cues:
    """Points on objects, one a row, sorted by channel, then by descending score, then by y and x.

    `channel` k is the activation map of category_id k + 1; `y` and `x` are pixels of that map.
    """

    channel: Int[np.ndarray, " n"]
    y: Int[np.ndarray, " n"]
    x: Int[np.ndarray, " n"]
    score: Float32[np.ndarray, " n"]


def smooth(activation: Float32[np.ndarray, "c h w"]) -> Float32[np.ndarray, "c h w"]:
    """The 3 x 3 mean of each map; beyond the border counts as 0 (authors' release, before the peaks)."""
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

    A cue is a positive value of at least `threshold` that is the largest in the `window_px` square around it,
    of which the `max_per_class` highest are kept. As in the authors' release every pixel of a plateau is a
    cue of its own, and of equal scores at the limit those stay that `torch.topk` takes.

    Raises ValueError for a window that has no middle pixel.
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

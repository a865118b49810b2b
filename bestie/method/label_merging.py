"""Labels for Mask R-CNN from two sources: pseudo labels, and what the network finds beside them. Ours, not the paper's.

The paper exports the network's instances only (Section 4.2). A pseudo label comes from a component with exactly one
cue, and is right more often than what the network finds without one; so it goes first, and an instance of the network
is added if the pseudo labels leave enough of it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Integer

from bestie.method.inference import Instances

#: An instance of the network is added if pseudo labels cover at most this part of it.
MAX_COVERED = 0.5


@dataclass(frozen=True)
class MergedLabels:
    """The labels of one image, which do not overlap; entry i - 1 of each column belongs to label i of `instance`.

    `pseudo_id` is the instance id of the pseudo label that a label is, and 0 for an instance of the network.
    """

    instance: Int32[np.ndarray, "h w"]
    category_id: Int32[np.ndarray, " n"]
    score: Float32[np.ndarray, " n"]
    center_yx: Float32[np.ndarray, "n 2"]
    pseudo_id: Int32[np.ndarray, " n"]


def merge_labels(
    pseudo: Integer[np.ndarray, "h w"],
    category_id: Integer[np.ndarray, " p"],
    score: Float32[np.ndarray, " p"],
    center_yx: Float32[np.ndarray, "p 2"],
    found: Instances,
    *,
    min_score: float,
    min_area_px: int,
) -> MergedLabels:
    """Return all pseudo labels, and the network's instances that they do not cover, cut back to the pixels left over.

    Args:
        pseudo: the instance map of the pseudo labels, ids 1..p; 0 elsewhere.
        category_id: the class of each pseudo label.
        score: the score of each pseudo label.
        center_yx: the center of each pseudo label in px.
        found: the network's instances on the same image.
        min_score: least score of an instance that is added; a negative score counts as 0.
        min_area_px: fewest pixels that pseudo labels leave of an instance that they cover in part.
    """
    free = pseudo == 0
    counted = np.bincount(found.instance.ravel(), minlength=len(found.category_id) + 1)[1:]
    left = np.bincount(found.instance[free], minlength=len(found.category_id) + 1)[1:]
    whole = left == counted
    score_of_found = found.score.clip(min=0)  # negative from a negative center value, which is no reason to drop it
    enough = (left >= min_area_px) & (left >= (1 - MAX_COVERED) * counted)
    added: Bool[np.ndarray, " n"] = (score_of_found >= min_score) & (whole | enough)
    number = np.zeros(len(added) + 1, np.int32)
    number[1:][added] = len(category_id) + 1 + np.arange(added.sum())
    return MergedLabels(
        instance=np.where(free, number[found.instance], pseudo).astype(np.int32),
        category_id=np.concatenate([category_id, found.category_id[added]]).astype(np.int32),
        score=np.concatenate([score, score_of_found[added]]).astype(np.float32),
        center_yx=np.concatenate([center_yx, found.center_yx[added]]).astype(np.float32),
        pseudo_id=np.concatenate([np.arange(1, len(category_id) + 1), np.zeros(added.sum())]).astype(np.int32),
    )

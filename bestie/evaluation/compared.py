"""The few scores of a run that runs are compared by, out of all that `evaluate` measures."""

from collections.abc import Mapping
from typing import Any

#: The scores that runs are compared by, as DVC shows them: the model and its score.
COMPARED = {
    "network_map50": ("bestie", "map50"),
    "network_map75": ("bestie", "map75"),
    "mrcnn_map50": ("mrcnn", "map50"),
    "mrcnn_map75": ("mrcnn", "map75"),
    "components_map50": ("components", "map50"),
    "true_semantic_map50": ("bestie_true_semantic", "map50"),
    "exported_labels": ("export", "labels"),
    "exported_precision": ("export", "precision"),
    "exported_recall": ("export", "recall"),
}


def compared(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the few scores that runs are compared by, as far as there are any: those that DVC shows."""
    found = {name: metrics.get(model, {}).get(score) for name, (model, score) in COMPARED.items()}
    found["semantic_miou"] = metrics.get("semantic_miou")
    return {name: value for name, value in found.items() if value is not None}

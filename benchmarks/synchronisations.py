"""Host round trips of self-refinement, counted on a CPU: `python -m benchmarks.synchronisations`.

A round trip is an operator that needs the value of a tensor on the host: it reads a number (`.item()`, `.tolist()`), or
the size of its result depends on values (`nonzero`, masks as indices, `unique`). On a GPU, each of them waits for the
device. Their number must not grow with the number of images or instances.
"""

from collections import Counter
from unittest.mock import patch

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.common import line, start
from benchmarks.scenes import draw_scene
from bestie.method import centers
from bestie.method.refinement import refine
from bestie.method.regions import label_components
from bestie.method.targets import render_targets

SIDE_PX, CLASSES = 256, 20
WAITING = {
    "aten._local_scalar_dense.default",
    "aten.nonzero.default",
    "aten.masked_select.default",
    "aten._unique2.default",
    "aten.unique_consecutive.default",
    "aten.unique_dim.default",
    "aten.equal.default",
    "aten.is_nonzero.default",
    "aten.repeat_interleave.Tensor",
    "aten.bincount.default",
}


#: Methods that copy a tensor to the host; on a CPU, no operator shows that they were called.
COPYING = ("tolist", "cpu", "numpy")


class Copies(TorchFunctionMode):
    """A mode that counts calls of the methods that copy to the host."""

    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self._found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Note the method and run it."""
        name = getattr(func, "__name__", "")
        if name in COPYING:
            self._found[f"Tensor.{name}"] += 1
        return func(*args, **(kwargs or {}))


class RoundTrips(TorchDispatchMode):
    """A mode that counts, by operator, what would wait for a GPU."""

    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Note the operator and run it."""
        name = str(func)
        by_mask = name.startswith(("aten.index.", "aten.index_put")) and any(
            each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1]
        )
        if name in WAITING or by_mask:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def count(*, images: int, objects: int) -> Counter[str]:
    """Count the round trips of one call of `refine`, on the code paths of a GPU."""
    rng = np.random.default_rng(0)
    scenes = [draw_scene(rng, height=SIDE_PX, width=SIDE_PX, classes=[1, 2], objects=objects) for _ in range(images)]
    semantic = np.stack([scene.semantic for scene in scenes])
    targets = render_targets(
        torch.from_numpy(np.stack([scene.instance for scene in scenes])).long(),
        torch.from_numpy(np.stack([scene.category_id for scene in scenes])),
        num_classes=CLASSES,
    )
    labels = torch.zeros(images, CLASSES)
    labels[:, :2] = 1
    components = torch.from_numpy(np.stack([label_components(each) for each in semantic]))
    found: Counter[str] = Counter()
    on_gpu = {
        "_find_centers_by_crop": centers._find_centers_in_layers,
        "_cluster_by_crop": centers._cluster_by_propagation,
    }
    with patch.multiple(centers, **on_gpu), Copies(found), RoundTrips(found):
        refine(
            targets.center,
            targets.offset,
            image_labels=labels,
            wsss=torch.from_numpy(semantic),
            components=components,
        )
    return found


def main() -> None:
    """Count round trips for several batch sizes and numbers of objects."""
    start(f"Host round trips of refine, {SIDE_PX} px")
    for images, objects in ((1, 1), (4, 3), (16, 3), (16, 12)):
        found = count(images=images, objects=objects)
        line(f"{images} images, {objects} objects each", f"{found.total()}  {dict(sorted(found.items()))}")


if __name__ == "__main__":
    main()

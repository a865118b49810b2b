"""Make the small cases in `tests/golden/cases` from the full recordings of the authors' release.

    python -m tests.golden.make_cases ../shared/golden

Nothing is computed anew here: every expected value is the recorded one, or a part of it. What becomes a case:

- `pam`, `transfer`, `voc_ap`: the whole recording.
- `cues`: the first class, since each class has peaks of its own.
- `inference`, `refine`: one image, cropped to a rectangle that cuts no connected component, since instances depend on
  nothing outside their component. The center map of a class that does not occur in the rectangle becomes 0.
- `losses`: the whole recording, since a loss is a mean over all pixels. The maps are rounded to the steps of
  `LOSS_STEPS`, which takes a third off the file and changes each loss by less than 2 millionths of itself (measured in
  float64); the tests allow 10 millionths.
"""

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

CASES = Path(__file__).parent / "cases"

WHOLE = ("pam", "transfer_0", "transfer_1", "transfer_2", "voc_ap")

LOSS_STEPS = {
    "center": 2**-14,
    "target_center": 2**-14,
    "offset": 2**-10,
    "target_offset": 2**-10,
    "weight": 2**-12,
    "semantic_logits": 2**-12,
}

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Crop:
    """The rectangle of one image of a recording that becomes a case."""

    image: int
    rows: slice
    columns: slice

    def of(self, array: np.ndarray) -> np.ndarray:
        """Crop maps whose last two dimensions are y and x."""
        return array[..., self.rows, self.columns]

    def of_batch(self, array: np.ndarray) -> np.ndarray:
        """Crop maps whose first dimension is the image; the result is a batch of one."""
        return self.of(array[self.image : self.image + 1])


CROPS = {
    "inference_1": Crop(0, slice(99, 160), slice(76, 158)),  # a component of two instances at the border of the image
    "refine_1": Crop(0, slice(101, 136), slice(112, 148)),  # a center that center clustering finds
    "refine_2": Crop(1, slice(0, 58), slice(90, 127)),  # a component that two peaks of the center map split
}


def make_cases(recordings: Path, cases: Path = CASES) -> None:
    """Write all cases into the folder `cases`, from the folder of full recordings."""
    cases.mkdir(exist_ok=True)
    for name in WHOLE:
        shutil.copyfile(recordings / f"{name}.npz", cases / f"{name}.npz")
    made = {
        "cues": first_class_of_cues(np.load(recordings / "cues.npz")),
        "losses": round_maps_of_losses(np.load(recordings / "losses.npz")),
    }
    for name, crop in CROPS.items():
        cropped = crop_inference if name.startswith("inference") else crop_refinement
        made[name] = cropped(np.load(recordings / f"{name}.npz"), crop)
    for name, case in made.items():
        np.savez_compressed(cases / f"{name}.npz", **case)


def first_class_of_cues(recorded: Arrays) -> dict[str, np.ndarray]:
    """Keep class 0 of the activation maps, and its peaks."""
    peaks = recorded["peaks_class_y_x_score"]
    return {
        "cam": recorded["cam"][:1],
        "smoothed": recorded["smoothed"][:1],
        "peaks_class_y_x_score": peaks[peaks[:, 0] == 0],
    }


def round_maps_of_losses(recorded: Arrays) -> dict[str, np.ndarray]:
    """Round the maps to `LOSS_STEPS`; the labeled region, where the weight is above 0, stays the same."""
    case = dict(recorded)
    for name, step in LOSS_STEPS.items():
        case[name] = (np.round(recorded[name] / step) * step).astype(np.float32)
    if not np.array_equal(case["weight"] > 0, recorded["weight"] > 0):
        raise ValueError("rounding the weights has changed the labeled region")
    return case


def crop_inference(recorded: Arrays, crop: Crop) -> dict[str, np.ndarray]:
    """Crop a network's output and the instances that the release made of it."""
    require_whole_components(recorded["out_semantic"], crop)
    inside = crop.of(recorded["out_masks"]).any(axis=(1, 2))
    return {
        **recorded,
        "semantic_logits": crop.of_batch(recorded["semantic_logits"]),
        "center": crop_center(recorded["center"], crop, semantic=recorded["out_semantic"]),
        "offset": crop.of_batch(recorded["offset"]),
        "out_semantic": crop.of(recorded["out_semantic"]),
        "out_labels": recorded["out_labels"][inside],
        "out_masks": crop.of(recorded["out_masks"])[inside],
        "out_scores": recorded["out_scores"][inside],
    }


def crop_refinement(recorded: Arrays, crop: Crop) -> dict[str, np.ndarray]:
    """Crop a network's output, its WSSS map, and the refined labels that the release made of them."""
    wsss = recorded["wsss"][crop.image]
    require_whole_components(wsss, crop)
    maps = ("semantic_logits", "offset", "wsss", "out_center", "out_offset", "out_weight")
    return {
        **recorded,
        **{name: crop.of_batch(recorded[name]) for name in maps},
        "center": crop_center(recorded["center"], crop, semantic=wsss),
        "image_labels": recorded["image_labels"][crop.image : crop.image + 1],
    }


def crop_center(center: np.ndarray, crop: Crop, *, semantic: np.ndarray) -> np.ndarray:
    """Crop a class-wise center map, and set the classes to 0 that do not occur in the rectangle."""
    occurs = np.isin(np.arange(1, center.shape[1] + 1), crop.of(semantic))
    return np.where(occurs[:, None, None], crop.of_batch(center), np.float32(0))


def require_whole_components(semantic: np.ndarray, crop: Crop) -> None:
    """Raise ValueError if the rectangle cuts an 8-connected component, or holds none."""
    within = np.zeros(semantic.shape, bool)
    within[crop.rows, crop.columns] = True
    whole = 0
    for category in np.unique(semantic[semantic > 0]):
        components, count = ndimage.label(semantic == category, structure=np.ones((3, 3)))
        for component in range(1, count + 1):
            inside = within[components == component]
            if inside.any() and not inside.all():
                raise ValueError(f"{crop} cuts a component of class {category}")
            whole += inside.all()
    if not whole:
        raise ValueError(f"{crop} holds no component")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make tests/golden/cases from full recordings.")
    parser.add_argument("recordings", type=Path, help="folder of the full recordings (*.npz)")
    make_cases(parser.parse_args().recordings)

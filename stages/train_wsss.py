"""Learn to make semantic maps from image-level labels alone: `python -m stages.train_wsss`.

The cells in which the classifier is active give a discriminant of each class, and this gives the first maps. Where
they are sure, boundaries between classes are learned from them (`boundary_epochs`). Then, round after round, a network
learns the maps made so far, and makes better ones. No true mask is read here. If `import_wsss.source` names other maps,
nothing is learned, and the outputs are empty.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn import functional as F

from bestie.artifacts.image_index import read_images
from bestie.artifacts.map_layout import layout_of
from bestie.artifacts.maps import MapReader, MapWriter
from bestie.artifacts.metrics_json import read_json, write_history, write_json
from bestie.artifacts.tables import read_categories
from bestie.artifacts.weights import load_weights, save_weights
from bestie.method.discriminants import Cells
from bestie.method.semantic_network import SemanticNetwork
from bestie.params.dataset import Dataset
from bestie.params.train_wsss import TrainWsss
from bestie.prediction.semantic_predictor import SemanticPredictor
from bestie.records import VOID, ImageRecord
from bestie.runtime.device import autocast, pick_device, prepare_process
from bestie.runtime.distributed import spread, wait_for_all
from bestie.runtime.fingerprint import fingerprint
from bestie.runtime.own_maps import makes_own_maps
from bestie.runtime.processes import in_processes
from bestie.runtime.progress import track
from bestie.runtime.ranks import end_helpers, rank
from bestie.runtime.settings import Settings
from bestie.runtime.stage import folder, run_stage
from bestie.training.boundary_training import train_boundaries
from bestie.training.checkpoints import Checkpoints
from bestie.training.initial import Origin
from bestie.training.samples import image_tensor
from bestie.training.saved_models import save_model
from bestie.training.semantic_model import create_semantic_network
from bestie.training.semantic_training import SemanticImages, train_semantic_network

INDEX = folder("prepare") / "images.parquet"
CLASSIFIER = folder("train_pam") / "classifier.zarr"
ACTIVATIONS = folder("extract_cues") / "activations.zarr"
MAPS, BEGIN, LEARNED = "maps.zarr", "begin.json", "boundary.zarr"
#: Pixels whose scores of an object and of background differ by less than this part of the latter teach no boundaries.
DOUBT = 0.5
#: Cells, drawn at random, that each of the first so many images of a class gives to learn the discriminants from.
CELLS_PER_IMAGE, IMAGES_PER_CLASS = 256, 300


def main(dataset: Dataset, params: TrainWsss, settings: Settings) -> None:
    """Learn the discriminants, then train a network in rounds; write both with the history."""
    out = folder("train_wsss")
    if not makes_own_maps():
        end_helpers()
        save_weights(out / "semantic_network.zarr", {})
        write_history(out / "history.parquet", out / "history.json", [])
        return
    learner = Learner(dataset.image_root, params, settings)
    network, origin = learner.fresh_network()
    learner.learn_discriminants(network)
    inputs = [INDEX, CLASSIFIER, ACTIVATIONS]
    name = fingerprint("train_wsss", inputs, dataset=dataset, params=params, origin=origin)
    states = [
        Checkpoints(settings.state / f"train_wsss_{number}", name, minutes=settings.checkpoint_minutes)
        for number in range(1, params.rounds + 1)
    ]
    boundaries = Checkpoints(settings.state / "train_wsss_boundaries", name, minutes=settings.checkpoint_minutes)
    history = learner.learn_boundaries(network, boundaries) if params.boundary_epochs else []
    begun = max((number for number, state in enumerate(states) if (state.folder / BEGIN).is_file()), default=0)
    for number, state in enumerate(states[begun:], start=begun):
        begin = state.folder / BEGIN
        if rank() == 0 and not begin.is_file():
            pixels = learner.write_maps(state.folder / MAPS, network, by_network=number > 0)
            write_json(begin, {"class_pixels": pixels, "history": history})
        wait_for_all()
        network, rows = learner.train_round(network, number, state)
        history = read_json(begin)["history"] + rows
    end_helpers()
    save_model(out / "semantic_network.zarr", network, params, num_classes=learner.num_classes, origin=origin)
    write_history(out / "history.parquet", out / "history.json", history)
    for state in (boundaries, *states):
        state.remove()


class Learner:
    """What the rounds share: the training images, and how a network is built, learns, and makes maps."""

    def __init__(self, root: Path, params: TrainWsss, settings: Settings) -> None:
        self._root, self._params, self._settings = root, params, settings
        self._device = pick_device(settings.device)
        self._records = read_images(INDEX, "train")
        self.num_classes = len(read_categories(folder("prepare") / "categories.parquet"))

    def fresh_network(self) -> tuple[SemanticNetwork, Origin]:
        """Return the network with its first weights, the same each time, and their origin."""
        prepare_process(self._params.seed)
        network, origin = create_semantic_network(self._params, num_classes=self.num_classes, previous=CLASSIFIER)
        return network.to(self._device).to(memory_format=torch.channels_last), origin

    @torch.no_grad()
    def learn_discriminants(self, network: SemanticNetwork) -> None:
        """Gather cells of the training images, with their activations, and learn the discriminants from them."""
        rng = np.random.default_rng(self._params.seed)
        activations = MapReader(ACTIVATIONS)
        network.eval()
        images = []
        for record in track(
            first_of_each_class(self._records, IMAGES_PER_CLASS),
            "train_wsss, discriminants",
            as_json=self._settings.json_progress,
        ):
            with autocast(self._device, self._params.precision):
                maps = network.pyramid(image_tensor(self._root, record)[None].to(self._device))
            features = network.signature(maps)[0]
            values = read_activation(activations, record, features.shape[1:])
            drawn = rng.permutation(values.shape[1])[:CELLS_PER_IMAGE]
            images.append(
                Cells(record.labels, features.flatten(1).T[drawn].half().cpu(), torch.from_numpy(values[:, drawn]))
            )
        network.discriminants.cpu().learn(
            images,
            object_from=self._params.object_threshold,
            context_below=self._params.context_threshold,
            shrinkage=self._params.shrinkage,
            passes=self._params.passes,
        )
        network.discriminants.to(self._device)

    def learn_boundaries(self, network: SemanticNetwork, state: Checkpoints) -> list[dict[str, float]]:
        """Train the network's head for boundaries on the maps of the discriminants, and return its history."""
        assert network.boundary is not None
        seeds, learned = state.folder / MAPS, state.folder / LEARNED
        if not learned.is_dir():
            if rank() == 0 and not seeds.is_dir():
                self.write_maps(seeds, network, by_network=False, doubt=DOUBT)
            wait_for_all()
            maps = MapReader(seeds, keep=True)
            samples = SemanticImages(self._records, self._root, self._params.augmentation, maps)
            rows = train_boundaries(network, samples, self._params, self._settings, self._device, checkpoints=state)
            if rank() == 0:
                save_weights(learned, network.boundary.state_dict(), {"history": rows})
            wait_for_all()
        weights, attributes = load_weights(learned)
        network.boundary.load_state_dict(weights)
        return [{"epoch": row["epoch"], "boundary": row["total"]} for row in attributes["history"]]

    def write_maps(self, path: Path, network: SemanticNetwork, *, by_network: bool, doubt: float = 0.0) -> list[int]:
        """Write the maps that are learned next, and return their pixels of each class, background first.

        With `doubt`, which takes no walk, they are void where they are in doubt, see `SemanticPredictor.find`. In maps
        of the discriminants, the score of background is `train_wsss.background` as it is.
        """
        changed = {} if by_network else {"background_factor": 1.0}
        predictor = SemanticPredictor(
            network,
            self._params.maps.model_copy(update=changed | ({"walk_steps": 0} if doubt else {})),
            by_network=by_network,
            background=self._params.background,
            device=self._device,
        )
        pixels = np.zeros(VOID + 1, np.int64)
        layout = layout_of(self._records.sizes_hw)
        rows = int(self._records.rows.max()) + 1
        with MapWriter(path, {"semantic": ("uint8", VOID)}, rows, layout) as maps:
            find = partial(predictor.find, root=self._root, doubt=doubt)
            found = in_processes(find, self._records, len(self._records), device=self._device, settings=self._settings)
            progress = track(self._records, "train_wsss, maps", as_json=self._settings.json_progress)
            for record, semantic in zip(progress, found, strict=True):
                maps.write(record.row, "semantic", semantic)
                pixels += np.bincount(semantic.ravel(), minlength=VOID + 1)
        return pixels[: self.num_classes + 1].tolist()

    def train_round(
        self, previous: SemanticNetwork, number: int, state: Checkpoints
    ) -> tuple[SemanticNetwork, list[dict[str, float]]]:
        """Train a new network on the maps of round `number`, counted from 0, and return it with its history.

        It takes over the discriminants and the boundaries of the `previous` one.
        """
        network, _ = self.fresh_network()
        network.discriminants.load_state_dict(previous.discriminants.state_dict())
        if network.boundary is not None and previous.boundary is not None:
            network.boundary.load_state_dict(previous.boundary.state_dict())
        maps = MapReader(state.folder / MAPS, keep=True)
        rows = train_semantic_network(
            network,
            SemanticImages(self._records, self._root, self._params.augmentation, maps),
            self._params,
            self._settings,
            self._device,
            class_pixels=np.array(read_json(state.folder / BEGIN)["class_pixels"]),
            checkpoints=state,
            description=f"train_wsss, round {number + 1} of {self._params.rounds}",
        )
        before = self._params.boundary_epochs + number * self._params.epochs
        return network, [{**row, "epoch": before + row["epoch"]} for row in rows]


def first_of_each_class(records: Sequence[ImageRecord], most: int) -> list[ImageRecord]:
    """Return the images that are among the first `most` of one of their classes, in order."""
    seen: Counter[int] = Counter()
    kept = []
    for record in records:
        if any(seen[category] < most for category in record.labels):
            kept.append(record)
        seen.update(record.labels)
    return kept


def read_activation(activations: MapReader, record: ImageRecord, grid: torch.Size) -> Float32[np.ndarray, "n cells"]:
    """Return the activation of each class of an image, 0 to 1, in the cells of a grid."""
    stride = activations.attributes["stride_px"]
    size = (-(-record.height // stride), -(-record.width // stride))
    stored = activations.read(record.row, "activation", *size)[[category - 1 for category in record.labels]]
    scaled = torch.from_numpy(stored)[None].float() / activations.attributes["scale"]
    return F.interpolate(scaled, size=grid, mode="bilinear", align_corners=False)[0].flatten(1).numpy()


if __name__ == "__main__":
    run_stage("train_wsss", TrainWsss, spread(main), sys.argv[1:])

"""Fit a line with `Loop`: `python tests/lines_in_processes.py PROCESSES FILE` writes history and weights as JSON."""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from bestie.params.dataset import Dataset
from bestie.params.section import Section
from bestie.runtime.distributed import replicate, spread
from bestie.runtime.ranks import end_helpers
from bestie.runtime.settings import Settings
from bestie.training.loop import Clock, Loop

DATASET = Dataset(name="lines", format="shapes", root=".", supervision="image")


class Lines(Section):
    """The file that the result is written to."""

    path: str


def main(_dataset: Dataset, params: Lines, _settings: Settings) -> None:
    """Train a network without batch statistics, so that only the means over the batch matter."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
    replica = replicate(module)

    def step(batch: Tensor, _clock: Clock) -> dict[str, Tensor]:
        return {"total": (replica(batch) - 2 * batch).square().mean()}

    history = Loop(
        module=module,
        optimizer=optimizer,
        schedule=LambdaLR(optimizer, lambda step: 0.9**step),
        samples=lambda index, rng: torch.tensor([index / 4 + rng.random()], dtype=torch.float32),
        collate=torch.stack,
        step=step,
        count=26,
        epochs=3,
        batch_size=8,
        seed=5,
        description="lines",
    ).run()
    end_helpers()
    weights = {name: value.tolist() for name, value in module.state_dict().items()}
    Path(params.path).write_text(json.dumps({"history": history, "weights": weights}), encoding="utf-8")


if __name__ == "__main__":
    spread(main)(DATASET, Lines(path=sys.argv[2]), Settings(device="cpu", processes=int(sys.argv[1])))

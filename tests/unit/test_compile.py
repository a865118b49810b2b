"""BESTIE_COMPILE: a compiled training learns what an uncompiled one learns."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests import workspace as ws

#: Two steps of a tiny network on drawn samples; a process of its own, because shape checks cannot be compiled.
TRAINING = """
import json
import numpy as np
import torch
from bestie.params.train_bestie import TrainBestie
from bestie.runtime.settings import load_settings
from bestie.runtime.device import prepare_process
from bestie.training.network_training import train_network
from bestie.training.network_model import create_network
from bestie.training.samples import InstanceImages

class Drawn:
    records = [None] * 4
    collate = staticmethod(InstanceImages.collate)

    def __call__(self, index, rng):
        instance = torch.zeros(64, 64, dtype=torch.int32)
        instance[16:40, 8:40] = 1
        return {
            "images": torch.from_numpy(rng.integers(0, 256, (3, 64, 64), dtype=np.uint8)),
            "labels": torch.ones(1), "semantic": instance.to(torch.uint8), "instance": instance,
            "components": instance, "category": torch.ones(1, dtype=torch.int64),
        }

params = TrainBestie(
    epochs=1, batch_size=2, precision="fp32", width=8, backbone={"name": "test_resnet"}, augmentation={"crop_px": 64}
)
prepare_process(0)
network, _ = create_network(params, num_classes=1, previous=None)
network.to(memory_format=torch.channels_last)
history = train_network(
    network, Drawn(), params, load_settings(), torch.device("cpu"), class_pixels=np.array([1, 1])
)
print(json.dumps([history[0]["total"], sorted(network.state_dict())[:3]]))
"""


def train(**environment: str) -> tuple[float, list[str]]:
    ended = subprocess.run(
        [sys.executable, "-c", TRAINING],
        env={**os.environ, "PYTHONPATH": str(ws.ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    total, names = json.loads(ended.stdout)
    return total, names


@pytest.mark.slow  # the compiler takes a minute
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_network_trains_and_keeps_the_names_of_its_weights():
    plain, compiled = train(), train(BESTIE_COMPILE="1")
    assert compiled[0] == pytest.approx(plain[0], rel=1e-3)
    assert compiled[1] == plain[1]

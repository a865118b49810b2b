"""Whole stages on a pretended GPU: they mix no devices, need no kernel that CUDA lacks, and write what a CPU writes.

They run in float32: in bf16, a CPU computes a few layers more exactly.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests import workspace as ws
from tests.pretended_gpu.gpu import PretendedGpu

PREDICTING = ("extract_cues", "make_wsss", "export_mrcnn", "evaluate")
PARAMS = (
    "train_pam.epochs=1",
    "train_pam.precision=fp32",
    "train_wsss.epochs=1",
    "train_bestie.epochs=2",
    "train_bestie.evolution_every=1",
    "train_mrcnn.epochs=1",
    "train_mrcnn.precision=fp32",
    "import_wsss.source=data/make_wsss/maps.zarr",
    *(f"{stage}.precision=fp32" for stage in PREDICTING),
)


@pytest.fixture
def prepared(workspace: Path) -> Path:
    """A finished run, with parameters for stages that are short."""
    ws.set_params(*PARAMS)
    return workspace


def run_on_gpu(*stages: str) -> PretendedGpu:
    with PretendedGpu() as gpu:
        ws.run(*stages, device="cuda", workers=0)
    assert not gpu.no_kernel
    return gpu


def history(stage: str) -> list[dict]:
    return pq.read_table(f"data/{stage}/history.parquet").to_pylist()


def test_stages_that_predict_write_the_bytes_that_they_write_on_a_cpu(prepared: Path):
    ws.run("train_wsss", *PREDICTING, workers=0)
    before = {stage: ws.stage_digests(stage) for stage in PREDICTING}
    run_on_gpu(*PREDICTING)
    assert {stage: ws.stage_digests(stage) for stage in PREDICTING} == before


@pytest.mark.parametrize("stage", ["train_pam", "train_wsss", "train_bestie", "train_mrcnn"])
def test_a_training_goes_as_on_a_cpu(stage: str, prepared: Path):
    ws.run(stage, workers=0)
    expected = history(stage)
    run_on_gpu(stage)
    found = history(stage)
    assert len(found) == len(expected) > 0
    # Rounding decides which refined labels exist, and their terms of the loss with them: test_steps.py compares those.
    # Once there are some, the weights follow them: on a processor without bf16, a term of train_bestie's second epoch
    # is off by a tenth.
    names = [name for name in expected[0] if "refined" not in name and name != "total"]
    refined = np.cumsum([any(row[name] for name in row if "refined" in name) for row in expected]) > 0
    for row, wanted, loose in zip(found, expected, refined, strict=True):
        close = pytest.approx([wanted[name] for name in names], rel=0.15 if loose else 0.03, nan_ok=True)
        assert [row[name] for name in names] == close

"""Whole stages on a pretended GPU: they mix no devices, need no kernel that CUDA lacks, and write what a CPU writes.

They run in float32: in bf16, a CPU computes a few layers more exactly.
"""

from pathlib import Path

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
    # Where a center is near the threshold, rounding decides whether a refined label exists, and the weights follow it.
    # So there are none here; test_steps.py compares steps that have some. Adam takes steps of full length along
    # gradients that are nothing but rounding, and short ones leave the largest value of a map alone.
    ws.set_params(*PARAMS, "train_bestie.refinement.threshold=0.9", "train_bestie.optimizer.learning_rate=0.001")
    ws.run(stage, workers=0)
    expected = history(stage)
    run_on_gpu(stage)
    found = history(stage)
    assert len(found) == len(expected) > 0
    for row, wanted in zip(found, expected, strict=True):
        assert list(row) == list(wanted)
        assert list(row.values()) == pytest.approx(list(wanted.values()), rel=0.03, nan_ok=True)


def test_a_training_with_refined_labels_runs_on_a_gpu(prepared: Path):
    run_on_gpu("train_bestie")
    assert all(row["refined_per_image"] > 0 for row in history("train_bestie"))

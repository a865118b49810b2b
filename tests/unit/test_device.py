"""Precision: bf16 if the processor computes it, and never a slow replacement kernel."""

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from bestie.runtime.device import autocast, cpu_has_bf16, prepare_process

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_no_precision_falls_back_to_slow_kernels(precision: str):
    layer = nn.Conv2d(8, 8, 3, padding=1)
    with profile(activities=[ProfilerActivity.CPU]) as profiled, torch.no_grad(), autocast(CPU, precision):
        result = layer(torch.rand(2, 8, 16, 16))

    called = {event.key for event in profiled.key_averages()}
    assert "aten::mkldnn_convolution" in called
    assert not any("slow_conv" in name for name in called)
    assert result.dtype == (torch.bfloat16 if precision == "bf16" and cpu_has_bf16() else torch.float32)


def test_a_processor_without_bf16_is_told_of_once(capfd: pytest.CaptureFixture[str]):
    cpu_has_bf16.cache_clear()
    for _ in range(2):
        with autocast(CPU, "bf16"):
            pass
    assert capfd.readouterr().err.count("computed in fp32") == (0 if cpu_has_bf16() else 1)


def test_fp32_is_not_rounded_on_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # torch's own default
    prepare_process(0)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32

"""Device, precision and memory settings of a process that trains or predicts."""

import ctypes
import os
import random
import sys
from contextlib import AbstractContextManager
from functools import cache

import cv2
import numpy as np
import torch
from torch.utils import deterministic

from bestie.errors import InputError
from bestie.processes import launched, rank

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1


def pick_device(name: str) -> torch.device:
    """`auto` is cuda where there is one; each of several processes has a GPU of its own.

    Raises:
        InputError: the device does not exist here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and launched():
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"BESTIE_DEVICE={name!r} is no device; use auto, cpu, cuda or cuda:<index>") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"BESTIE_DEVICE={name!r}, but no GPU is visible; use BESTIE_DEVICE=cpu")
    return device


def prepare_process(seed: int) -> None:
    """Seed all generators, choose deterministic kernels, leave threads to torch, keep freed memory in the process.

    The last of them saves a third of a training step on CPUs: glibc otherwise returns every large
    activation to the system and takes it back, page by page, in the next step.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries draw from the global generator
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    # Filling every new tensor, torch's safety net, costs a pass over the memory of each.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    cv2.setNumThreads(1)  # its maps are small, and its threads would wait for those of torch
    if sys.platform == "linux" and not torch.cuda.is_available():
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """bf16 where `precision` says so and the device computes it, with fp32 weights; else fp32."""
    enabled = precision == "bf16" and (device.type != "cpu" or cpu_has_bf16())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


@cache
def cpu_has_bf16() -> bool:
    """Whether torch has kernels of its library oneDNN for bf16 on this processor; says so once where it has none.

    Its other kernels take about eight times as long as those for fp32, the nearest that such a processor has.
    """
    supported = torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if not supported and rank() == 0:
        print("this processor has no instructions for bf16: precision bf16 is computed in fp32", file=sys.stderr)
    return supported

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
from bestie.runtime.ranks import launched, rank

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1


def pick_device(name: str) -> torch.device:
    """Return the device that a name stands for.

    Args:
        name: `auto` (cuda if a GPU is visible, otherwise cpu), `cpu`, `cuda`, `cuda:1`, ... If several processes share
            a stage, `cuda` is the next GPU in each of them.

    Raises:
        InputError: the name is not that of a device, or it is that of a GPU and none is visible.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and launched():
        name = f"cuda:{int(os.environ['LOCAL_RANK']) % max(1, torch.cuda.device_count())}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"BESTIE_DEVICE={name!r} is no device; use auto, cpu, cuda or cuda:<index>") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"BESTIE_DEVICE={name!r}, but no GPU is visible; use BESTIE_DEVICE=cpu")
    return device


def prepare_process(seed: int) -> None:
    """Seed all random generators, choose deterministic kernels, leave threads to torch, and keep freed memory.

    Keeping freed memory in the process saves a third of a training step on CPUs: glibc otherwise returns every large
    activation to the system and requests it again, page by page, in the next step.

    Args:
        seed: 0 to 2**32 - 1.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  libraries draw from the global generator
    torch.manual_seed(seed)
    # On CUDA, this switch replaces fast kernels by ones that sort all pixels, and torchvision's by ones to compile.
    # This form of it does not load the compiler, which takes as long as loading the rest of torch.
    torch.set_deterministic_debug_mode("default" if torch.cuda.is_available() else "error")
    torch.backends.cudnn.deterministic = True
    # By default torch then fills every new tensor as a safety net, which costs a pass over its memory.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # by default, fp32 convolutions on a GPU keep only 10 bits of each value
    cv2.setNumThreads(1)  # the maps are small, and OpenCV's threads would wait for those of torch
    if sys.platform == "linux" and not torch.cuda.is_available():
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return a context that computes in bf16 if `precision` is "bf16" and the device supports it, otherwise in fp32.

    Weights are fp32 in either case.
    """
    enabled = precision == "bf16" and (device.type != "cpu" or cpu_has_bf16())
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


@cache
def cpu_has_bf16() -> bool:
    """Return whether oneDNN, torch's library for CPUs, has bf16 kernels for this processor; if not, print so once.

    On such a processor, torch's other bf16 kernels take about eight times as long as those for fp32.
    """
    supported = torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if not supported and rank() == 0:
        print("this processor has no instructions for bf16: precision bf16 is computed in fp32", file=sys.stderr)
    return supported

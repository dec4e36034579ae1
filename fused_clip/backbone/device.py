"""Device and precision of the model; torch is imported only if the answer needs it."""

import logging
import platform
import sys
from pathlib import Path
from typing import Literal

from fused_clip.support.errors import InputError

log = logging.getLogger(__name__)
Precision = Literal["float32", "bfloat16"]

#: Device files without which Linux has no GPU that torch can use: NVIDIA, AMD, NVIDIA under WSL.
_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_KERNEL_FLAGS = {"avx2", "avx512f", "avx512bw", "sve", *_BF16_FLAGS}


def choose_device(device: str) -> str:
    """Resolve ``auto`` to the GPU if there is one, else the CPU; check that another device is there.

    Parameters
    ----------
    device : value of ``backbone.device``.
    """
    if device == "cpu" or (device == "auto" and _without_gpu()):
        return "cpu"
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(kind for kind, available in there.items() if available)
    kind, colon, index = device.partition(":")
    numbered = index.isdecimal() and int(index) < torch.cuda.device_count()
    if not there.get(kind, False) or (colon and not (kind == "cuda" and numbered)):
        choices = ["auto", *(kind for kind, available in there.items() if available)]
        raise InputError("backbone.device", "must be available to torch", device, choices=choices)
    return device


def choose_precision(precision: str, device: str) -> Precision:
    """Resolve ``auto`` to bfloat16 where the hardware multiplies in it, else float32.

    Parameters
    ----------
    precision : value of ``backbone.precision``.
    device : from `choose_device`.
    """
    if precision == "float32":
        return "float32"
    if precision == "bfloat16":
        if device == "cpu" and not _cpu_flags() & _BF16_FLAGS:
            log.warning("This CPU has no bfloat16 unit: it computes in bfloat16 far slower than in float32")
        return "bfloat16"
    if device == "cpu":
        return "bfloat16" if _cpu_flags() & _BF16_FLAGS else "float32"
    if device.startswith("cuda"):
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "float32"


def kernels(device: str) -> str:
    """Name the CPU features that select torch's kernels, and so the last bits; empty for other devices.

    Parameters
    ----------
    device : from `choose_device`.
    """
    if device != "cpu":
        return ""
    return " ".join([platform.machine().lower(), *sorted(_cpu_flags() & _KERNEL_FLAGS)])


def _without_gpu() -> bool:
    if sys.platform == "darwin":
        return platform.machine() != "arm64"
    return sys.platform == "linux" and not any(Path(file).exists() for file in _GPU_FILES)


def _cpu_flags() -> set[str]:
    """Features of the CPU that Linux lists; empty on other systems."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return {word for line in lines if line.startswith(("flags", "Features")) for word in line.split()}

"""Where to compute, and in which number format."""

from __future__ import annotations

import functools
from typing import Literal

import torch

from vitrail.errors import ParameterError
from vitrail.predict.names import check_names

Precision = Literal["float32", "bfloat16", "float16"]


def pick_device(wanted: str = "auto") -> torch.device:
    """``auto`` is the GPU where there is one, else the CPU.

    Raises
    ------
    ParameterError
        the name is not a device, or this machine does not have it.
    """
    check_names(wanted, "auto")
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ParameterError(f"device={wanted!r} cannot be used here ({reason})") from None
    return device


def pick_precision(wanted: str, device: torch.device) -> Precision:
    """Resolve ``auto`` to the fastest format that the device does well.

    On a CPU that is bfloat16 where it has the instructions (AVX512-BF16 or AMX), elsewhere
    float32: emulated bfloat16 is slower. On CUDA it is bfloat16 from compute capability 8 on,
    float16 below.

    Raises
    ------
    ParameterError
        the name is none of auto, float32, bfloat16, float16, or the device lacks float16.
    """
    check_names("auto", wanted)
    if wanted == "auto":
        if device.type == "cuda":
            return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float16"
        return "bfloat16" if device.type == "cpu" and cpu_has_bfloat16() else "float32"
    if wanted == "float16" and device.type == "cpu":
        raise ParameterError("precision='float16' is not for the CPU; use bfloat16 or float32")
    return wanted  # pyright: ignore[reportReturnType]


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if capabilities:
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    older = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # before torch 2.11 or so
    return bool(older and older())

"""How devices and precisions are called; apart from torch, so that a typo is found at once."""

from __future__ import annotations

import re

from vitrail.errors import ParameterError

_DEVICE = re.compile(r"auto|cpu|mps|(cuda|xpu)(:\d+)?")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def check_names(device: str, precision: str) -> None:
    """Refuse what can be no device or precision anywhere.

    Raises
    ------
    ParameterError
        names the value and the ones there are.
    """
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise ParameterError(f"device={device!r}: expected auto, cpu, cuda, cuda:N, xpu or mps")
    if precision not in PRECISIONS:
        raise ParameterError(f"precision={precision!r}: expected one of {', '.join(PRECISIONS)}")

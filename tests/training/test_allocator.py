"""Freed memory that is kept costs no page faults when it is taken again."""

import os
import subprocess
import sys

import pytest

from vitrail.training import allocator
from vitrail.training.allocator import kept_memory

COUNT = """
import resource
import numpy as np
from vitrail.training.allocator import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(6):
        np.full(64 << 20, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
with kept_memory():
    faults()  # the heap grows to its new use
    print(usual, faults())
"""
"""Page faults of filling and freeing 64 MB six times; in a process of its own, since others'
blocks decide where in the heap a block fits."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counted as Linux counts")
def test_pages_are_not_asked_for_again_while_memory_is_kept() -> None:
    environment = os.environ | {"NUMPY_MADVISE_HUGEPAGE": "0"}  # huge pages make few faults
    command = [sys.executable, "-c", COUNT]
    run = subprocess.run(command, capture_output=True, check=True, env=environment)
    usual, kept = map(int, run.stdout.split())
    if usual < 1000:
        pytest.skip(f"only {usual} page faults without it: another C library")
    assert kept < usual / 10


def test_nothing_happens_with_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    with pytest.raises(RuntimeError, match="a step failed"), kept_memory():
        raise RuntimeError("a step failed")

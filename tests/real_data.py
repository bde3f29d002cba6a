"""Where the development data sets lie, for tests marked ``data``."""

import os
from pathlib import Path

import pytest


def real(name: str) -> Path:
    """The folder of a real data set; skips the test where it is absent."""
    root = os.environ.get("VITRAIL_DATA")
    if not root:
        pytest.skip("set VITRAIL_DATA to the folder that holds the development data sets")
    folder = Path(root) / name
    if not folder.exists():
        pytest.skip(f"{folder} is absent")
    return folder

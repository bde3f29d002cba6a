"""The scripts of docs/ that write parts of it, loaded from their files."""

import importlib.util
import sys
from types import ModuleType

from tests.docs.fences import ROOT


def script(name: str) -> ModuleType:
    """``docs/NAME.py`` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module

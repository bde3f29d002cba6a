"""Choosing device and precision."""

import pytest
import torch

from vitrail.errors import ParameterError
from vitrail.predict import device as module
from vitrail.predict.device import pick_device, pick_precision

CPU = torch.device("cpu")


def test_auto_is_bfloat16_only_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(module, "cpu_has_bfloat16", lambda has=has: has)
        assert pick_precision("auto", CPU) == expected


def test_named_precisions_are_taken_as_they_are() -> None:
    assert pick_precision("bfloat16", CPU) == "bfloat16"
    assert pick_precision("float32", CPU) == "float32"


@pytest.mark.parametrize("wanted", ["float16", "double", ""])
def test_precisions_that_cannot_be(wanted: str) -> None:
    with pytest.raises(ParameterError, match=f"precision='{wanted}'"):
        pick_precision(wanted, CPU)


@pytest.mark.parametrize("wanted", ["cuda:99", "gpu", "", "xla", "meta", 3, None])
def test_devices_that_are_not_here(wanted: str) -> None:
    with pytest.raises(ParameterError, match=rf"device={wanted!r}(:| cannot be used here)"):
        pick_device(wanted)


def test_the_cpu_is_always_there() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in {"cpu", "cuda", "mps"}

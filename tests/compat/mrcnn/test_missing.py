"""What is not offered says what to use instead."""

import importlib
from pathlib import Path

import pytest

import vitrail.compat.mrcnn.model as modellib
from tests.compat.mrcnn.drawn import SmallConfig
from vitrail.compat.mrcnn import coco, utils, visualize
from vitrail.errors import VitrailError


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [
        (modellib, "data_generator", "model.train"),
        (modellib, "resnet_graph", "mask-rcnn"),
        (utils, "batch_slice", "batches"),
        (visualize, "display_table", "measure"),
        (coco, "evaluate_coco", "vitrail evaluate"),
    ],
)
def test_names_of_the_original(module, name: str, instead: str) -> None:
    with pytest.raises(VitrailError, match=instead):
        getattr(module, name)


def test_importing_such_a_name_says_so_too() -> None:
    with pytest.raises(VitrailError, match=r"mrcnn\.model\.data_generator"):
        exec("from vitrail.compat.mrcnn.model import data_generator")


def test_other_names_are_unknown_as_usual(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = utils.nonsense
    model = modellib.MaskRCNN("inference", tmp_path, SmallConfig())
    with pytest.raises(AttributeError, match="nonsense"):
        _ = model.nonsense
    with pytest.raises(VitrailError, match=r"model\.network"):
        _ = model.keras_model


@pytest.mark.parametrize("module", ["coco", "model", "utils", "visualize"])
def test_what_is_offered_is_there(module: str) -> None:
    found = importlib.import_module(f"vitrail.compat.mrcnn.{module}")
    assert found.__all__
    assert all(callable(getattr(found, name)) for name in found.__all__)

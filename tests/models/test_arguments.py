"""What the arguments of all architectures have in common."""

import pytest

from vitrail.errors import ConfigError, VitrailError
from vitrail.models.registry import ARCHITECTURES, build

SEMANTIC = [name for name in ARCHITECTURES if "rcnn" not in name]
DETECTORS = [name for name in ARCHITECTURES if name not in SEMANTIC]


@pytest.mark.parametrize("architecture", SEMANTIC)
def test_one_class_is_nothing_to_tell_apart(architecture: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{architecture}: classes=1: .*expected 2 or more"):
        build(architecture, {"classes": 1})


@pytest.mark.parametrize("classes", [0, -1, 65536, None, 2.5])
def test_numbers_of_classes_that_there_are_not(classes: object) -> None:
    with pytest.raises(ConfigError, match=rf"unet: classes={classes}: Input should be"):
        build("unet", {"classes": classes})


@pytest.mark.parametrize("architecture", DETECTORS)
def test_objects_of_one_class_are_told_from_the_background(architecture: str) -> None:
    small = {"encoder": "resnet18", "pyramid_channels": 8, "rpn_channels": 8, "box_width": 8}
    network = build(architecture, {**small, "mask_channels": 8, "classes": 1})
    assert network.classes == 1
    assert network.get_submodule("box_predictor.scores").out_features == 2
    assert network.get_submodule("box_predictor.deltas").out_features == 4


@pytest.mark.parametrize("architecture", DETECTORS)
@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        *(("classes", value, "Input should be") for value in (0, -1, 65536, None, 2.5)),
        ("box_layer", 1, "box_layer=1: Extra inputs are not permitted"),
        ("encoder", "resnt50", "timm encoder"),
    ],
)
def test_arguments_that_no_detector_takes(
    architecture: str, argument: str, value: object, told: str
) -> None:
    with pytest.raises(VitrailError, match=told) as raised:
        build(architecture, {"classes": 3, argument: value})
    assert str(value) in str(raised.value) or argument in str(raised.value)


@pytest.mark.parametrize(
    ("part", "value", "where"),
    [
        ("roi", {"pooling": "max"}, r"roi\.pooling"),
        ("anchors", {"size": [8]}, r"anchors\.size"),
        ("detection", {"nms": 2}, r"detection\.nms"),
        ("proposals", {"kept": 0}, r"proposals\.kept"),
        ("anchors", {"ratios": [-1]}, r"anchors\.ratios"),
        ("anchors", {"sizes": [0, 16, 32, 64, 128]}, r"anchors\.sizes"),
        ("rpn_delta_scale", [0, 1, 1, 1], "rpn_delta_scale"),
        ("sampling", {"anchor_iou": [0.7, 0.3]}, r"sampling.*first <= second"),
        ("sampling", {"regions": 2}, r"sampling.*regions=2, regions_positive=0.25: not one"),
    ],
)
def test_mistakes_within_a_part_name_the_part(part: str, value: object, where: str) -> None:
    with pytest.raises(ConfigError, match=rf"^mask-rcnn: {where}"):
        build("mask-rcnn", {"classes": 3, part: value})


def test_anchor_sizes_are_one_for_each_level() -> None:
    with pytest.raises(ConfigError, match=r"anchors.sizes=\(8.0, 16.0\): expected 5"):
        build("mask-rcnn", {"classes": 3, "encoder": "resnet18", "anchors": {"sizes": [8, 16]}})

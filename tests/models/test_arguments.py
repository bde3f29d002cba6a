"""What the arguments of all semantic architectures have in common."""

import pytest

from vitrail.errors import ConfigError
from vitrail.models.registry import ARCHITECTURES, build

SEMANTIC = [name for name in ARCHITECTURES if "rcnn" not in name]


@pytest.mark.parametrize("architecture", SEMANTIC)
def test_one_class_is_nothing_to_tell_apart(architecture: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{architecture}: classes=1: .*expected 2 or more"):
        build(architecture, {"classes": 1})


@pytest.mark.parametrize("classes", [0, -1, 65536, None, 2.5])
def test_numbers_of_classes_that_there_are_not(classes: object) -> None:
    with pytest.raises(ConfigError, match=rf"unet: classes={classes}: Input should be"):
        build("unet", {"classes": classes})

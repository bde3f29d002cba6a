"""Cards: what they may say of a network's input, and what older ones said still holds."""

import pytest
from pydantic import ValidationError

from vitrail.weights.card import Preprocessing


def test_what_older_cards_said_still_holds() -> None:
    old = {
        "image_size": 520,
        "resize": "short-side",
        "interpolation": "antialias",
        "pad": False,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    found = Preprocessing.model_validate(old)
    new = {"max_side": None, "min_side": None, "rounding": "down", "pad_value": "black"}
    assert found.model_dump(mode="json") == old | new


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_side": 100}, "bounds short-side, not long-side"),
        ({"resize": "short-side", "max_side": 63}, "max_side=63 is below image_size=64"),
        ({"min_side": 32}, "belongs to square, not long-side"),
        ({"resize": "square", "min_side": 65}, "min_side=65 is above image_size=64"),
        ({"resize": "short-side", "rounding": "nearest"}, "short-side with max_side"),
        ({"resize": "square", "pad": False}, "filled up by padding"),
        ({"resize": "square", "max_side": 64}, "bounds short-side, not square"),
        ({"pad_value": "white"}, "black"),
    ],
)
def test_sides_that_mean_nothing_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Preprocessing.model_validate({"image_size": 64} | values)


def test_another_size_keeps_the_proportions() -> None:
    torchvision = Preprocessing(image_size=800, resize="short-side", max_side=1333)
    smaller = torchvision.at_size(400)
    assert (smaller.image_size, smaller.max_side) == (400, 666)
    assert smaller.at_size(800).resize == "short-side" and torchvision.at_size(800) == torchvision
    matterport = Preprocessing(image_size=1024, resize="square", min_side=800, pad_value="black")
    assert matterport.at_size(512).min_side == 400
    plain = Preprocessing(image_size=64)
    assert plain.at_size(32) == Preprocessing(image_size=32)
    with pytest.raises(ValidationError, match="image_size"):
        plain.at_size(8)

"""What is said of imported networks, whoever has trained them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vitrail.errors import ParameterError
from vitrail.weights.importers.adopted import ClassNames, adopted_card, preprocessing_of

PATH = Path("x.pth")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" 3 ", ClassNames(count=3)),
        ("a, b ,", ClassNames(("a", "b"))),
        ("²", ClassNames(("²",))),  # a digit to Python, and no number
        ("", ClassNames()),
    ],
)
def test_names_or_their_number(text: str, expected: ClassNames) -> None:
    assert ClassNames.parse(text) == expected


def test_objects_have_no_background() -> None:
    known = ("person", "car")
    for first in ("BG", "background", "__background__"):
        assert ClassNames((first, "a", "b")).of_objects(PATH, 2, known) == (("a", "b"), "")
    names, told = ClassNames().of_objects(PATH, 2, known)
    assert names == known and "assumed" in told
    names, told = ClassNames(count=2).of_objects(PATH, 2, known)
    assert names == ("unknown 0", "unknown 1") and "unknown" in told


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (ClassNames(), "x.pth: .* 3 classes.*does not name them; give --classes with 3 names"),
        (ClassNames(("a", "b")), "--classes a, b: expected 3 names, or 3"),
        (ClassNames(count=4), "--classes 4: expected 3 names, or 3"),
        (ClassNames(("a", "b", "a")), "--classes a, b, a: a name stands there twice"),
        (ClassNames(("sky", "a", "b", "c")), "expected 3 names"),  # no background in front
    ],
)
def test_names_that_do_not_fit(given: ClassNames, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        given.of_objects(PATH, 3, ("person", "car"))


def test_a_card_is_named_after_its_file_and_claims_nothing() -> None:
    values = {"summary": "s", "architecture": "unet", "arguments": {}, "classes": ("a", "b")}
    fed = preprocessing_of({"image_size": 64})
    for stem, name in (("My Cells (2)", "my-cells-2"), ("___", "imported")):
        card = adopted_card(Path(f"{stem}.safetensors"), preprocessing=fed, limits="l", **values)
        assert card.name == name
        assert card.training_data == card.licences.weights == "not stated by the file"


def test_how_it_was_fed_is_checked() -> None:
    with pytest.raises(ParameterError, match="image_size=-3"):
        preprocessing_of({"image_size": -3})

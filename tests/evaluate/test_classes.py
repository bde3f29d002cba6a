"""Which class is which: names, backgrounds, what the user says, and what has no partner."""

import numpy as np
import pytest

from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ParameterError
from vitrail.evaluate.classes import match_classes

PETS = LabelSpace(("ground", "Cat", "dog"), 0)


def test_names_are_compared_trimmed_and_without_case_and_backgrounds_are_one() -> None:
    found = match_classes([" DOG", "background", "cat "], 1, PETS)
    assert found.classes == ("ground", "Cat", "dog") and found.background == 0
    assert found.truth.tolist() == [0, 1, 2]
    assert found.predicted.tolist() == [2, 0, 1]
    assert found.pairs == (("ground", "background", "ground"),)


def test_void_has_the_id_behind_the_classes() -> None:
    found = match_classes(PETS.classes, 0, PETS)
    assert found.void == 3
    assert found.read_truth(np.array([[0, 2, 255]], np.uint8)).tolist() == [[0, 2, 3]]
    assert found.read_predicted(np.array([[1, 9]], np.uint8), ignore=9).tolist() == [[1, 3]]


def test_several_classes_of_the_model_may_be_one_of_the_data() -> None:
    space = LabelSpace(("ground", "animal"), 0)
    found = match_classes(["bg", "cat", "dog"], 0, space, {"cat": "animal", "DOG": "Animal"})
    assert found.predicted.tolist() == [0, 1, 1]
    assert found.pairs[1] == ("animal", "cat + dog", "animal")


def test_several_classes_of_the_data_may_be_one_of_the_model() -> None:
    found = match_classes(["bg", "animal"], 0, PETS, {"cat": "animal", "dog": "animal"})
    assert found.classes == ("ground", "animal")
    assert found.truth.tolist() == [0, 1, 1] and found.predicted.tolist() == [0, 1]


def test_to_background_and_to_ignore_on_either_side() -> None:
    found = match_classes(["bg", "cat", "cow"], 0, PETS, {"cow": "background", "dog": "ignore"})
    assert found.classes == ("ground", "Cat")
    assert found.predicted.tolist() == [0, 1, 0]
    assert found.truth.tolist() == [0, 1, 2] and found.void == 2


def test_a_class_that_both_have_is_left_out_of_both() -> None:
    found = match_classes(PETS.classes, 0, PETS, {"dog": "ignore"})
    assert found.truth.tolist() == found.predicted.tolist() == [0, 1, 2]
    assert found.classes == ("ground", "Cat") and found.void == 2


def test_classes_without_a_partner_are_all_named() -> None:
    with pytest.raises(DataError, match=r"'cow', 'hen'.*'Cat', 'dog'.*--map 'cow=Cat'"):
        match_classes(["bg", "cow", "hen"], 0, PETS)
    with pytest.raises(DataError, match=r"the model has not: 'dog'; .*--map 'dog=ignore'"):
        match_classes(["bg", "cat"], 0, PETS)


def test_a_data_set_without_names_is_told_how_to_give_them() -> None:
    unnamed = LabelSpace(("class 0", "class 1"))
    with pytest.raises(DataError, match="--option 'classes=bg,cat' --option background=bg"):
        match_classes(["bg", "cat"], 0, unnamed)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"cot": "dog"}, "'cot'; did you mean 'cat'"),
        ({"cat": "dgo"}, "'dgo' is no class to score.*did you mean 'dog'"),
        ({"ground": "ignore", "cat": "ignore", "dog": "ignore"}, "leaves no class"),
    ],
)
def test_mappings_that_say_nothing_sensible(mapping: dict[str, str], message: str) -> None:
    with pytest.raises((ParameterError, DataError), match=message):
        match_classes(PETS.classes, 0, PETS, mapping)


def test_background_needs_a_background() -> None:
    with pytest.raises(ParameterError, match="no background class"):
        match_classes(["cat", "cow"], None, LabelSpace(("cat",)), {"cow": "background"})


def test_names_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(DataError, match="the model calls several classes alike: CAT, cat"):
        match_classes(["CAT", "cat"], None, LabelSpace(("cat",)))


def test_an_id_without_a_class_is_named() -> None:
    found = match_classes(PETS.classes, 0, PETS)
    with pytest.raises(DataError, match=r"class id 7 in the truth, expected 0..2"):
        found.read_truth(np.array([[0, 7]], np.uint8))

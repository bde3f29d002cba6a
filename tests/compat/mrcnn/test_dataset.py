"""``utils.Dataset``: classes and images of several sources under one numbering."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from vitrail.compat.mrcnn import utils
from vitrail.compat.mrcnn._dataset import objects_of
from vitrail.errors import DataError, ParameterError


def two_sources() -> utils.Dataset:
    dataset = utils.Dataset()
    dataset.add_class("shapes", 1, "square")
    dataset.add_class("shapes", 2, "disc, or ball")
    dataset.add_class("shapes", 1, "again")
    dataset.add_class("animals", 7, "cat")
    dataset.add_image("shapes", "a", "a.png", width=5)
    dataset.add_image("animals", 12, None)
    dataset.prepare()
    return dataset


def test_prepare_numbers_classes_and_images() -> None:
    dataset = two_sources()
    assert dataset.num_classes == 4
    assert dataset.class_ids.tolist() == [0, 1, 2, 3]
    assert dataset.class_names == ["BG", "square", "disc", "cat"]
    assert dataset.image_ids.tolist() == [0, 1]
    assert dataset.num_images == 2
    assert dataset.image_info[0] == {"id": "a", "source": "shapes", "path": "a.png", "width": 5}
    assert dataset.sources == ["", "shapes", "animals"]
    assert dataset.source_class_ids["shapes"] == [0, 1, 2]
    assert dataset.source_class_ids["animals"] == [0, 3]
    assert dataset.map_source_class_id("animals.7") == 3
    assert dataset.get_source_class_id(3, "animals") == 7
    assert dataset.image_from_source_map["animals.12"] == 1
    assert dataset.source_image_link(0) == "a.png"
    with pytest.raises(ParameterError, match="'cat'"):
        dataset.get_source_class_id(3, "shapes")


def test_a_source_has_no_dot() -> None:
    with pytest.raises(ParameterError, match="dot"):
        utils.Dataset().add_class("a.b", 1, "c")


def test_images_are_rgb_bytes_whatever_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "colour.png"), colour[..., ::-1])
    cv2.imwrite(str(tmp_path / "grey.png"), colour[..., 0])
    dataset = utils.Dataset()
    for name in ("colour", "grey"):
        dataset.add_image("files", name, tmp_path / f"{name}.png")
    dataset.prepare()
    assert np.array_equal(dataset.load_image(0), colour)
    grey = dataset.load_image(1)
    assert grey.shape == (6, 8, 3)
    assert np.array_equal(grey[..., 2], colour[..., 0])


def test_the_base_has_no_objects_and_says_so() -> None:
    with pytest.warns(UserWarning, match="load_mask"):
        masks, class_ids = two_sources().load_mask(0)
    assert masks.shape == (0, 0, 0)
    assert class_ids.dtype == np.int32


@pytest.mark.parametrize(
    ("masks", "class_ids", "told"),
    [
        (np.zeros((4, 4), bool), [1], r"\(4, 4\)"),
        (np.zeros((4, 4, 2), bool), [1], r"\(1,\)"),
        (np.zeros((4, 4, 1), bool), [0], "background"),
        (np.zeros((4, 4, 1), bool), [4], "1 to 3"),
    ],
)
def test_what_load_mask_returns_is_looked_at(masks, class_ids: list[int], told: str) -> None:
    class Mine(utils.Dataset):
        def load_mask(self, image_id: int):
            return masks, np.array(class_ids)

    dataset = Mine()
    for number in range(3):
        dataset.add_class("a", number, str(number))
    dataset.add_image("a", 0, "picture.png")
    dataset.prepare()
    with pytest.raises(DataError, match=told) as caught:
        objects_of(dataset, 0)
    assert "picture.png" in str(caught.value)

"""GrabCut, region growing and the random walker, and how their prompts are read."""

from __future__ import annotations

from importlib.metadata import version

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from skimage import data, segmentation

from vitrail.classical.prompts import is_picture, parse_box, parse_points, read_markers
from vitrail.classical.seeded import (
    GrabCut,
    RandomWalker,
    RegionGrowing,
    grabcut,
    region_growing,
)
from vitrail.classical.walker import random_walker, random_walker_probabilities
from vitrail.errors import ImageError, ParameterError, SourceError
from vitrail.image import Image, read_image

OPENCV = f"opencv-python-headless {version('opencv-python-headless')}"
SKIMAGE = f"scikit-image {version('scikit-image')}"


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """The astronaut's head and shoulders at half size, (150, 150, 3)."""
    return np.ascontiguousarray(data.astronaut()[:300:2, 80:380:2])


# ---------------------------------------------------------------- prompts


@pytest.mark.parametrize(
    "value",
    [[1, 2, 30, 40], (1, 2, 30, 40), "1,2,30,40", " 1, 2, 30, 40 ", "[1 2 30 40]",
     np.array([1, 2, 30, 40]), np.array([[1.2, 1.8, 30, 40]]), [0.9, 2, 30.4, 40]],
)  # fmt: skip
def test_a_box_in_every_spelling(value):
    assert parse_box(value) == (1, 2, 30, 40)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1,2,3", "got 3"),
        ([1, 2, 3, 4, 5], "got 5"),
        ("here", "such as box=10,20,300,400; got 'here'"),
        (7, "such as"),
        ([True, False, True, True], "such as"),
        ([1, 2, float("nan"), 4], "finite"),
        ([30, 2, 1, 40], "no pixel"),
        ([1, 2, 1.3, 40], "no pixel"),
        ([[1, 2], [3]], "such as"),
    ],
)
def test_a_bad_box_says_what_was_expected(value, message):
    with pytest.raises(ParameterError, match=message):
        parse_box(value)


@pytest.mark.parametrize(
    "value",
    [[[10, 20], [30, 40]], ((10, 20), (30, 40)), "10,20;30,40", "10,20; 30,40;",
     np.array([[10, 20], [30, 40]], np.float32)],
)  # fmt: skip
def test_points_in_every_spelling(value):
    np.testing.assert_array_equal(parse_points(value, "seeds"), [[10, 20], [30, 40]])


def test_one_flat_point_and_labelled_points():
    np.testing.assert_array_equal(parse_points([10, 20], "seeds"), [[10, 20]])
    np.testing.assert_array_equal(parse_points("10,20", "seeds"), [[10, 20]])
    found = parse_points("1,2,1;3,4,2", "seeds", labelled=True)
    np.testing.assert_array_equal(found, [[1, 2, 1], [3, 4, 2]])


@pytest.mark.parametrize(
    ("value", "labelled", "message"),
    [
        ([], False, "2 numbers"),
        ("", False, "2 numbers"),
        ("1,2,3", False, "2 numbers"),
        ("1,2", True, "3 numbers"),
        ("1,2,0", True, "start at 1"),
        ("1,2,1.5", True, "whole number"),
        ("1,2;3", False, "expected"),
        ({"x": 1}, False, "expected"),
        ([["a", "b"]], False, "expected"),
    ],
)
def test_bad_points_say_what_was_expected(value, labelled, message):
    with pytest.raises(ParameterError, match=message):
        parse_points(value, "seeds", labelled=labelled)


def test_what_counts_as_a_picture(tmp_path):
    assert is_picture("marks.png") and is_picture(tmp_path) and is_picture(np.zeros((9, 9), int))
    assert not is_picture("10,20,1") and not is_picture(np.zeros((9, 3), int))
    assert not is_picture([[1, 2, 1]])


def test_marker_files_keep_their_values(tmp_path):
    marks = np.arange(20, dtype=np.uint8).reshape(4, 5)
    path = tmp_path / "marks.png"
    palette = Pillow.fromarray(marks).convert("P")
    palette.putdata(marks.ravel().tolist())
    palette.putpalette(list(range(255, -1, -1)) * 3)
    pictures = {
        "L": Pillow.fromarray(marks),
        "P": palette,
        "RGB": Pillow.fromarray(np.dstack([marks] * 3)),
        "I;16": Pillow.fromarray(marks.astype(np.uint16) * 1000),
    }
    for mode, picture in pictures.items():
        picture.save(path)
        expected = marks.astype(np.int32) * (1000 if mode == "I;16" else 1)
        np.testing.assert_array_equal(read_markers(path, (4, 5), "mask"), expected, mode)


def test_marker_files_that_do_not_fit(tmp_path):
    path = tmp_path / "marks.png"
    with pytest.raises(SourceError, match="no such file"):
        read_markers(path, (4, 5), "mask")
    path.write_text("not a picture")
    with pytest.raises(ImageError, match=r"mask=.*marks\.png"):
        read_markers(path, (4, 5), "mask")
    Pillow.fromarray(np.zeros((7, 5), np.uint8)).save(path)
    with pytest.raises(ParameterError, match="measures 5 x 7, the image 5 x 4"):
        read_markers(path, (4, 5), "mask")
    Pillow.fromarray(data.astronaut()[:4, :5]).save(path)
    with pytest.raises(ParameterError, match="colour picture"):
        read_markers(path, (4, 5), "mask")
    Pillow.fromarray(data.camera()).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ImageError, match=r"marks\.png"):
        read_markers(path, data.camera().shape, "mask")
    for array in (np.zeros((4, 5)), np.full((4, 5), -1)):
        with pytest.raises(ParameterError, match="mask holds"):
            read_markers(array, (4, 5), "mask")


# ---------------------------------------------------------------- grabcut


def opencv_grabcut(rgb, mask, rect, mode, iterations=5):
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    mask, _, _ = cv2.grabCut(rgb, mask, rect, *models, iterations, mode)
    return np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD))


def test_grabcut_with_a_box_equals_opencv(photo):
    expected = opencv_grabcut(
        photo, np.zeros(photo.shape[:2], np.uint8), (20, 5, 120, 145), cv2.GC_INIT_WITH_RECT
    )
    found = grabcut(photo, box=[20, 5, 140, 150])
    np.testing.assert_array_equal(found, expected, OPENCV)
    assert 0.1 < found.mean() < 0.9
    result = GrabCut.from_params({"box": "20,5,140,150"})(read_image(photo))
    np.testing.assert_array_equal(result.labels, expected)
    assert result.classes == ("background", "object") and result.background == 0


def test_grabcut_with_a_mask_equals_opencv_in_both_codings(photo, tmp_path):
    codes = np.full(photo.shape[:2], cv2.GC_PR_FGD, np.uint8)
    codes[:20] = codes[:, :15] = cv2.GC_BGD
    codes[20:30] = cv2.GC_PR_BGD
    codes[60:80, 60:80] = cv2.GC_FGD
    expected = opencv_grabcut(photo, codes.copy(), (0, 0, 0, 0), cv2.GC_INIT_WITH_MASK)
    np.testing.assert_array_equal(grabcut(photo, mask=codes), expected, OPENCV)
    picture = np.array([0, 255, 100, 128], np.uint8)[codes]
    Pillow.fromarray(picture).save(tmp_path / "mask.png")
    result = GrabCut(mask=str(tmp_path / "mask.png"))(read_image(photo))
    np.testing.assert_array_equal(result.labels, expected)


def test_grabcut_gives_the_same_answer_each_time(photo):
    first = grabcut(photo, box=[20, 5, 140, 150], iterations=1)
    cv2.setRNGSeed(99)
    np.testing.assert_array_equal(grabcut(photo, box=[20, 5, 140, 150], iterations=1), first)


def test_a_box_bounds_a_mask(photo):
    mask = np.full(photo.shape[:2], 128, np.uint8)
    found = grabcut(photo, box=[20, 5, 140, 100], mask=mask)
    assert found.any() and not found[100:].any()


def test_grabcut_says_which_prompt_is_missing_and_how_to_give_it(photo):
    with pytest.raises(ParameterError) as error:
        GrabCut()(read_image(photo))
    for part in ("box", "mask", 'vitrail.load("grabcut", box=', "--set box="):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"box": [10, 10, 151, 60]}, "150 x 150 px"),
        ({"box": [-1, 10, 50, 60]}, "150 x 150 px"),
        ({"box": [0, 0, 150, 150]}, "no background.*150 x 150"),
        ({"mask": np.zeros((150, 150), np.uint8)}, "no pixel for the object"),
        ({"mask": np.full((150, 150), 255, np.uint8)}, "no background"),
        ({"mask": np.eye(150, dtype=np.uint8) * 255}, "nothing to decide"),
        ({"mask": np.full((150, 150), 256)}, "0 to 255"),
        ({"mask": np.zeros((10, 10), np.uint8)}, "10 x 10, the image 150 x 150"),
    ],
)
def test_grabcut_prompts_that_cannot_work(photo, prompt, message):
    with pytest.raises(ParameterError, match=message):
        GrabCut(**prompt)(read_image(photo))


def test_grabcut_refuses_a_bad_box_before_it_sees_an_image():
    with pytest.raises(ParameterError, match=r"grabcut: box='5,5,5,9': the box .* holds no pixel"):
        GrabCut.from_params({"box": "5,5,5,9"})


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 300, 1), (3, 2, 3)])
def test_grabcut_of_tiny_and_thin_images(shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    assert GrabCut(box=(0, 0, 1, 1))(Image(pixels)).size == shape[:2]


# ---------------------------------------------------------------- region growing


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("tolerance", [0, 12, 300])
def test_one_grey_seed_equals_scikit_image_flood(connectivity, tolerance):
    for image in (data.camera(), data.camera().astype(np.uint16) * 200):
        scale = 200 if image.dtype == np.uint16 else 1
        found = region_growing(
            image, np.array([[90, 200]]), tolerance=tolerance * scale, connectivity=connectivity
        )
        expected = segmentation.flood(
            image, (200, 90), tolerance=tolerance * scale, connectivity=connectivity // 4
        )
        np.testing.assert_array_equal(found == 1, expected, SKIMAGE)


def test_a_colour_seed_equals_flood_on_the_distance(photo):
    seed = photo[60, 75].astype(float)
    near = np.sqrt(((photo - seed) ** 2).sum(2)) <= 40
    expected = segmentation.flood(near.astype(np.uint8), (60, 75), connectivity=1)
    found = region_growing(photo, np.array([[75, 60]]), tolerance=40)
    np.testing.assert_array_equal(found == 1, expected, SKIMAGE)


def test_the_nearer_colour_wins_and_then_the_earlier_seed():
    ramp = np.tile(np.arange(100, dtype=np.uint8), (5, 1))
    labels = region_growing(ramp, np.array([[20, 2], [60, 2], [60, 4]]), tolerance=30)
    np.testing.assert_array_equal(labels[0], np.repeat([1, 2, 0], [41, 50, 9]))


def test_region_growing_method(photo):
    result = RegionGrowing.from_params({"seeds": "75,60;5,5", "tolerance": 40})(read_image(photo))
    expected = region_growing(photo, np.array([[75, 60], [5, 5]]), tolerance=40)
    np.testing.assert_array_equal(result.labels, expected)
    assert result.classes == ("background", "region 1", "region 2") and result.background == 0
    assert set(np.unique(expected)) == {0, 1, 2}


def test_region_growing_refusals(photo):
    with pytest.raises(ParameterError, match='--set "seeds=x,y;x,y"'):
        RegionGrowing()(read_image(photo))
    with pytest.raises(ParameterError, match=r"\[150, 3\].*150 x 150 px"):
        RegionGrowing(seeds=[[3, 3], [150, 3]])(read_image(photo))
    with pytest.raises(ParameterError, match="seeds='1,2,3'"):
        RegionGrowing.from_params({"seeds": "1,2,3"})
    with pytest.raises(ParameterError, match="tolerance=-1"):
        RegionGrowing.from_params({"seeds": "1,2", "tolerance": -1})


# ---------------------------------------------------------------- random walker


def three_labels(size: tuple[int, int]) -> np.ndarray:
    markers = np.zeros(size, np.int32)
    markers[40:60, 70:80] = 1
    markers[:4] = 5
    markers[-6:-2, 60:90] = 2
    return markers


@pytest.mark.parametrize("beta", [10.0, 130.0])
@pytest.mark.parametrize("grey", [True, False])
def test_random_walker_equals_scikit_images_direct_solution(photo, beta, grey):
    pixels = photo[..., 0] if grey else photo
    markers = three_labels(photo.shape[:2])
    theirs = segmentation.random_walker(
        pixels, markers, beta=beta, mode="bf", return_full_prob=True,
        channel_axis=None if grey else -1,
    )  # fmt: skip
    found = list(random_walker_probabilities(pixels, markers, beta=beta, tol=1e-8))
    assert [label for label, _ in found] == [1, 2, 5]
    for (_, probability), expected in zip(found, theirs, strict=True):
        np.testing.assert_allclose(probability, expected, atol=2e-5, err_msg=SKIMAGE)
    labels = random_walker(pixels, markers, beta=beta)  # at the default tolerance
    agree = labels == np.array([1, 2, 5])[theirs.argmax(axis=0)]
    assert agree.mean() > 0.9995


def test_random_walker_of_a_flat_image_is_the_nearest_seed():
    markers = np.zeros((9, 21), np.int32)
    markers[:, 0], markers[:, 20] = 1, 2
    labels = random_walker(np.full((9, 21, 3), 7, np.uint8), markers, tol=1e-9)
    np.testing.assert_array_equal(labels[:, :10], 1)
    np.testing.assert_array_equal(labels[:, 11:], 2)


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 300, 1), (300, 1, 3), (65, 33, 5), (3, 1000, 1)])
def test_random_walker_of_thin_and_odd_images(shape):
    # white noise of full range would leave most pixels behind edges that nothing crosses
    pixels = np.random.default_rng(0).random(shape, np.float32) * np.float32(0.1)
    markers = np.zeros(shape[:2], np.int32)
    markers[0, 0], markers[-1, -1] = 1, 2
    expected = segmentation.random_walker(
        pixels.astype(np.float64), markers, mode="bf", return_full_prob=True, channel_axis=-1
    ) if (markers == 0).any() else None  # fmt: skip
    found = dict(random_walker_probabilities(pixels, markers, tol=1e-9))
    assert set(np.unique(random_walker(pixels, markers))) == {1, 2}
    if expected is not None:
        np.testing.assert_allclose(found[1], expected[0], atol=1e-5, err_msg=SKIMAGE)


@pytest.mark.parametrize("object_label", [1, 2])
def test_an_object_without_a_seed_goes_to_what_surrounds_it(object_label):
    y, x = np.mgrid[:60, :100]
    seeded, floating = [(x - cx) ** 2 + (y - 30) ** 2 < 225 for cx in (25, 70)]
    picture = ((seeded | floating) * 200 + 20).astype(np.uint8)
    markers = np.zeros(picture.shape, np.int32)
    markers[28:33, 23:28], markers[:2] = object_label, 3 - object_label
    labels = random_walker(picture, markers)
    # its links to the outside weigh 1e-10: a solver that stops early leaves it undecided
    np.testing.assert_array_equal(labels == object_label, seeded)


def test_random_walker_method_from_points_and_from_a_picture(photo, tmp_path):
    method = RandomWalker.from_params(
        {"seeds": "75,50,1;5,5,2;140,5,2", "classes": ["person", "rest"], "background": 2}
    )
    result = method(read_image(photo))
    assert result.classes == ("none", "person", "rest") and result.background == 2
    assert result.labels[50, 75] == 1 and result.labels[5, 5] == 2 == result.labels[5, 140]
    assert result.labels.min() == 1
    markers = three_labels(photo.shape[:2]).astype(np.uint8)
    Pillow.fromarray(markers).save(tmp_path / "seeds.png")
    result = RandomWalker(seeds=str(tmp_path / "seeds.png"))(read_image(photo))
    np.testing.assert_array_equal(result.labels, random_walker(photo, markers))
    assert result.classes[5] == "label 5"


def test_random_walker_refusals(photo):
    image = read_image(photo)
    with pytest.raises(ParameterError, match=r"\[\[x, y, label\], \.\.\.\].*--set"):
        RandomWalker()(image)
    with pytest.raises(ParameterError, match=r"1 label\(s\)"):
        RandomWalker(seeds="5,5,1;9,9,1")(image)
    with pytest.raises(ParameterError, match="150 x 150 px"):
        RandomWalker(seeds="5,5,1;150,9,2")(image)
    with pytest.raises(ParameterError, match="label 300"):
        RandomWalker(seeds="5,5,1;50,9,300")(image)
    with pytest.raises(ParameterError, match="1 class names"):
        RandomWalker(seeds="5,5,1;50,9,2", classes=["a"])(image)
    with pytest.raises(SourceError, match="no such file"):
        RandomWalker(seeds="nowhere.png")(image)


def test_the_point_itself_survives_a_neighbours_disc(photo):
    result = RandomWalker(seeds=[[50, 50, 1], [52, 50, 2]], radius=5)(read_image(photo))
    assert result.labels[50, 50] == 1 and result.labels[50, 52] == 2

"""``visualize``, on matplotlib's Agg backend."""

import sys
import warnings
from collections.abc import Iterator

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Polygon, Rectangle

from vitrail.compat.mrcnn import utils, visualize
from vitrail.errors import MissingExtraError, ParameterError

NAMES = ["BG", "square", "bar"]


@pytest.fixture(autouse=True)
def pictures() -> Iterator[None]:
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # showing on a backend without a screen is no fault
        yield
    plt.close("all")
    matplotlib.use(before)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


@pytest.fixture
def masks() -> np.ndarray:
    found = np.zeros((40, 60, 2), bool)
    found[5:15, 10:20, 0] = True
    found[20:30, 10:50, 1] = True
    return found


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_apply_mask_changes_the_image_in_place(image: np.ndarray, masks: np.ndarray) -> None:
    before = image.copy()
    returned = visualize.apply_mask(image, masks[..., 0], (1.0, 0.0, 0.5), alpha=0.25)
    assert returned is image
    inside = masks[..., 0]
    assert np.array_equal(image[~inside], before[~inside])
    expected = before[inside] * 0.75 + 0.25 * np.array([255, 0, 127.5])
    assert np.array_equal(image[inside], expected.astype(np.uint8))
    with pytest.raises(ParameterError, match=r"\(10, 10\)"):
        visualize.apply_mask(image, np.zeros((10, 10), bool), (1, 0, 0))


def test_random_colors_differ_in_hue() -> None:
    colours = visualize.random_colors(6)
    assert len(set(colours)) == 6
    assert all(max(colour) == 1 and min(colour) == 0 for colour in colours)
    assert all(max(colour) == 0.7 for colour in visualize.random_colors(3, bright=False))


def test_display_instances_draws_each_object(image: np.ndarray, masks: np.ndarray) -> None:
    boxes = utils.extract_bboxes(masks)
    before = image.copy()
    _, ax = plt.subplots()
    colours = [(1, 0, 0), (0, 1, 0)]
    visualize.display_instances(
        *(image, boxes, masks, np.array([1, 2]), NAMES, np.array([0.5, 0.9])),
        **{"ax": ax, "title": "found", "colors": colours},
    )
    assert np.array_equal(image, before)
    assert texts(ax) == ["square 0.500", "bar 0.900"]
    assert ax.get_title() == "found"
    frames = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert [patch.get_bbox().bounds for patch in frames] == [(10, 5, 10, 10), (10, 20, 40, 10)]
    assert sum(isinstance(patch, Polygon) for patch in ax.patches) == 2
    (shown,) = ax.images
    assert np.array_equal(shown.get_array()[0, 0], before[0, 0])
    red = shown.get_array()[10, 15].astype(int)
    assert np.abs(red - (before[10, 15] // 2 + np.array([127, 0, 0]))).max() <= 1


def test_display_instances_can_leave_things_out(image: np.ndarray, masks: np.ndarray) -> None:
    boxes = utils.extract_bboxes(masks)
    boxes[0] = 0
    _, ax = plt.subplots()
    visualize.display_instances(
        *(image, boxes, masks, np.array([1, 2]), NAMES),
        **{"ax": ax, "show_mask": False, "show_bbox": False, "captions": ["a", "b"]},
    )
    assert texts(ax) == ["b"]
    assert not any(isinstance(patch, Rectangle) for patch in ax.patches)
    assert np.array_equal(ax.images[0].get_array(), image)


def test_display_instances_without_axes_makes_a_figure(
    image: np.ndarray, masks: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = np.zeros((40, 60, 0), bool)
    visualize.display_instances(image, np.zeros((0, 4)), nothing, np.zeros(0, int), NAMES)
    assert "No instances to display" in capsys.readouterr().out
    assert plt.gcf().get_size_inches().tolist() == [16, 16]
    with pytest.raises(ParameterError, match="2 masks"):
        visualize.display_instances(image, np.zeros((1, 4)), masks, np.array([1]), NAMES)


def test_display_images_fills_a_grid(image: np.ndarray) -> None:
    visualize.display_images([image, image[..., 0], image], ["a", "b", "c"], cols=2, cmap="gray")
    axes = plt.gcf().axes
    assert [ax.get_title() for ax in axes] == ["a", "b", "c"]
    assert axes[2].get_subplotspec().rowspan.start == 1


def test_display_top_masks_shows_the_largest_first(image: np.ndarray, masks: np.ndarray) -> None:
    visualize.display_top_masks(image, masks, np.array([1, 2]), NAMES, limit=3)
    axes = plt.gcf().axes
    assert [ax.get_title() for ax in axes] == ["H x W=40x60", "bar", "square", "-"]
    assert np.array_equal(axes[1].images[0].get_array() > 0, masks[..., 1])


def test_display_differences_tells_score_and_iou(image: np.ndarray, masks: np.ndarray) -> None:
    boxes = utils.extract_bboxes(masks)
    _, ax = plt.subplots()
    visualize.display_differences(
        *(image, boxes, np.array([1, 2]), masks),
        # The worse one first: 100 of 100 pixels of the square, as another class; the bar.
        *(boxes, np.array([2, 2]), np.array([0.6, 0.9]), masks, NAMES),
        ax=ax,
    )
    assert texts(ax) == ["", "", "0.90 / 1.00", "0.60 / 1.00"]
    frames = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert [patch.get_edgecolor()[:3] for patch in frames] == [(0, 1, 0)] * 2 + [(1, 0, 0)] * 2
    assert frames[2].get_bbox().bounds == (10, 20, 40, 10)


def test_draw_boxes_joins_boxes_and_what_they_became(image: np.ndarray, masks: np.ndarray) -> None:
    boxes = utils.extract_bboxes(masks)
    _, ax = plt.subplots()
    visualize.draw_boxes(
        image, boxes, boxes + 2, masks, ["a", "b"], visibilities=[1, 0], title="moved", ax=ax
    )
    frames = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert [patch.get_linestyle() for patch in frames] == ["dotted", "solid"] * 2
    assert frames[2].get_edgecolor() == (0.5, 0.5, 0.5, 0.5)
    assert len(ax.lines) == 2
    assert ax.lines[0].get_xdata().tolist() == [10, 12]
    assert texts(ax) == ["a", "b"]
    visualize.draw_boxes(image, refined_boxes=boxes)
    with pytest.raises(ParameterError, match="refined_boxes"):
        visualize.draw_boxes(image)


def test_draw_rois_counts_regions_with_and_without_an_object(
    image: np.ndarray, masks: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = utils.extract_bboxes(masks)
    visualize.draw_rois(image, boxes, boxes + 1, masks, np.array([1, 0]), NAMES)
    assert capsys.readouterr().out.splitlines() == ["Positive ROIs:  1", "Negative ROIs:  1"]
    assert texts(plt.gca()) == ["square", "BG"]


def test_draw_box_is_two_pixels_wide() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    assert visualize.draw_box(image, [4, 5, 12, 15], [9, 9, 9]) is image
    assert image[4:6, 5:15].all() and image[12:14, 5:15].all()
    assert not image[7:11, 8:14].any()


def test_plots_of_scores() -> None:
    visualize.plot_precision_recall(0.75, np.array([1, 1, 0.5, 0]), np.array([0, 0.5, 1, 1]))
    ax = plt.gca()
    assert ax.get_title() == "Precision-Recall Curve. AP@50 = 0.750"
    assert ax.lines[0].get_xdata().tolist() == [0, 0.5, 1, 1]

    overlaps = np.array([[0.9, 0.0], [0.0, 0.7]])
    visualize.plot_overlaps(
        np.array([1, 2, 0]), np.array([1, 1, 0]), np.array([0.9, 0.8, 0]), overlaps, NAMES
    )
    told = [text.replace("\n", " ").strip() for text in texts(plt.gca())]
    assert told == ["0.900 match", "0.000", "0.000", "0.700 wrong"]
    assert [label.get_text() for label in plt.gca().get_yticklabels()] == [
        "square (0.90)",
        "square (0.80)",
    ]


def test_without_matplotlib_it_says_how_to_install_it(
    image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match='pip install "matplotlib'):
        visualize.display_images([image])
    assert len(visualize.random_colors(3)) == 3  # draws nothing

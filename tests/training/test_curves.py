"""Curves as SVG: where their points lie, and what their axes say."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from vitrail.errors import ParameterError
from vitrail.result.palette import contrast
from vitrail.training.curves import line_chart, log_ticks, ticks_between


def _svg(figure: str) -> ElementTree.Element:
    found = re.search(r"<svg .*?</svg>", figure)
    assert found
    return ElementTree.fromstring(found.group())


def test_a_line_goes_through_its_numbers() -> None:
    svg = _svg(line_chart("loss", [1, 2, 3], {"a": [0.0, 1.0, 0.5]}, best=2))
    dots = [(float(c.get("cx") or 0), float(c.get("cy") or 0)) for c in svg.iter("circle")]
    assert dots[0][0] < dots[1][0] < dots[2][0]
    assert dots[1][0] - dots[0][0] == pytest.approx(dots[2][0] - dots[1][0], abs=0.2)
    assert dots[2][1] == pytest.approx((dots[0][1] + dots[1][1]) / 2, abs=0.2)
    assert dots[1][1] < dots[0][1]  # upwards
    (mark,) = [line for line in svg.iter("line") if line.get("class") == "best"]
    assert float(mark.get("x1") or 0) == pytest.approx(dots[1][0], abs=0.1)
    texts = [text.text for text in svg.iter("text")]
    assert {"0", "0.2", "1", "2", "3", "epoch", "best: 2"} <= set(texts)


def test_a_line_is_interrupted_where_a_number_is_missing() -> None:
    figure = line_chart("x", [1, 2, 3, 4, 5], {"a<b": [1, 2, math.nan, 3, 4]})
    path = next(p for p in _svg(figure).iter("path") if p.get("class") is None)
    assert (path.get("d") or "").count("M") == 2
    assert "a&lt;b" in figure
    assert "a<b" not in figure


def test_a_logarithmic_axis_keeps_small_numbers_apart() -> None:
    figure = line_chart("x", [1, 2, 3], {"a": [100.0, 1.0, 0.01]}, log=True)
    heights = [float(c.get("cy") or 0) for c in _svg(figure).iter("circle")]
    assert heights[1] == pytest.approx((heights[0] + heights[2]) / 2, abs=0.2)


def test_nothing_to_draw() -> None:
    assert line_chart("x", [1], {"a": [math.nan]}) == ""
    with pytest.raises(ParameterError, match="a has 2 numbers, expected 1"):
        line_chart("x", [1], {"a": [1, 2]})


@pytest.mark.parametrize("values", [[0.5], [3.0, 3.0], [0.0, 0.0], [-1e-9, 1e-9], [1e20, 2e20]])
def test_numbers_of_any_size_have_an_axis(values: list[float]) -> None:
    x = list(range(1, len(values) + 1))
    svg = _svg(line_chart("x", x, {"a": values}, zero=True, log=True))
    heights = [float(c.get("cy") or 0) for c in svg.iter("circle")]
    assert all(18 <= height <= 206 for height in heights)
    labels = [t.text for t in svg.iter("text") if t.get("text-anchor") == "end"]
    assert len(labels) == len(set(labels)) >= 2


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.71, 0.78, [0.7, 0.72, 0.74, 0.76, 0.78]),
        (0, 137, [0, 50, 100, 150]),
        (-3, 4, [-4, -2, 0, 2, 4]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert ticks_between(low, high) == ticks


def test_logarithmic_ticks() -> None:
    assert log_ticks(0.03, 1.2) == pytest.approx([0.02, 0.05, 0.1, 0.2, 0.5, 1, 2])
    assert log_ticks(0.002, 300) == pytest.approx([0.01, 0.1, 1, 10, 100])


def test_lines_show_on_light_and_dark_pages() -> None:
    names = {f"class {i}": [float(i), i + 1.0] for i in range(14)}
    figure = line_chart("x", [1, 2], names)
    looks = re.findall(
        r'<path (stroke="(#\w{6})"(?: stroke-dasharray="[^"]*")?) d="M0 5H28"/>', figure
    )
    assert len({look for look, _ in looks}) == 14  # no two lines look alike
    for _, colour in looks:
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
        for ground in (255, 24):
            assert contrast(rgb, np.full(3, ground, np.uint8)) >= 3

"""Drawings as files: readable SVG, a PNG with the same boxes, and refusals."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageFont

from vitrail.errors import OutputError, ParameterError
from vitrail.models.diagram import draw, draw_model
from vitrail.models.diagram.graph import Edge, Graph, Node
from vitrail.models.diagram.layout import Layout, lay_out
from vitrail.models.registry import build

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def layout() -> Layout:
    part = Node("a<b>&c", "a", parameters=12, macs=3_000_000, kinds=["Conv2d", "ReLU"])
    nodes = [Node("image", ""), part, Node("logits", "")]
    shapes = [(3, 64, 64), (21, 64, 64)]
    edges = [Edge(a, b, [s]) for a, b, s in zip(nodes, nodes[1:], shapes, strict=False)]
    return lay_out(Graph(nodes, edges))


def test_svg_holds_every_text(layout: Layout) -> None:
    root = ElementTree.fromstring(draw.to_svg(layout))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts == [
        "3 x 64 x 64",
        "21 x 64 x 64",
        "image",
        "a<b>&c",
        "Conv2d, ReLU",
        "12 weights, 3 M mult-adds",
        "logits",
    ]
    assert len(list(root.iter(f"{SVG}path"))) == len(list(root.iter(f"{SVG}polygon"))) == 2
    assert int(root.attrib["width"]) >= layout.width


def test_png_has_the_boxes_where_the_layout_says(layout: Layout) -> None:
    picture = np.asarray(draw.to_image(layout, scale=2))
    assert picture.shape == (-(-layout.height * 2 // 1), -(-layout.width * 2 // 1), 3)
    for box, colour in zip(layout.boxes, ("#2f3542", "#dbe9f9", "#2f3542"), strict=True):
        corner = picture[
            round(2 * (box.y - box.height / 2)) + 4, round(2 * box.x - box.width * 0.7)
        ]
        assert bytes(corner).hex() == colour[1:]
    assert (picture[:20] == 255).all() and (picture[:, :20] == 255).all()


def test_text_of_a_png_stays_in_its_box(layout: Layout) -> None:
    for place in (*layout.boxes, *layout.labels):
        font = ImageFont.load_default(26)
        assert max(font.getlength(line) for line in place.lines) <= 2 * place.width


def test_a_network_as_svg_and_png(tmp_path: Path) -> None:
    model = build("unet-plain", {"classes": 2, "start": 4, "in_channels": 1})
    svg = draw_model(model, tmp_path / "unet.svg", 64, bands=1, depth=1)
    png = draw_model(model, tmp_path / "unet.PNG", 64, bands=1, depth=1)
    root = ElementTree.parse(svg).getroot()
    assert "1 x 64 x 64" in [text.text for text in root.iter(f"{SVG}text")]
    with Image.open(png) as picture:
        assert picture.format == "PNG" and picture.width == 2 * int(root.attrib["width"])
    assert {path.name for path in tmp_path.iterdir()} == {"unet.svg", "unet.PNG"}


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    model = build("unet-plain", {"classes": 2, "start": 4})
    with pytest.raises(ParameterError, match=r"unet\.pdf: expected a name that ends in \.svg or"):
        draw_model(model, tmp_path / "unet.pdf")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    model = build("unet-plain", {"classes": 2, "start": 4})
    with pytest.raises(OutputError, match=r"missing/unet\.svg"):
        draw_model(model, tmp_path / "missing" / "unet.svg", 64)


def test_a_png_is_bounded(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    area = layout.width * layout.height
    monkeypatch.setattr(draw, "_LARGEST", round(2 * area))
    assert draw.to_image(layout).width < 1.5 * layout.width
    monkeypatch.setattr(draw, "_LARGEST", round(area / 2))
    with pytest.raises(ParameterError, match=r"choose a smaller --depth, or \.svg"):
        draw.to_image(layout)

"""The HTML report: complete, self-contained, and safe against what files are called."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.check_sets import OBJECTS, SPACE, Memory, check, dataset, pairs, photo, with_objects
from vitrail.data.check import check_dataset
from vitrail.data.checks.html import PER_KIND, page, write_html
from vitrail.data.checks.pictures import SIDE, View, pictures_of
from vitrail.data.checks.report import Report
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import OutputError

HOSTILE = '<script>alert("x")</script>&amp;'


class Reader(HTMLParser):
    """Collects tags, and what they would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "srcset")]
        self.fetched += [value or "" for name, value in attrs if name == "href" and tag != "a"]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    assert not reader.open
    return reader


def _report(root: Path) -> Report:
    source = pairs(root)
    cv2.imwrite(str(source.mask_paths(2)[0]), np.full((96, 96), 9, np.uint8))
    outside = Instance.from_box(0, (100, 5, 140, 25), (96, 128), id=HOSTILE)
    return check_dataset(dataset(root, train=source, more=with_objects(outside)))


def test_one_file_with_pictures_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    path = write_html(_report(tmp_path), tmp_path / "out" / "report.html")
    html = path.read_text("utf-8")
    reader = _read(html)
    assert path == tmp_path / "out" / "report.html"
    assert "script" not in reader.tags and "link" not in reader.tags
    assert reader.fetched and all(url.startswith("data:image/jpeg") for url in reader.fetched)
    assert "url(" not in html and "@import" not in html
    for url in reader.fetched:
        data = np.frombuffer(base64.b64decode(url.split(",")[1]), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert picture is not None and max(picture.shape) == SIDE
    for code in ("unknown-class-id", "out-of-frame"):
        assert html.count(f"<code>{code}</code>") == 2  # in the overview, and over its table


def test_everything_is_escaped(tmp_path: Path) -> None:
    html = page(_report(tmp_path))
    assert HOSTILE not in html and "<script" not in html
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;amp;" in html


def test_names_of_classes_splits_and_folders_are_escaped(tmp_path: Path) -> None:
    space = LabelSpace(("background", "<b>disc", "<i>square"), 0)
    labels = np.zeros((96, 128), np.uint8)
    labels[:9], labels[20:60] = 1, 2
    data = dataset(
        tmp_path / "<u>", **{"<s>": Memory([Sample("a", photo(1), (96, 128), labels)], space)}
    )
    html = page(check_dataset(data))
    assert not re.search(r"<(b|i|u|s)>(disc|square|&|<)", html)
    for name in ("&lt;b&gt;disc", "&lt;i&gt;square", "&lt;u&gt;", "&lt;s&gt;"):
        assert name in html


def test_a_folder_gets_check_html(tmp_path: Path) -> None:
    assert write_html(_report(tmp_path), tmp_path / "out") == tmp_path / "out" / "check.html"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_html(_report(tmp_path), tmp_path / "file" / "report.html")


def test_a_clean_set_says_so(tmp_path: Path) -> None:
    html = page(check(pairs(tmp_path), tmp_path))
    assert "Nothing was found." in html and "0 errors, 0 warnings and 0 notes" in html
    assert "<h2>Classes</h2>" in html and "disc" in html


def test_few_pictures_of_a_kind_but_all_rows(tmp_path: Path) -> None:
    things = [
        Instance.from_box(0, (x, 5, x + 40.0, 25), (96, 128), id=f"box {x}") for x in range(95, 110)
    ]
    report = check(with_objects(*things), tmp_path)
    html = page(report)
    count = report.findings.counts["out-of-frame", "warning"]
    assert count > 2 * PER_KIND
    assert len(_read(html).fetched) == PER_KIND
    assert all(f"<td>box {x}</td>" in html for x in range(95, 110))


def test_pictures_show_the_place() -> None:
    """Out of frame: the ground beside the image is shown too. Small: enlarged."""
    wide = Instance.from_box(0, (100, 5, 148, 25), (96, 128), id="x")
    small = Instance.from_polygons(
        0, [np.array([[60.0, 5.0], [60.5, 5.0], [60.5, 5.4]])], (96, 128), id="x"
    )
    views = []
    for one in (wide, small):
        report = check(with_objects(one))
        (finding,) = report.findings
        (picture,) = pictures_of(finding, report.sources)
        assert finding.box is not None
        views.append(View.of((96, 128), finding.box))
        assert ((picture == (255, 32, 32)).all(axis=2)).any()
    beyond, close = views
    assert (beyond.x, beyond.y, beyond.x + beyond.width) == (0, 0, 152)
    assert close.scale > 2 * beyond.scale and close.x > 30 and close.width < 60


def test_pictures_of_masks_that_are_no_labels(tmp_path: Path) -> None:
    """The image, and beside it the mask as it is."""
    source = pairs(tmp_path)
    colours = np.zeros((96, 96, 3), np.uint8)
    colours[:48, :, 2] = 200
    cv2.imwrite(str(source.mask_paths(2)[0]), colours)
    report = check(source, tmp_path)
    (finding,) = report.findings
    image, mask = pictures_of(finding, report.sources)
    assert image.shape == mask.shape == (SIDE, SIDE, 3)
    assert len(np.unique(mask.reshape(-1, 3), axis=0)) == 2


def test_findings_without_a_picture_have_none(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    source.images[1].write_bytes(b"")
    report = check(source, tmp_path)
    (finding,) = report.findings
    assert not pictures_of(finding, report.sources)
    assert "0 bytes" in page(report)


def test_many_kinds_of_samples_can_be_drawn() -> None:
    labels = np.full((96, 128), 2, np.uint8)
    labels[:40], labels[40:50] = 0, 255
    twice = [Sample(name, photo(1), (96, 128), labels) for name in "ab"]
    report = check(Memory(twice, SPACE))
    (finding,) = (f for f in report.findings if f.problem.code == "duplicate-image")
    first, second = pictures_of(finding, report.sources)
    assert first.shape == second.shape and (first != second).any()  # the one with its labels
    masked = with_objects(Instance.from_box(0, (3, 3, 3, 3), (96, 128), id="x"))
    report = check(Memory(masked.samples, OBJECTS))
    assert all(len(pictures_of(finding, report.sources)) == 1 for finding in report.findings)

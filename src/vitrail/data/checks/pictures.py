"""Small pictures of findings: the image, what is annotated in it, and a frame around the fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from vitrail.codecs import Limits
from vitrail.data.checks.finding import Finding, Pen, Place
from vitrail.data.checks.masks import look_at_mask
from vitrail.data.checks.native import DecoderMessages
from vitrail.data.sample import Box, Instance, LabelSpace, Sample, SampleSource, mask_files
from vitrail.image import read_image
from vitrail.result.palette import palette

SIDE = 420
"""px of a picture's longer side."""
_CLOSE = 0.2
"""Share of the frame's side below which a fault is shown enlarged."""
_ZOOM = 12.0
_GROUND = 128
"""Grey level outside the image."""
_MARK = (255, 32, 32)


@dataclass(frozen=True, slots=True)
class View:
    """A part of the plane, and how large it is shown."""

    x: int
    y: int
    width: int
    height: int
    scale: float

    @classmethod
    def of(cls, frame: tuple[int, int], box: Box | None) -> View:
        """All of a frame of ``(H, W)`` px; more where a box leaves it, less where it is small."""
        high, wide = frame
        x1, y1, x2, y2 = 0.0, 0.0, float(wide), float(high)
        if box is not None:
            # A box a hundred frames away is not shown: the picture would be all ground.
            left, right = max(box[0], -wide), min(max(box[2], box[0]), 2.0 * wide)
            top, bottom = max(box[1], -high), min(max(box[3], box[1]), 2.0 * high)
            side = max(right - left, bottom - top)
            if side < _CLOSE * max(wide, high):
                reach = max(1.5 * side, 24.0)
                across, down = (left + right) / 2, (top + bottom) / 2
                x1, y1, x2, y2 = across - reach, down - reach, across + reach, down + reach
            else:
                x1, y1 = min(x1, left - 4), min(y1, top - 4)
                x2, y2 = max(x2, right + 4), max(y2, bottom + 4)
        x, y = int(np.floor(x1)), int(np.floor(y1))
        width, height = max(1, int(np.ceil(x2)) - x), max(1, int(np.ceil(y2)) - y)
        return cls(x, y, width, height, min(_ZOOM, SIDE / max(width, height)))

    def show(self, pixels: np.ndarray, ground: int, *, smooth: bool) -> np.ndarray:
        """That part of ``(H, W)`` or ``(H, W, C)`` pixels, at the view's scale."""
        canvas = np.full((self.height, self.width, *pixels.shape[2:]), ground, pixels.dtype)
        high, wide = pixels.shape[:2]
        top, left = max(0, self.y), max(0, self.x)
        bottom, right = min(high, self.y + self.height), min(wide, self.x + self.width)
        if bottom > top and right > left:
            canvas[top - self.y : bottom - self.y, left - self.x : right - self.x] = pixels[
                top:bottom, left:right
            ]
        size = (max(1, round(self.width * self.scale)), max(1, round(self.height * self.scale)))
        smooth &= self.scale < 1
        return cv2.resize(
            canvas, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST
        )

    def points(self, xy: np.ndarray) -> np.ndarray:
        """``(K, 2)`` x, y of the frame as int32 px of the picture."""
        shown = (np.asarray(xy, np.float64) - (self.x, self.y)) * self.scale
        return np.rint(np.clip(shown, -16_000, 16_000)).astype(np.int32)


def pictures_of(finding: Finding, sources: Mapping[str, SampleSource]) -> list[np.ndarray]:
    """``(h, w, 3)`` uint8 RGB pictures that show a finding; none where nothing can be decoded.

    The image with its annotation, then the second image of a pair of copies, or the raw mask where
    it could not be read as labels.
    """
    shown: list[np.ndarray] = []
    for place in (finding.place, finding.other):
        if place is not None:
            try:
                shown += _pictures(place, finding, sources)
            except Exception:  # the finding may be that very fault
                continue
    return shown


def encode(picture: np.ndarray, quality: int = 82) -> bytes:
    """As JPEG."""
    done, data = cv2.imencode(
        ".jpg", picture[..., ::-1].copy(), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert done
    return data.tobytes()


def _pictures(
    place: Place, finding: Finding, sources: Mapping[str, SampleSource]
) -> list[np.ndarray]:
    source = sources[place[0]]
    messages = DecoderMessages()
    try:
        sample, _ = messages.during(lambda: source[place[1]])
        image, _ = messages.during(lambda: _image(sample))
        if place == finding.other or finding.problem.code == "size-mismatch":
            alone = View.of(image.shape[:2], None).show(image, _GROUND, smooth=True)
            if place == finding.other:
                return [alone]
            return [alone, *_raw_masks(place, source, messages)]
        try:
            labels, _ = messages.during(lambda: sample.labels)
        except Exception:  # shown raw, then
            alone = View.of(image.shape[:2], None).show(image, _GROUND, smooth=True)
            return [alone, *_raw_masks(place, source, messages)]
        view = View.of(image.shape[:2], finding.box)
        picture = view.show(image, _GROUND, smooth=True)
        if labels is not None:
            _tint(picture, view.show(labels, source.space.ignore, smooth=False), source.space)
        for one in sample.instances or ():
            _draw_outline(picture, one, view)
            if finding.problem.code == "box-mask-mismatch":
                _draw_box(picture, one.box, view)
        if finding.box is not None:
            _mark(picture, finding.box, view)
        return [picture]
    finally:
        messages.close()


def _image(sample: Sample) -> np.ndarray:
    """The image in the frame of its annotation; as it is, where the two do not fit."""
    try:
        return sample.image
    except Exception:
        if sample.path is None:
            raise
        return read_image(sample.path).rgb()


def _raw_masks(place: Place, source: SampleSource, messages: DecoderMessages) -> list[np.ndarray]:
    """The first mask file with each of its values in a colour of its own."""
    for path in mask_files(source)(place[1]):
        raw = look_at_mask(path, Pen(place[0]), messages, Limits.of())
        if raw is None:
            continue
        colours = palette(min(len(raw.values), 512))
        if len(raw.values) and raw.values[0] == 0:
            colours = np.vstack([np.zeros((1, 3), np.uint8), colours])
        index = np.searchsorted(raw.values, raw.pixels) % len(colours)
        shown = View.of(raw.size, None).show(index.astype(np.uint16), 0, smooth=False)
        return [colours[shown]]
    return []


def _tint(picture: np.ndarray, labels: np.ndarray, space: LabelSpace) -> None:
    """Each class in its colour, background clear, ignore grey, unknown ids red."""
    count = len(space.classes)
    table = np.full((max(count, space.ignore, int(labels.max())) + 1, 3), _MARK, np.uint8)
    table[:count] = palette(count)
    table[space.ignore] = 205
    weight = np.full(len(table), 0.5, np.float32)
    weight[0 if space.background is None else space.background] = 0.0
    alpha = weight[labels][..., None]
    picture[:] = np.rint(picture * (1 - alpha) + table[labels] * alpha).astype(np.uint8)


def _draw_outline(picture: np.ndarray, one: Instance, view: View) -> None:
    colour = palette(one.class_id % 512 + 1)[-1].tolist()
    if one.polygons is not None:
        rings = [ring for ring in one.polygons if len(ring) and np.isfinite(ring).all()]
    elif one.stored is not None:
        rings = list(one.stored.polygons(0).rings)
    else:
        x1, y1, x2, y2 = one.box
        rings = [np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])]
    lines = [view.points(ring) for ring in rings]
    if all(map(np.isfinite, one.box)):
        cv2.polylines(picture, lines, True, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.polylines(picture, lines, True, colour, 1, cv2.LINE_AA)


def _draw_box(picture: np.ndarray, box: Box, view: View) -> None:
    """A box as annotated, white."""
    if all(map(np.isfinite, box)):
        start, end = view.points(np.array([box[:2], box[2:]])).tolist()
        cv2.rectangle(picture, start, end, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.rectangle(picture, start, end, (255, 255, 255), 1, cv2.LINE_AA)


def _mark(picture: np.ndarray, box: Box, view: View) -> None:
    """A red frame with a white rim around a place, a few pixels away from it."""
    (x1, y1), (x2, y2) = view.points(np.array([box[:2], box[2:]])).tolist()
    corners = (x1 - 4, y1 - 4), (x2 + 4, y2 + 4)
    cv2.rectangle(picture, *corners, (255, 255, 255), 4, cv2.LINE_AA)
    cv2.rectangle(picture, *corners, _MARK, 2, cv2.LINE_AA)

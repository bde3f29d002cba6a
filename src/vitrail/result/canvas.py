"""Drawing in place on an RGB picture: tints, outlines, text and panels.

A picture is (H, W, 3) uint8 and is written to. Work goes a strip at a time, so that a picture of
48 megapixels needs no second full frame.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from vitrail.result.palette import ink_on, light_and_dark

Font = PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont

_STRIP = 1 << 19  # pixels of a strip


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes in pixels that suit a picture's size."""

    text: int
    line: int

    @classmethod
    def of(cls, size: tuple[int, int]) -> Scale:
        """For an (H, W) picture: text 1/32 of its (mean) side, at least 12 px to stay readable."""
        side = float(np.sqrt(size[0] * size[1]))
        return cls(text=max(12, round(side / 32)), line=max(1, round(side / 500)))


def strips(height: int, width: int) -> Iterator[slice]:
    """Row ranges that cover a picture, each of about half a megapixel."""
    rows = max(1, _STRIP // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, min(height, top + rows))


def tint_labels(
    picture: np.ndarray, labels: np.ndarray, colours: np.ndarray, shown: np.ndarray, alpha: float
) -> None:
    """Blend ``colours[label]`` over each pixel whose label is shown.

    ``colours`` is (K, 3) uint8, ``shown`` (K,) bool with K beyond the largest label, and ``alpha``
    the colour's weight in [0, 1].
    """
    every = bool(shown.all())
    for rows in strips(*labels.shape):
        ids, strip = labels[rows], picture[rows]
        blended = cv2.addWeighted(strip, 1 - alpha, colours[ids], alpha, 0)
        if every:
            strip[:] = blended
        else:
            cv2.copyTo(blended, shown.view(np.uint8)[ids], strip)


def tint_mask(window: np.ndarray, mask: np.ndarray, colour: np.ndarray, alpha: float) -> None:
    """Blend one colour over the mask's pixels; ``window`` (h, w, 3) and ``mask`` (h, w) match."""
    weight = round(alpha * 256)
    paint = np.asarray(colour, np.uint16) * np.uint16(weight)
    for rows in strips(*mask.shape):
        inside = mask[rows]
        strip = window[rows]
        strip[inside] = (strip[inside] * np.uint16(256 - weight) + paint) >> 8


def outline(
    picture: np.ndarray,
    contours: Sequence[np.ndarray],
    corner: tuple[int, int],
    colour: np.ndarray,
    width: int,
) -> None:
    """Outlines with a light core between dark rims: the one or the other shows on any ground.

    ``corner`` is the (x, y) in the picture of the contours' origin.
    """
    light, dark = light_and_dark(colour)
    for shade, thickness in ((dark, 3 * width), (light, width)):
        cv2.drawContours(
            picture, contours, -1, shade.tolist(), thickness, cv2.LINE_AA, offset=corner
        )


def contours_of(crop: np.ndarray) -> Sequence[np.ndarray]:
    """Outer and inner outlines of a (h, w) bool crop, as ``cv2.drawContours`` takes them."""
    found, _ = cv2.findContours(crop.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return found


def boundaries(picture: np.ndarray, labels: np.ndarray, width: int) -> None:
    """Lines between regions, light with dark rims; for maps of any number of regions."""
    height = labels.shape[0]
    reach = 2 * width + 2
    core = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    rim = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width + 2, width + 2))
    light, dark = np.full(3, 250, np.uint8), np.full(3, 20, np.uint8)
    for rows in strips(*labels.shape):
        top, bottom = max(0, rows.start - reach), min(height, rows.stop + reach)
        near = labels[top:bottom]
        turns = np.zeros(near.shape, np.uint8)
        turns[:, :-1] = near[:, :-1] != near[:, 1:]
        turns[:-1] |= near[:-1] != near[1:]
        inner = slice(rows.start - top, rows.stop - top)
        tint_mask(picture[rows], cv2.dilate(turns, rim)[inner].view(bool), dark, 0.45)
        tint_mask(picture[rows], cv2.dilate(turns, core)[inner].view(bool), light, 0.85)


def mean_colours(picture: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Mean colour of each label's pixels, (count, 3) uint8; black where a label has none."""
    sums = np.zeros((3, count))
    pixels = np.zeros(count)
    for rows in strips(*labels.shape):
        ids = labels[rows].ravel()
        pixels += np.bincount(ids, minlength=count)
        for channel in range(3):
            values = picture[rows][..., channel].ravel()
            sums[channel] += np.bincount(ids, weights=values, minlength=count)
    return np.rint(sums / np.maximum(pixels, 1)).astype(np.uint8).T


@lru_cache(maxsize=16)
def _fonts(size: int) -> list[Font]:
    """Pillow's own font first, the same everywhere, then wider ones this machine may have."""
    fonts: list[Font] = [PIL.ImageFont.load_default(size)]
    for name in ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf"):
        with suppress(OSError):
            fonts.append(PIL.ImageFont.truetype(name, size))
    return fonts


@lru_cache(maxsize=512)
def text_patch(text: str, size: int) -> np.ndarray:
    """How much ink there is at each pixel of a line of text, (h, w) uint8.

    All patches of one size are equally high, so that lines up on a common base. Pillow's own font
    has ASCII letters only: others are taken from a font of the system that has them, or lose
    their accents, or become a question mark.
    """
    font, text = _writable(text, size)
    width = max(1, int(np.ceil(font.getbbox(text)[2])))
    patch = PIL.Image.new("L", (width, round(size * 1.3)))
    PIL.ImageDraw.Draw(patch).text((0, 0), text, fill=255, font=font)
    coverage = np.asarray(patch)
    coverage.flags.writeable = False
    return coverage


def _writable(text: str, size: int) -> tuple[Font, str]:
    """A font that has all letters of the text; or Pillow's own, and the text with those it has."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    fonts = _fonts(size)
    if text.isascii():
        return fonts[0], text
    for font in fonts:
        if all(_has(font, letter) for letter in text):
            return font, text
    plain = "".join(
        letter
        if _has(fonts[0], letter)
        else unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or "?"
        for letter in text
    )
    return fonts[0], plain


def _has(font: Font, letter: str) -> bool:
    """Whether a font has a letter: one it lacks looks like U+FFFE, which no font has."""
    if letter.isascii():
        return True
    shapes: list[bytes] = []
    for shown in (letter, "\ufffe"):
        patch = PIL.Image.new("L", (64, 64))
        PIL.ImageDraw.Draw(patch).text((8, 8), shown, fill=255, font=font)
        shapes.append(patch.tobytes())
    return shapes[0] != shapes[1]


def write_text(picture: np.ndarray, x: int, y: int, text: str, size: int, ink: np.ndarray) -> None:
    """Blend a line of text into the picture, top left corner at (x, y); what sticks out is cut."""
    patch = text_patch(text, size)[: max(0, picture.shape[0] - y), : max(0, picture.shape[1] - x)]
    window = picture[y : y + patch.shape[0], x : x + patch.shape[1]]
    weight = patch[..., None].astype(np.uint16)
    window[:] = (window * (255 - weight) + np.asarray(ink, np.uint16) * weight) // 255


def panel(
    picture: np.ndarray, box: tuple[int, int, int, int], colour: np.ndarray, alpha: float
) -> None:
    """Blend a box with rounded corners; ``box`` is x1, y1, x2, y2, inside the picture."""
    x1, y1, x2, y2 = box
    mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
    radius = max(1, min(mask.shape) // 8)
    height, width = mask.shape
    mask[radius : height - radius] = 1
    mask[:, radius : width - radius] = 1
    for cx in (radius, width - 1 - radius):
        for cy in (radius, height - 1 - radius):
            cv2.circle(mask, (cx, cy), radius, 1, cv2.FILLED)
    tint_mask(picture[y1:y2, x1:x2], mask.view(bool), colour, alpha)


def tag_size(text: str, size: int) -> tuple[int, int]:
    """(height, width) in pixels of a tag with this text."""
    patch = text_patch(text, size)
    pad = max(2, size // 4)
    return patch.shape[0] + pad, patch.shape[1] + 2 * pad


def tag(picture: np.ndarray, x: int, y: int, text: str, size: int, colour: np.ndarray) -> None:
    """Text on a box of a colour, in black or white, whichever reads better on it."""
    height, width = tag_size(text, size)
    pad = max(2, size // 4)
    right, bottom = min(picture.shape[1], x + width), min(picture.shape[0], y + height)
    panel(picture, (x, y, right, bottom), colour, 0.92)
    write_text(picture, x + pad, y + pad // 2, text, size, ink_on(colour))


def frame(picture: np.ndarray, box: Sequence[float], colour: np.ndarray, width: int) -> None:
    """A rectangle x1, y1, x2, y2 (edges, in pixels) with the same two tones as an outline."""
    height, across = picture.shape[:2]
    x1, y1 = max(0, round(box[0])), max(0, round(box[1]))
    x2, y2 = min(across, round(box[2])) - 1, min(height, round(box[3])) - 1
    light, dark = light_and_dark(colour)
    for shade, thickness in ((dark, 3 * width), (light, width)):
        cv2.rectangle(picture, (x1, y1), (x2, y2), shade.tolist(), thickness)

"""A stretch of a split, sample by sample: everything that can be said without the other samples."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from vitrail.codecs import Limits
from vitrail.data.checks.finding import Finding, Pen
from vitrail.data.checks.fingerprint import fingerprint
from vitrail.data.checks.images import Picture, look
from vitrail.data.checks.masks import RawMask, blame, histogram, look_at_mask
from vitrail.data.checks.native import DecoderMessages
from vitrail.data.checks.objects import check_objects
from vitrail.data.checks.tally import ClassCounts, Palettes, Used
from vitrail.data.formats.coco_panoptic import PanopticSource
from vitrail.data.formats.openimages import OpenImagesSource
from vitrail.data.formats.yolo import YoloSource
from vitrail.data.sample import LabelSpace, MaskFiles, Sample, SampleSource
from vitrail.errors import VitrailError
from vitrail.sources import IMAGE_SUFFIXES

_SPOILED = ("jpeg-mask", "anti-aliased-mask")
_MEASURED = (YoloSource, OpenImagesSource)
"""Sources whose coordinates are fractions: their frame is that of the image, whatever it is."""


@dataclass
class Stretch:
    """What was found in samples ``start`` to ``start + len(nbytes)`` of a split."""

    split: str
    start: int
    counts: ClassCounts
    nbytes: np.ndarray
    """Size of each image file, ``(n,)`` int64; 0 where it could not be read."""
    prints: np.ndarray
    """``(n, 2)`` uint64: hash of each image and of its mirror image; 0 where it has none."""
    findings: list[Finding] = field(default_factory=list)
    palettes: Palettes = field(default_factory=Palettes)
    images: Used = field(default_factory=Used)
    masks: Used = field(default_factory=Used)
    files: int = 0
    unopened: set[str] = field(default_factory=set)
    """Last parts of the ids of samples that could not be had, so that their image is unknown."""


def check_stretch(
    split: str, source: SampleSource, masks: MaskFiles, start: int, stop: int
) -> Stretch:
    """Look at samples ``start`` to ``stop`` (exclusive) of a source."""
    count = stop - start
    counts = ClassCounts.of(len(source.space.classes))
    stretch = Stretch(
        split, start, counts, np.zeros(count, np.int64), np.zeros((count, 2), np.uint64)
    )
    messages, limits, ids = DecoderMessages(), Limits.of(), source.ids
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what becomes a finding, or is none
            for index in range(start, stop):
                pen = Pen(split, str(ids[index]), None, (split, index))
                _Look(source, masks, index, pen, stretch, messages, limits).run()
    finally:
        messages.close()
    return stretch


class _Look:
    """One sample, from its files to its objects."""

    def __init__(
        self,
        source: SampleSource,
        masks: MaskFiles,
        index: int,
        pen: Pen,
        stretch: Stretch,
        messages: DecoderMessages,
        limits: Limits,
    ) -> None:
        self.source, self.masks, self.index, self.pen = source, masks, index, pen
        self.stretch, self.messages, self.limits = stretch, messages, limits
        self.space: LabelSpace = source.space
        self.mask_files: Sequence[Path] = ()

    def run(self) -> None:
        fault, sample = "", None
        try:
            sample, _ = self.messages.during(lambda: self.source[self.index])
        except Exception as error:  # malformed files find ways that no reader thought of
            fault = _told(error)
        if sample is not None:
            self.pen.file = sample.path
            self._look_at_image(sample)
        before = len(self.pen.found)
        raw = self._look_at_masks()
        if sample is None:
            self.stretch.unopened.add(PurePosixPath(self.pen.id).name)
            self._spoiled()
            if len(self.pen.found) == before:
                self._look_at_blamed(fault)
            if len(self.pen.found) == before:
                self._unreadable(fault, "an annotation that can be read")
        else:
            self._look_at_labels(sample, raw, before)
            self._look_at_objects(sample)
        self.stretch.findings += self.pen.found

    def _look_at_image(self, sample: Sample) -> None:
        if sample.path is None:
            picture = self._pixels_of(sample)
        else:
            self.stretch.files += 1
            self.stretch.images.add(sample.path)
            picture = look(sample.path, self.pen, self.messages, self.limits)
        if picture is None:
            return
        at = self.index - self.stretch.start
        self.stretch.nbytes[at] = picture.nbytes
        if picture.print is not None:
            self.stretch.prints[at] = picture.print
        if isinstance(self.source, _MEASURED) and picture.orientation != 1:
            turned = f"EXIF orientation {picture.orientation} turns or mirrors it"
            value = f"{turned}, and its annotation is in fractions of width and height"
            self.pen.note("exif-ambiguous", value, "an upright image")
            return
        _compare_sizes(picture, sample.size, self.pen)

    def _unreadable(self, fault: str, expected: str) -> None:
        """A finding at the file that the message begins with, as all of vitrail's do."""
        for cut in re.finditer("[:,] ", fault):
            # Unlike Path.is_file, which raises for text that is too long for a name.
            if os.path.isfile(file := fault[: cut.start()]):  # noqa: PTH113
                value = fault[cut.end() :]
                self.pen.note("unreadable-sample", value, expected, file=Path(file))
                return
        self.pen.note("unreadable-sample", fault, expected)

    def _look_at_blamed(self, fault: str) -> None:
        """Readers that take an image's size from the image fail where that is damaged.

        Their messages begin with the file, as all of vitrail's do.
        """
        parts = fault.split(": ")
        for end in range(1, len(parts)):
            path = Path(": ".join(parts[:end]))
            named = path.suffix.lower() in IMAGE_SUFFIXES and path not in self.mask_files
            if named and os.path.lexists(path):
                self.stretch.files += 1
                self.stretch.images.add(path)
                look(path, self.pen, self.messages, self.limits)
                return

    def _pixels_of(self, sample: Sample) -> Picture | None:
        """An image that is no file: an array, or embedded in an annotation file."""
        try:
            # Not sample.image, which refuses a picture of another size than its annotations.
            pixels = sample.picture() if callable(sample.picture) else sample.picture
        except Exception as error:  # as above
            self.pen.note("corrupt-image", _told(error), "a whole image")
            return None
        assert isinstance(pixels, np.ndarray)
        size = (pixels.shape[0], pixels.shape[1])
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        return Picture(size, 1, pixels.nbytes, fingerprint(grey))

    def _look_at_masks(self) -> RawMask | None:
        """Judge all mask files; the first of them, which is the label map where there is one."""
        raws: list[RawMask | None] = []
        try:
            self.mask_files = self.masks(self.index)
        except Exception:  # as above; reading the sample has said it, or the labels will
            return None
        for path in self.mask_files:
            self.stretch.files += 1
            self.stretch.masks.add(path)
            raws.append(look_at_mask(path, self.pen, self.messages, self.limits))
        return raws[0] if raws else None

    def _look_at_labels(self, sample: Sample, raw: RawMask | None, before: int) -> None:
        """``before``: how many findings there were when the mask files had not been looked at."""
        try:
            labels, _ = self.messages.during(lambda: sample.labels)
        except Exception as error:  # as above
            self._blame(sample, raw, _told(error), told=len(self.pen.found) > before)
            return
        if labels is None:
            return
        file = None if raw is None else raw.path
        if raw is not None and not np.array_equal(raw.pixels, labels):
            raw = None  # the reader made other ids of its values
        values, counts = histogram(labels) if raw is None else (raw.values, raw.counts)
        self.stretch.counts.add_map(values, counts, self.space.ignore)
        if raw is not None or not self.mask_files:
            self.stretch.counts.add_void(values, self.space.ignore, file)
        unknown = (values >= len(self.space.classes)) & (values != self.space.ignore)
        if unknown.any() and before == len(self.pen.found):
            shown = ", ".join(str(int(value)) for value in values[unknown][:8])
            expected = f"class ids 0..{len(self.space.classes) - 1} or {self.space.ignore} (ignore)"
            self.pen.note("unknown-class-id", f"ids {shown}", expected, file=file)
            self._count_strange(values, values[unknown])
        # COCO panoptic lists images without any segment: all of such a PNG is void, as it should.
        empty = isinstance(self.source, PanopticSource) and sample.instances == ()
        if (values == self.space.ignore).all() and not empty:
            value = f"{self.space.ignore} (ignore) in every pixel"
            self.pen.note("nothing-labelled", value, "a class somewhere", file=file)
        if raw is not None and raw.palette:
            palette, path = raw.palette, raw.path
            used = [int(v) for v in values if v != self.space.ignore and 3 * v + 3 <= len(palette)]
            self.stretch.palettes.add({v: (palette[3 * v : 3 * v + 3], path) for v in used})

    def _look_at_objects(self, sample: Sample) -> None:
        if sample.instances is None:
            return
        try:
            found = check_objects(sample.instances, self.space, sample.size, self.pen)
        except Exception as error:  # as above
            self._unreadable(_told(error), "objects that can be read")
            return
        self.stretch.counts.add_objects(found)
        if self.space.original_ids is None:
            ids = [one.class_id for one in sample.instances]
            foreign = [id for id in ids if not 0 <= id < len(self.space.classes)]
            self.stretch.counts.foreign.update(foreign)

    def _blame(self, sample: Sample, raw: RawMask | None, error: str, *, told: bool) -> None:
        """The reader gave up on the masks: the finding that says best why."""
        self._spoiled()
        if raw is not None and raw.size != sample.size:
            value = f"the mask is {raw.size[1]}x{raw.size[0]} px"
            expected = f"{sample.size[1]}x{sample.size[0]} like the image"
            self.pen.note("size-mismatch", value, expected, file=raw.path)
            told = True
        elif raw is not None:
            strange = blame(raw, self.space, self.pen)
            told |= strange is not None
            if strange is not None and len(strange):
                self._count_strange(raw.values, strange)
        if not told:
            file = None if raw is None else raw.path
            value = error.removeprefix(f"{file}: ")
            self.pen.note("unreadable-mask", value, "a label map", file=file)

    def _count_strange(self, values: np.ndarray, strange: np.ndarray) -> None:
        self.stretch.counts.strange.update(int(value) for value in strange[:256])
        self.stretch.counts.zeros += int(0 in values)

    def _spoiled(self) -> None:
        """Blurred masks are errors where the reader fails on them."""
        for number, finding in enumerate(self.pen.found):
            if finding.problem.code in _SPOILED:
                problem = replace(finding.problem, severity="error")
                self.pen.found[number] = replace(finding, problem=problem)


def _told(error: Exception) -> str:
    """The message of an error; with its kind, where it is not one of vitrail's own."""
    return str(error) if isinstance(error, VitrailError) else f"{type(error).__name__}: {error}"


def _compare_sizes(picture: Picture, frame: tuple[int, int], pen: Pen) -> None:
    """Findings on an image's size and EXIF orientation against the frame of its annotations."""
    turned = f"EXIF orientation {picture.orientation}"
    wanted = f"{frame[1]}x{frame[0]} px like its annotation"
    if picture.size == frame:
        if picture.orientation == 1:
            return
        square = frame[0] == frame[1]
        if picture.orientation < 5 or square:
            how = "turns it by a quarter, and it is square" if square else "turns or mirrors it"
            pen.note("exif-ambiguous", f"{turned} {how}", "an upright image")
        else:
            pen.note("exif-orientation", f"{turned} turns it by a quarter", "an upright image")
        return
    height, width = picture.size
    if picture.stored == frame:
        value = f"{width}x{height} px by {turned}, {frame[1]}x{frame[0]} as stored"
        pen.note("exif-rotated", value, wanted)
        return
    advice = None
    if (width, height) == frame:
        advice = "width and height are exchanged: one of the two was turned by a quarter"
    elif frame[0] and abs(width / height - frame[1] / frame[0]) < 0.01:
        advice = (
            f"one of the two was resized by {frame[1] / width:.3g}: resize the other alike "
            "(masks by nearest neighbour)"
        )
    pen.note("size-mismatch", f"the image is {width}x{height} px", wanted, advice=advice)

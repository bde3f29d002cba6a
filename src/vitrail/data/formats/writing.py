"""What writers of objects share: sources as objects, places for images, text files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vitrail.atomic import make_folder, output_error
from vitrail.data.derive import AsObjects
from vitrail.data.formats.base import Splits
from vitrail.data.formats.files import copy_image, inside
from vitrail.data.sample import Instance, LabelSpace, Sample, SampleSource
from vitrail.errors import DataError


def object_splits(splits: Splits) -> tuple[LabelSpace, dict[str, SampleSource]]:
    """Every split as objects without a background class, and their one space.

    Raises
    ------
    DataError
        the splits have different classes.
    """
    sources: dict[str, SampleSource] = {split: AsObjects(given) for split, given in splits.items()}
    spaces = {split: source.space for split, source in sources.items()}
    space = next(iter(spaces.values()), LabelSpace(()))
    for split, other in spaces.items():
        if other.classes != space.classes:
            raise DataError(
                f"split {split} has the classes {', '.join(other.classes)}; expected those of the "
                f"first split: {', '.join(space.classes)}"
            )
    return space, sources


def samples(source: SampleSource) -> Iterator[Sample]:
    """One after the other, so that no more than one is in memory."""
    return (source[index] for index in range(len(source)))


def check_utf8(sample: Sample) -> None:
    """Refuse a sample whose id, as the name of its file on disk, is not UTF-8.

    Raises
    ------
    DataError
        says which file is to be renamed.
    """
    try:
        sample.id.encode()
    except UnicodeEncodeError:
        name = ascii(str(sample.path or sample.id))
        raise DataError(
            f"the name {name} is not UTF-8 on disk, and no set of this format can hold it; rename "
            "the file"
        ) from None


def place_image(sample: Sample, folder: Path) -> Path:
    """Copy a sample's image to where its id says, with sub-folders; returns where it lies.

    Raises
    ------
    DataError
        the id leaves the folder, or another image has it.
    OutputError
        it cannot be written.
    """
    place = inside(folder, sample.id)
    return copy_image(sample, make_folder(place.parent), place.name)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file with Unix line ends, and the folders it needs.

    Raises
    ------
    DataError
        the text cannot be encoded: a name on disk is not UTF-8.
    OutputError
        it cannot be written.
    """
    make_folder(path.parent)
    try:
        path.write_bytes(encode(text, path))
    except OSError as error:
        raise output_error(path, error) from None


def encode(text: str, path: Path) -> bytes:
    """UTF-8 bytes; :class:`DataError` for names on disk that are not UTF-8."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        name = ascii(text[max(error.start - 20, 0) : error.end + 20])
        raise DataError(
            f"{path}: cannot hold the name {name}, which is not UTF-8 on disk; rename the file"
        ) from None


def check_names(names: Sequence[str], forbidden: Sequence[str] = ()) -> None:
    """Refuse class names that a text file with a name a line cannot hold.

    Raises
    ------
    DataError
        a name is empty, begins or ends with a space, has a line break, or means something else.
    """
    for name in names:
        if fault := odd_blanks(name):
            raise DataError(
                f"the class name {name!r} {fault}, which this format does not keep; "
                f"{rename_advice(name)}"
            )
        if name in forbidden:
            raise DataError(
                f"the class name {name!r} means something else in this format; rename the class "
                f"(--rename '{name}=OTHER')"
            )


def odd_blanks(name: str) -> str:
    """What is wrong with a class name's blanks for a text file with a name a line; "" if nothing.

    Most formats of text strip what they read, so that such a name would come back as another.
    """
    if not name.strip():
        return "is empty or blank"
    if len(name.splitlines()) > 1:
        return "has a line break"
    return "" if name == name.strip() else "begins or ends with a blank"


def rename_advice(name: str) -> str:
    """How to give a class of such a name a better one."""
    better = " ".join(name.split())
    return f"rename the class (--rename '{better}={better}')" if better else "name the class"


class Groups:
    """Group numbers of one image's objects: those they had, and new ones for several parts."""

    def __init__(self, instances: Iterable[Instance]) -> None:
        had = [one.attributes.get("group_id") for one in instances]
        self._next = max((n for n in had if isinstance(n, int)), default=0) + 1
        self._used: set[tuple[int, int]] = set()

    def of(self, instance: Instance, parts: int) -> int | None:
        """The group of an object that is written as so many shapes; None if it needs none."""
        had = instance.attributes.get("group_id")
        # Two objects of one class must not share a group: read again, they would be one.
        if isinstance(had, int) and had > 0 and (instance.class_id, had) not in self._used:
            self._used.add((instance.class_id, had))
            return had
        if parts < 2:
            return None
        self._next += 1
        return self._next - 1

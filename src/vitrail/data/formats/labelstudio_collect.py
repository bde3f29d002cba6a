"""Tasks of Label Studio, gathered into splits: images found, regions checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vitrail.data.formats.base import Problems
from vitrail.data.formats.image_index import ImageIndex, sample_ids
from vitrail.data.formats.labelstudio_regions import Fault, Region, read_results, region_size
from vitrail.data.formats.labelstudio_tasks import (
    Task,
    colours,
    describe,
    find_image,
    image_value,
    without_prefixes,
)
from vitrail.data.formats.shapes import shown
from vitrail.data.sample import LabelSpace
from vitrail.errors import nearest


@dataclass(frozen=True, slots=True)
class Entry:
    """One task that can be used."""

    id: str
    image: Path
    size: tuple[int, int] | None
    """``(H, W)``, where a region says it."""
    where: str
    """File and task, for messages."""
    regions: tuple[Region, ...]


class Collected:
    """What the tasks read so far give: entries by split, labels, and faults."""

    def __init__(
        self, index: ImageIndex, declared: Mapping[str, str] | None, image_key: str | None
    ) -> None:
        self.index, self.declared, self.image_key = index, declared, image_key
        self.entries: dict[str, dict[str, Entry]] = {}
        self.found: dict[str, Problems] = {}
        self._labels: set[str] = set()
        self._stripped = without_prefixes(index)

    def space(self) -> LabelSpace:
        if self.declared is None:
            return LabelSpace(tuple(sorted(self._labels)))
        return LabelSpace(tuple(self.declared), colours=colours(self.declared))

    def add(self, file: Path, task: Task, plain: str) -> None:
        """Take in an annotated task, of the split that it says or the ``plain`` one."""
        said = task.data.get("split")
        split = said if isinstance(said, str) and said else plain
        kept = self.entries.setdefault(split, {})
        found = self.found.setdefault(split, Problems(split))
        path = self._image(file, task, found)
        if path is None:
            return
        name = _below(path, split)
        if name in kept:
            found.error(
                "repeated-image",
                file,
                f"task {task.id}",
                f"{shown(path)} is also the image of {kept[name].where.rpartition(', ')[2]}",
                "one task for each image",
                "remove one of the tasks",
            )
            return
        size, regions = self._regions(file, task, found)
        self._labels.update(region.label for region in regions)
        where = f"{file}, task {task.id}"
        kept[name] = Entry(name, self.index.root / path, size, where, regions)

    def _image(self, file: Path, task: Task, found: Problems) -> str | None:
        """The one image of a task, relative to the index's folder; otherwise reported."""
        key = self.image_key
        place = image_value(task.data, key)
        paths = [] if place is None else find_image(place, self.index, self._stripped)
        if len(paths) == 1:
            return paths[0]
        if paths:
            value = f"{len(paths)} images could be meant: {', '.join(paths[:3])}"
        elif place is None:
            value = f"no image, but {describe(task.data, key)}"
        else:
            value = f"{shown(place)} is not there"
        found.error(
            "ambiguous-image" if paths else "missing-image",
            file,
            f"task {task.id}",
            value,
            f"one image of that name below {self.index.root}",
            "copy it there (nothing is downloaded), or name its folder with images=FOLDER",
        )
        return None

    def _regions(
        self, file: Path, task: Task, found: Problems
    ) -> tuple[tuple[int, int] | None, tuple[Region, ...]]:
        """The image's size, where a region says it, and all regions that can be used."""
        results = task.results or ()
        sizes = [_size(result) for result in results]
        size = next((one for one in sizes if one is not None), None)
        fitting = [one for one, own in zip(results, sizes, strict=True) if own in (None, size)]
        if size is not None and len(fitting) < len(results):
            found.error(
                "malformed-annotation",
                file,
                f"task {task.id}",
                f"{len(results) - len(fitting)} regions were drawn on an image of another size",
                f"{size[1]}x{size[0]} px, as the first one",
                "remove them; the image was probably replaced",
            )
        regions: list[Region] = []
        for read in read_results(fitting):
            if isinstance(read, Fault):
                report = found.error if read.severity == "error" else found.warning
                id = f"task {task.id}, region {read.id}"
                report(read.code, file, id, read.value, read.expected, "mend or remove the region")
            elif self.declared is not None and read.label not in self.declared:
                found.error(
                    "unknown-category",
                    file,
                    f"task {task.id}, region {read.id}",
                    f"label {shown(read.label)}",
                    f"a label of the configuration; {nearest(read.label, self.declared)}",
                    "declare the label, or correct the region",
                )
            else:
                regions.append(read)
        return size, tuple(regions)


def _size(result: object) -> tuple[int, int] | None:
    return region_size(result) if isinstance(result, dict) else None


def _below(path: str, split: str) -> str:
    """An image's name for its id: without the folder of images, and that of its split."""
    for prefix in (f"images/{split}/", "images/", f"{split}/"):
        if path.startswith(prefix):
            return path[len(prefix) :]
    return path


def with_ids(kept: Mapping[str, Entry]) -> list[Entry]:
    """Entries with ids for names, sorted by them."""
    ids = sample_ids(list(kept))
    named = [
        Entry(id, entry.image, entry.size, entry.where, entry.regions)
        for id, entry in zip(ids, kept.values(), strict=True)
    ]
    return sorted(named, key=lambda entry: entry.id)

"""Opening and changing the drawn set of drawn_voc.py."""

from pathlib import Path

from vitrail.data.formats.base import Dataset, Options
from vitrail.data.formats.voc import FORMAT, VocOptions
from vitrail.data.opening import parse_options
from vitrail.data.sample import Sample, SampleSource


def opened(root: Path, **options) -> Dataset:
    return FORMAT.open(root, parse_options(VocOptions, options, "voc"))


def home_of(root: Path) -> Path:
    return root / "VOCdevkit" / "VOC2012"


def all_samples(dataset: Dataset) -> list[Sample]:
    return [source[i] for _, source in dataset.items() for i in range(len(source))]


def codes(dataset: Dataset) -> list[tuple[str, str]]:
    """Severity and kind of all problems, once every split is open."""
    for split in dataset.splits:
        dataset[split]
    return [(problem.severity, problem.code) for problem in dataset.problems]


def written(splits: dict[str, SampleSource], folder: Path, **options) -> Dataset:
    """Write, and open what was written."""
    folder.mkdir()
    assert FORMAT.write is not None
    FORMAT.write(splits, folder, Options())
    return opened(folder, **options)


def write_objects(home: Path, name: str, objects: str) -> None:
    path = home / "Annotations" / f"{name}.xml"
    path.write_text(f"<annotation>{objects}</annotation>", "utf-8")


def box_of(name: str, *corners: float | str, more: str = "") -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    inside = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    return f"<object><name>{name}</name><bndbox>{inside}</bndbox>{more}</object>"

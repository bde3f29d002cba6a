"""Open Images: tables of other programs, and files that are damaged."""

import csv
from pathlib import Path

import pytest

from tests.data.formats.drawn_openimages import (
    BOX_ROWS,
    BOXES,
    CAR,
    CAT,
    CAT_MASK,
    CLASSES,
    DOG,
    MASK_ROWS,
    SIZE,
    A,
    B,
    C,
    by_id,
    faults,
    objects,
    opened,
    oval,
    save,
    write_set,
)
from vitrail.data.formats.base import refuse
from vitrail.data.formats.openimages import FORMAT
from vitrail.errors import DataError, VitrailError

# Other spreadsheets -----------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_marks_and_line_ends(
    delimiter: str, mark: str, end: str, tmp_path: Path
) -> None:
    root = write_set(tmp_path)
    before = by_id(opened(root))
    for path in root.glob("*.csv"):
        rows = list(csv.reader(path.read_text().splitlines()))
        with path.open("w", newline="") as file:
            file.write(mark)
            csv.writer(file, delimiter=delimiter, lineterminator=end).writerows(rows)
    dataset = opened(root)
    assert not faults(dataset) and dataset.space.classes == ("Cat", "Dog", "Car")
    for id, one in by_id(dataset).items():
        told = [(o.class_id, o.box, o.crowd, o.attributes) for o in one.instances or ()]
        assert told == [
            (o.class_id, o.box, o.crowd, o.attributes) for o in before[id].instances or ()
        ]


def test_numbers_with_a_comma_and_quotes(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    before = by_id(opened(root))
    for path in root.glob("train-*.csv"):
        rows = [line.split(",") for line in path.read_text().splitlines()]
        lines = (";".join(f'"{field.replace(".", ",")}"' for field in row) for row in rows[1:])
        names = ";".join(rows[0])
        text = "\n".join([names, *lines]).replace(",png", ".png")
        path.write_text(text)
    dataset = opened(root)
    assert not faults(dataset)
    for id, one in by_id(dataset).items():
        assert [o.box for o in one.instances or ()] == [o.box for o in before[id].instances or ()]


# Damaged files ----------------------------------------------------------------------------------

GOOD = BOX_ROWS[1]


@pytest.mark.parametrize(
    ("row", "code", "value"),
    [
        (GOOD.replace("0.25", "nan"), "malformed-box", "line 2: YMin is nan"),
        (GOOD.replace("0.25", "-inf"), "malformed-box", "line 2: YMin is -inf"),
        (GOOD.replace("0.25", "1e999"), "malformed-box", "line 2: YMin is inf"),
        (GOOD.replace("0.25", ""), "malformed-box", "line 2: YMin is empty"),
        (GOOD.replace("0.25", "left"), "malformed-box", "line 2: YMin is 'left'"),
        (GOOD[:-1] + "no", "malformed-box", "line 2: IsInside is 'no'"),
        (GOOD.replace(",1,0.1", ",sure,0.1"), "malformed-box", "line 2: Confidence is 'sure'"),
        (GOOD.replace(CAT, "/m/none"), "unknown-category", "line 2: LabelName '/m/none'"),
        (GOOD[:40], "malformed-row", "has 6 fields"),
        (GOOD[:5], "malformed-row", "has 1 fields"),
        (GOOD.replace("xclick", '"xclick'), "malformed-row", "cannot be read"),
    ],
)
def test_rows_that_cannot_be_used_are_left_out(
    row: str, code: str, value: str, tmp_path: Path
) -> None:
    dataset = opened(write_set(tmp_path, boxes=[row, *BOX_ROWS[2:]]))
    ((kind, _),) = faults(dataset)
    assert kind == code and value in dataset.problems[0].value
    assert dataset.problems[0].file == tmp_path / "train-annotations-bbox.csv"
    assert len(dataset["train"][0].instances or ()) == 2
    with pytest.raises(DataError, match="bbox"):
        refuse(dataset.problems)


def test_rows_of_masks_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    rows = [
        MASK_ROWS[0].replace("0.250000", "NaN"),
        MASK_ROWS[1].replace(DOG, "/m/none"),
        MASK_ROWS[1].replace("0.000000", "-7.5"),
        MASK_ROWS[1][:30],
    ]
    dataset = opened(write_set(tmp_path, masks=rows))
    assert [code for code, _ in faults(dataset)] == [
        *("malformed-box", "unknown-category", "malformed-row"),
    ]
    (dog,) = objects(dataset["train"][1])
    assert dog.box == (-300, -180, 40, 24) and dog.mask is not None


def test_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    path = root / "train-annotations-bbox.csv"
    path.write_bytes(path.read_bytes().replace(b"activemil", b"active\xff"))
    assert faults(opened(root)) == [("malformed-row", "line 4")]
    path.write_bytes(b"\xff" + path.read_bytes())
    with pytest.raises(DataError, match=r"bbox\.csv: line 1 is not UTF-8"):
        opened(root)["train"]
    path.write_text(BOXES, "utf-16")
    with pytest.raises(DataError, match=r"bbox\.csv: is UTF-16, expected UTF-8"):
        opened(root)["train"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../../secret.png", "unsafe-name"),
        ("..\\..\\secret.png", "unsafe-name"),
        ("C:\\secret.png", "unsafe-name"),
        ("/etc/passwd", "unsafe-name"),
        ("", "unsafe-name"),
        ("gone.png", "missing-mask"),
    ],
)
def test_masks_that_are_not_there(name: str, code: str, tmp_path: Path) -> None:
    save(tmp_path.parent / "secret.png", oval(*SIZE))
    root = write_set(tmp_path, masks=[MASK_ROWS[0].replace(CAT_MASK, name), MASK_ROWS[1]])
    dataset = opened(root)
    assert [kind for kind, _ in faults(dataset)] == [code]
    assert [len(one.instances or ()) for one in by_id(dataset).values()] == [3, 1, 0]


def test_without_a_folder_of_masks_the_rows_are_told(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    (root / "masks").rename(root / "elsewhere")
    dataset = opened(root)
    assert faults(dataset) == [("missing-mask", A), ("missing-mask", B)]
    assert "unpack" in dataset.problems[0].advice


def test_thousands_of_faults_are_counted(tmp_path: Path) -> None:
    rows = [GOOD.replace(CAT, f"/m/{i}") for i in range(1500)]
    dataset = opened(write_set(tmp_path, boxes=rows))
    assert len(faults(dataset)) == 1001 and dataset.problems[-1].value == "500 more like these"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column ImageID, LabelName, XMin"),
        ("ImageID,LabelName,XMin,XMax,YMin\n", "has no column YMax"),
        ("a;b;c\n1;2;3\n", "has no column ImageID"),
        (BOXES + "\n" + "x" * (1 << 20), "line 2 is longer than 1,048,576 bytes"),
    ],
)
def test_files_that_are_no_boxes(text: str, message: str, tmp_path: Path) -> None:
    root = write_set(tmp_path)
    (root / "train-annotations-bbox.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        opened(root)["train"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no classes"),
        ("LabelName,DisplayName\n", "lists no classes"),
        (f"{CAT}\n", "line 1 is '/m/01yrx', expected LabelName,DisplayName"),
        (f"{CAT},Cat\n,Dog\n", "line 2 is ',Dog'"),
        (f"{CAT},Cat\n{CAT},Dog\n", "line 2: '/m/01yrx' is listed twice"),
    ],
)
def test_class_descriptions_that_are_damaged(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        opened(write_set(tmp_path, classes=text))
    assert "class-descriptions-boxable.csv" in str(caught.value)


def test_sets_that_lack_something(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no SPLIT-annotations"):
        opened(tmp_path)
    root = write_set(tmp_path)
    (root / "class-descriptions-boxable.csv").unlink()
    with pytest.raises(DataError, match=r"has no class-descriptions-boxable\.csv"):
        opened(root)
    (root / "class-descriptions.csv").write_text(CLASSES)
    assert opened(root).splits == ("train",)
    (root / "train").rename(root / "pictures")
    with pytest.raises(DataError, match="has no images, expected images/train/"):
        opened(root)


def test_files_that_change_after_opening(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    source = opened(root)["train"]
    path = root / "train-annotations-bbox.csv"
    text = path.read_text()
    for changed in (text[:100], text.replace("0.5,0.75", "left,0.5"), text.replace(CAR, "/m/0k4k")):
        path.write_text(changed)
        with pytest.raises(DataError, match="changed since"):
            source[0]
    path.unlink()
    with pytest.raises(DataError, match=r"bbox\.csv: cannot be read"):
        source[0]


def test_damaged_images_and_double_names(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    save(root / "train" / f"{C}.png", oval(*SIZE))
    (root / "train" / f"{A}.jpg").write_bytes(b"\xff\xd8\xff")
    dataset = opened(root)
    assert faults(dataset) == [("duplicate-id", C)]
    with pytest.raises(VitrailError, match=rf"{A}\.jpg"):
        dataset["train"][0]


def test_cyclic_links_do_no_harm(tmp_path: Path) -> None:
    root = write_set(tmp_path)
    (root / "train" / "loop").symlink_to(root / "train")
    (root / "masks" / "train" / "loop").symlink_to(root / "masks")
    assert not faults(opened(root)) and len(opened(root)["train"]) == 3


def test_layouts_are_recognised(tmp_path: Path) -> None:
    assert FORMAT.recognise(tmp_path) is None
    root = write_set(tmp_path / "a")
    assert FORMAT.recognise(root) == "train-annotations-object-segmentation.csv"
    assert FORMAT.recognise(root / "class-descriptions-boxable.csv") is None
    (tmp_path / "b" / "annotations").mkdir(parents=True)
    (tmp_path / "b" / "annotations" / "oidv6-test-annotations-bbox.csv").write_bytes(b"\x00")
    assert FORMAT.recognise(tmp_path / "b") == "annotations/oidv6-test-annotations-bbox.csv"

"""SBD: what is read from its MATLAB files, and what is refused."""

import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from tests.data.formats.drawn_sbd import SPLITS, save_struct, write_sbd
from tests.data.formats.drawn_voc import CLASSES, same
from vitrail.data.formats import voc_mat
from vitrail.data.formats.base import Dataset
from vitrail.data.formats.sbd import FORMAT, SbdOptions, read_classes
from vitrail.data.opening import parse_options
from vitrail.errors import DataError, ImageError, UnknownNameError


def opened(root: Path, **options) -> Dataset:
    return FORMAT.open(root, parse_options(SbdOptions, options, "sbd"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_sbd(tmp_path)
    return tmp_path / "benchmark_RELEASE" / "dataset"


@pytest.mark.parametrize("below", ["", "benchmark_RELEASE", "benchmark_RELEASE/dataset"])
def test_classes_and_objects_are_read_exactly(below: str, tmp_path: Path) -> None:
    truth = write_sbd(tmp_path)
    dataset = opened(tmp_path / below)
    assert FORMAT.recognise(tmp_path / below)
    assert dataset.space.classes == tuple(CLASSES)
    assert {name: tuple(source.ids) for name, source in dataset.items()} == SPLITS
    for split in dataset:
        source = dataset[split]
        for index in range(len(source)):
            sample = source[index]
            drawn = truth[sample.id]
            assert same(sample.labels, drawn.labels)
            assert sample.image.shape == drawn.image.shape
            assert sample.instances is not None
            assert [one.class_id for one in sample.instances] == drawn.classes
            for number, one in enumerate(sample.instances, 1):
                assert one.mask is not None
                assert same(one.mask.dense()[0], drawn.objects == number)
    assert dataset.problems == []


def test_train_noval_is_offered_where_it_is(home: Path) -> None:
    """Its images are those of train, so that it is not read beside it unless it is asked for."""
    with pytest.raises(UnknownNameError, match="train_noval"):
        opened(home, splits="train_noval")
    (home / "train_noval.txt").write_text("2008_000195\n")
    assert opened(home).splits == ("train", "val")
    assert opened(home, splits="train_noval")["train_noval"].ids == ["2008_000195"]
    for name in ("train", "val"):
        (home / f"{name}.txt").unlink()
    assert opened(home).splits == ("train_noval",)
    (home / "train_noval.txt").unlink()
    with pytest.raises(DataError, match=r"has none of train.txt, val.txt and train_noval.txt"):
        opened(home)


def test_without_objects(home: Path) -> None:
    whole = opened(home)["train"][0]
    sample = opened(home, objects=False)["train"][0]
    assert sample.instances is None
    assert same(sample.labels, whole.labels)
    (home / "inst").rename(home / "elsewhere")
    assert opened(home)["train"][0].instances is None


def test_sources_go_to_worker_processes(home: Path) -> None:
    source = opened(home)["train"]
    assert same(pickle.loads(pickle.dumps(source))[1].labels, source[1].labels)


def test_other_folders_are_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    (tmp_path / "cls").mkdir()
    (tmp_path / "cls" / "a.png").write_bytes(b"")
    assert FORMAT.recognise(tmp_path) is None
    with pytest.raises(DataError, match=r"no folder img beside a folder cls with .mat files"):
        opened(tmp_path)


def test_what_is_missing_is_reported_and_left_out(home: Path) -> None:
    (home / "img" / "2008_000051.jpg").unlink()
    (home / "inst" / "2008_000195.mat").unlink()
    (home / "cls" / "2008_000002.mat").unlink()
    (home / "train.txt").write_bytes(
        b"\xef\xbb\xbf2008_000051\r\n2008_000195\r\n../../x\r\n2008_000195\r\n"
    )
    dataset = opened(home)
    assert [len(source) for _, source in dataset.items()] == [0, 0]
    assert [(p.severity, p.code, p.id) for p in dataset.problems] == [
        ("error", "unsafe-name", "../../x"),
        ("warning", "duplicate-id", "2008_000195"),
        ("error", "missing-image", "2008_000051"),
        ("error", "missing-mask", "2008_000195"),
        ("error", "missing-mask", "2008_000002"),
    ]
    (home / "val.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"val.txt: byte 0 is 0xff, which is not UTF-8"):
        opened(home)["val"]


ZEROS = np.zeros((48, 64), np.uint8)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"Segmentation": ZEROS + np.uint8(21)}, r"holds the class 21 \(at x=0, y=0\)"),
        ({"Segmentation": ZEROS.astype(float)}, "Segmentation is float64 .*expected whole numbers"),
        ({"Segmentation": ZEROS.astype(np.int16) - 1}, "Segmentation is int16"),
        ({"Segmentation": np.zeros((2, 3, 4), np.uint8)}, r"of shape \(2, 3, 4\)"),
        ({"Segmentation": np.zeros((0, 0), np.uint8)}, r"of shape \(0, 0\)"),
        ({"Segmentation": "text"}, "its field Segmentation holds no real numbers"),
        ({"Segmentation": ZEROS + 1j}, "its field Segmentation holds no real numbers"),
        ({"Labels": ZEROS}, "its struct has no field Segmentation"),
        ({"Segmentation": ZEROS[:, :60]}, "the mask is 60x48 px, expected 64x48"),
    ],
)
def test_class_files_of_other_content(fields: dict, fault: str, home: Path) -> None:
    save_struct(home / "cls" / "2008_000002.mat", "GTcls", **fields)
    sample = opened(home)["val"][0]
    with pytest.raises(DataError, match=fault):
        sample.labels  # noqa: B018


@pytest.mark.parametrize(
    ("categories", "fault"),
    [
        (np.array([[1]]), r"object 2 has the category None; expected 1..20, one for each object"),
        (np.array([[1], [21]]), "object 2 has the category 21"),
        (np.array([[1.5], [2]]), "object 1 has the category 1.5"),
        (np.array([[np.nan], [2]]), "object 1 has the category nan"),
        ("cat", "its field Categories holds no real numbers"),
    ],
)
def test_object_files_of_other_content(categories: object, fault: str, home: Path) -> None:
    numbers = ZEROS.copy()
    numbers[2:5, 3:6], numbers[9:12, 3:6] = 1, 2
    save_struct(
        home / "inst" / "2008_000002.mat", "GTinst", Segmentation=numbers, Categories=categories
    )
    source = opened(home)["val"]
    with pytest.raises(DataError, match=fault):
        source[0]


def packed(kind: int, content: bytes) -> bytes:
    """A MATLAB file of version 5 with one element."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    return header + kind.to_bytes(4, "little") + len(content).to_bytes(4, "little") + content


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not a MATLAB file of version 5"),
        (b"text" * 100, "not a MATLAB file of version 5"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n", "version 7.3"),
        (packed(15, b"no zlib at all"), "its packed data is damaged"),
        (packed(15, zlib.compress(bytes(80))[:-2]), "its packed data is cut short"),
        (packed(15, zlib.compress(bytes(80))), "has no variable GTinst"),
        (packed(0, bytes(800)), "has no variable GTinst"),
        (packed(14, bytes(800)), "holds type 0 where numbers should be"),
        (packed(14, bytes(800))[:-8], "it is cut short"),
    ],
)
def test_damaged_files(content: bytes, fault: str, home: Path) -> None:
    for folder in ("cls", "inst"):
        (home / folder / "2008_000002.mat").write_bytes(content)
    source = opened(home)["val"]
    with pytest.raises(DataError, match=f"2008_000002.mat.*({fault})"):
        source[0]


def test_a_file_cut_anywhere(home: Path) -> None:
    path = home / "inst" / "2008_000002.mat"
    whole = path.read_bytes()
    source = opened(home)["val"]
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"2008_000002.mat"):
            source[0]


def test_other_variables(home: Path) -> None:
    scipy.io.savemat(home / "inst" / "2008_000002.mat", {"GTinst": np.arange(3)})
    with pytest.raises(
        DataError, match="GTinst is no single struct; expected a struct GTinst as in SBD"
    ):
        opened(home)["val"][0]


def test_a_bomb_is_not_unpacked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / "inst" / "2008_000002.mat"
    monkeypatch.setattr(voc_mat, "MAX_MAT_BYTES", 1 << 20)
    path.write_bytes(packed(15, zlib.compress(bytes(2 << 20))))
    source = opened(home)["val"]
    with pytest.raises(DataError, match="unpacks to more than the limit of 1,048,576 bytes"):
        source[0]
    path.write_bytes(bytes(2 << 20))
    with pytest.raises(DataError, match="has 2,097,152 bytes, more than the limit"):
        source[0]


def test_a_damaged_image(home: Path) -> None:
    (home / "img" / "2008_000002.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"2008_000002.jpg"):
        opened(home, objects=False)["val"][0]


def test_bytes_changed_anywhere(home: Path) -> None:
    """Packed or not, big or little: an error of ours or other labels, and never a crash."""
    path = home / "inst" / "2008_000002.mat"
    source = opened(home)["val"]
    plain = scipy.io.loadmat(path)
    rng = np.random.default_rng(0)
    outcomes = set()
    for compressed in (True, False):
        scipy.io.savemat(path, {"GTinst": plain["GTinst"]}, do_compression=compressed)
        whole = path.read_bytes()
        for _ in range(300):
            broken = bytearray(whole)
            for place in rng.integers(0, min(len(whole), 600), 3):
                broken[place] = rng.integers(256)
            path.write_bytes(broken)
            try:
                outcomes.add(len(source[0].instances or ()))
            except DataError as error:
                outcomes.add("refused")
                assert "2008_000002.mat" in str(error)
    assert "refused" in outcomes


def test_big_endian_numbers(home: Path) -> None:
    """As written on the workstations of its time; by hand, as scipy writes the machine's order."""

    def element(kind: int, content: bytes) -> bytes:
        head = kind.to_bytes(4, "big") + len(content).to_bytes(4, "big")
        return head + content + bytes(-len(content) % 8)

    def matrix(mx_class: int, shape: tuple[int, int], name: bytes, *rest: bytes) -> bytes:
        flags = element(6, mx_class.to_bytes(4, "big") + bytes(4))
        dimensions = element(5, np.array(shape, ">i4").tobytes())
        return element(14, flags + dimensions + element(1, name) + b"".join(rest))

    labels = np.arange(12).reshape(3, 4)
    small = (4 << 16 | 5).to_bytes(4, "big") + (13).to_bytes(4, "big")  # in one tag of 8 bytes
    names = element(1, b"Segmentation\0")
    values = matrix(12, (3, 4), b"", element(5, labels.T.astype(">i4").tobytes()))
    content = matrix(2, (1, 1), b"GTcls", small, names, values)
    path = home / "cls" / "2008_000002.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + content)
    assert same(read_classes(path), labels)

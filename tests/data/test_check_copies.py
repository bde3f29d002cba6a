"""Copies within and across splits, and the search for them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.check_sets import SPACE, Memory, check, dataset, kinds, only, photo, write_image
from vitrail.data.check import check_dataset
from vitrail.data.checks import duplicates
from vitrail.data.checks.duplicates import NEAR_BITS, equal_groups, near_pairs
from vitrail.data.checks.fingerprint import details, fingerprint
from vitrail.data.sample import Sample

SIZE = (240, 320)


def large(number: int) -> np.ndarray:
    """A picture with soft blobs and shapes with edges, as photographs have them."""
    rng = np.random.default_rng(number)
    picture = photo(number, SIZE)
    for _ in range(12):
        x, y, r = rng.integers(0, 240, 3).tolist()
        cv2.circle(picture, (x + 40, y), r // 5 + 6, rng.integers(0, 256, 3).tolist(), -1)
    return picture


def sample(name: str, picture: np.ndarray | Path, size: tuple[int, int] = SIZE) -> Sample:
    labels = np.zeros(size, np.uint8)
    labels[:30, :30], labels[40:90, 40:90] = 1, 2
    return Sample(name, picture, size, labels)


def series(start: int, number: int = 8) -> list[Sample]:
    return [sample(f"p{k}", large(k)) for k in range(start, start + number)]


def _compressed(picture: np.ndarray) -> np.ndarray:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 35])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


CHANGES = {
    "compressed": _compressed,
    "smaller": lambda picture: cv2.resize(picture, (200, 150), interpolation=cv2.INTER_AREA),
    "larger": lambda picture: cv2.resize(picture, (640, 480), interpolation=cv2.INTER_CUBIC),
    "darker": lambda picture: (picture * 0.7).astype(np.uint8),
    "grey": lambda picture: np.dstack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)] * 3),
    "mirrored": lambda picture: picture[:, ::-1].copy(),
}


def test_different_pictures_are_silent() -> None:
    parts = {"train": Memory(series(0, 40), SPACE), "val": Memory(series(50, 10), SPACE)}
    report = check_dataset(dataset(Path(), **parts))
    assert not report.problems and not report.remarks


@pytest.mark.parametrize("change", CHANGES)
def test_near_copies(change: str) -> None:
    copy = CHANGES[change](large(3))
    source = Memory([*series(0), sample("copy", copy, copy.shape[:2])], SPACE)
    finding = only(check(source), "near-duplicate-image")
    assert finding.problem.id == "copy" and finding.problem.severity == "note"
    assert finding.problem.value.startswith("nearly p3 (similarity ")
    assert ("mirrored" in finding.problem.value) == (change == "mirrored")
    assert (finding.place, finding.other) == (("train", 8), ("train", 3))


def test_copies_across_splits(tmp_path: Path) -> None:
    train = [sample(f"p{k}", write_image(tmp_path / f"t{k}.png", large(k))) for k in range(5)]
    val = [sample(f"q{k}", write_image(tmp_path / f"v{k}.png", large(k))) for k in range(10, 15)]
    val[1] = sample("same", write_image(tmp_path / "same.png", large(2)))
    val[3] = sample("near", write_image(tmp_path / "near.jpg", large(4)))
    report = check_dataset(dataset(tmp_path, train=Memory(train, SPACE), val=Memory(val, SPACE)))
    found = {p.code: p for p in report.problems if not p.code.startswith("orphan")}
    assert set(found) == {"leaked-image", "near-leaked-image"}
    exact, near = found["leaked-image"], found["near-leaked-image"]
    assert (exact.id, exact.split, exact.severity) == ("same", "val", "error")
    assert exact.value == "the same bytes as t2.png of train"
    assert (near.id, near.split, near.severity) == ("near", "val", "warning")
    assert not report.ok()


def test_one_file_listed_twice(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", large(1))
    report = check(Memory([sample("a", path), sample("b", path)], SPACE), tmp_path)
    assert only(report, "duplicate-image").problem.value == "the same file as a.png"


def test_each_copy_is_told_once() -> None:
    """Four equal pictures, two in each split: three are too many, one of them leaks."""
    parts = {
        "train": Memory([sample("a", large(1)), sample("b", large(1)), *series(10)], SPACE),
        "val": Memory([sample("c", large(1)), sample("d", large(1)), *series(30)], SPACE),
    }
    report = check_dataset(dataset(Path(), **parts))
    assert [(p.code, p.id) for p in report.problems] == [
        ("leaked-image", "c"),
        ("duplicate-image", "b"),
        ("duplicate-image", "d"),
    ]


def test_equal_sizes_and_hashes_are_not_enough(tmp_path: Path) -> None:
    """Two flat pictures have no hash at all; only their bytes tell them apart."""
    grey, same = np.full((*SIZE, 3), 90, np.uint8), np.full((*SIZE, 3), 90, np.uint8)
    light = np.full((*SIZE, 3), 200, np.uint8)
    source = Memory([sample("a", grey), sample("b", light), *series(0)], SPACE)
    assert not check(source).problems
    source = Memory([sample("a", grey), sample("b", light), sample("c", same)], SPACE)
    assert only(check(source), "duplicate-image").problem.id == "c"


def test_pictures_that_share_their_frame_are_not_copies() -> None:
    """The rim of a fundus photograph makes hashes alike; what is inside differs."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(12):
        picture = np.zeros((*SIZE, 3), np.uint8)
        cv2.ellipse(picture, (140, 128), (112, 96), 20, 0, 360, (170, 80, 40), -1)
        cv2.circle(picture, (190, 110), 18, (250, 200, 120), -1)
        for _ in range(40):
            start, end = rng.integers(60, 200, (2, 2)).tolist()
            cv2.line(picture, start, end, (145, 62, 30), 1, cv2.LINE_AA)
        samples.append(sample(str(number), picture))
    prints = [fingerprint(cv2.cvtColor(s.image, cv2.COLOR_RGB2GRAY)) for s in samples]
    near = [
        (a.plain ^ b.plain).bit_count() <= NEAR_BITS
        for i, a in enumerate(prints)
        for b in prints[i + 1 :]
        if a is not None and b is not None
    ]
    assert sum(near) > 5  # the second look has something to do
    assert not check(Memory(samples, SPACE)).problems


def _clustered(number: int, seed: int) -> np.ndarray:
    """Hashes of which many are a few bits apart, and their mirrored ones."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, 20, dtype=np.uint64)
    hashes = centres[rng.integers(0, 20, number)]
    for _ in range(5):
        flips = np.uint64(1) << rng.integers(0, 64, number, dtype=np.uint64)
        hashes = np.where(rng.random(number) < 0.5, hashes ^ flips, hashes)
    return np.stack([hashes, rng.permutation(hashes)], axis=1)


def test_search_finds_all_that_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", 1000)  # several blocks
    prints = _clustered(400, 1)
    prints[7] = 0  # has none
    found = {tuple(pair) for pair in near_pairs(prints, np.zeros(400, np.int64)).pairs.tolist()}
    assert len(found) > 500
    plain, first = np.unique(prints[:, 0], return_index=True)
    for i in range(400):
        for j in range(i + 1, 400):
            near = int(prints[i, 0] ^ prints[j, 0]).bit_count() <= NEAR_BITS
            head = first[np.searchsorted(plain, prints[[i, j], 0])].tolist() == [i, j]
            if head and 7 not in (i, j) and near:
                assert (i, j) in found
            if (i, j) in found and head:
                one, other = int(prints[i, 0] ^ prints[j, 1]), int(prints[j, 0] ^ prints[i, 1])
                assert near or min(one.bit_count(), other.bit_count()) <= NEAR_BITS


def test_many_equal_hashes_give_few_pairs() -> None:
    prints = np.repeat(_clustered(1, 3), 5000, axis=0)
    splits = np.repeat([0, 1], 2500)
    pairs = near_pairs(prints, splits).pairs
    assert len(pairs) == 4999 + 2499  # each with the first, and with the first of its split
    assert (pairs[:, 0] < pairs[:, 1]).all()


def test_limits_of_the_search_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 50)
    monkeypatch.setattr(duplicates, "_WORK", 1000)
    found = near_pairs(_clustered(300, 2), np.zeros(300, np.int64))
    assert len(found.pairs) == 50
    assert "searched to 3 differing bits" in found.remarks[0]
    assert "only the 50 nearest" in found.remarks[1]


def test_no_images_at_all() -> None:
    assert not len(near_pairs(np.zeros((5, 2), np.uint64), np.zeros(5, np.int64)).pairs)
    assert not list(equal_groups(np.zeros(5, np.int64), np.zeros(5, np.uint64)))


def test_groups_of_equal_files() -> None:
    nbytes = np.array([10, 20, 10, 10, 0, 20, 0, 30])
    hashes = np.array([1, 2, 1, 9, 0, 2, 0, 1], np.uint64)
    groups = [group.tolist() for group in equal_groups(nbytes, hashes)]
    assert sorted(groups) == [[0, 2], [1, 5]]


def test_fingerprints() -> None:
    grey = cv2.cvtColor(large(5), cv2.COLOR_RGB2GRAY)
    one, flipped = fingerprint(grey), fingerprint(grey[:, ::-1].copy())
    assert one is not None and flipped is not None
    assert (one.mirrored ^ flipped.plain).bit_count() <= 2
    assert (one.plain ^ flipped.plain).bit_count() > NEAR_BITS
    assert fingerprint(np.full((50, 50), 7, np.uint8)) is None
    deep = fingerprint(grey.astype(np.uint16) * 16)  # 12 bits in 16
    assert deep is not None and (deep.plain ^ one.plain).bit_count() <= 2
    assert not details(np.full((50, 50), 7, np.uint8)).any()
    assert np.linalg.norm(details(grey)) == pytest.approx(1, abs=1e-5)


def test_copies_are_counted_by_code() -> None:
    source = Memory([*series(0), sample("copy", large(2))], SPACE)
    assert kinds(check(source)) == {"duplicate-image": 1}

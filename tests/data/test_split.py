"""Dividing a data set: sizes, groups, stratification, lists on disk."""

import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.listed import Listed, drawn, mapped, sample
from vitrail.data.sample import LabelSpace
from vitrail.data.split import (
    Joined,
    Subset,
    group_keys,
    parse_parts,
    part_sizes,
    read_split,
    write_split,
)
from vitrail.data.stratify import class_presence, divide
from vitrail.errors import DataError, OutputError, ParameterError

SPACE = LabelSpace(("ground", "disc", "box"), 0)


def ids(count: int) -> list[str]:
    return [f"image_{number:05d}" for number in range(count)]


@pytest.mark.parametrize(
    ("text", "total", "expected"),
    [
        ("train=0.8,val=0.1,test=0.1", 2913, {"train": 2331, "val": 291, "test": 291}),
        ("train=2164,val=449,test=300", 2913, {"train": 2164, "val": 449, "test": 300}),
        ("train=rest,val=449, test=300", 2913, {"train": 2164, "val": 449, "test": 300}),
        ("a=.33,b=.33,c=.33", 100, {"a": 34, "b": 33, "c": 33}),
        ("all=1.0", 7, {"all": 7}),
    ],
)
def test_sizes(text: str, total: int, expected: dict[str, int]) -> None:
    assert part_sizes(parse_parts(text), total) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train=0.5", "take 5 images, but there are 10"),
        ("train=11", "take 11 images"),
        ("train=8,val=1", "take 9 images"),
        ("train=10,val=rest", "val would get none of 10"),
        ("train=rest,val=rest", "only one part can be the rest"),
        ("train=0.99,val=0.01", "val would get none"),
        ("train=much", "expected a fraction such as 0.8"),
        ("train=-1", "expected a fraction"),
        ("train=0.5,train=0.5", "'train' is there twice"),
        ("../up=1.0", "no name of a file"),
        ("..=1.0", "no name of a file"),
        ("", "no name of a file"),
    ],
)
def test_sizes_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        part_sizes(parse_parts(text), 10)


@settings(max_examples=80, deadline=None)
@given(
    count=st.integers(3, 60),
    seed=st.integers(0, 5),
    folds=st.integers(2, 3),
    rate=st.floats(0.05, 0.9),
)
def test_parts_cover_all_once_at_the_sizes_asked_for(count, seed, folds, rate) -> None:
    sizes = part_sizes({f"p{k}": Fraction(1, folds) for k in range(folds)}, count)
    presence = np.random.default_rng(seed).random((count, 4)) < rate
    dealt = divide(ids(count), sizes, seed=seed, presence=presence)
    assert sorted(index for part in dealt.values() for index in part) == list(range(count))
    assert {name: len(part) for name, part in dealt.items()} == sizes
    assert all(part == sorted(part) for part in dealt.values())


def test_stratified_parts_have_every_class_in_its_share() -> None:
    """Rare classes above all: 10 images of one go 8, 1, 1; chance alone does not do that."""
    rng = np.random.default_rng(3)
    presence = np.zeros((1000, 12), bool)
    for k, count in enumerate([600, 400, 250, 120, 80, 60, 50, 40, 30, 20, 20, 10]):
        presence[rng.choice(1000, count, replace=False), k] = True
    sizes = part_sizes(parse_parts("train=0.8,val=0.1,test=0.1"), 1000)
    dealt = divide(ids(1000), sizes, seed=1, presence=presence)
    counts = np.array([presence[part].sum(axis=0) for part in dealt.values()])
    wanted = np.outer([0.8, 0.1, 0.1], presence.sum(axis=0))
    assert np.abs(counts - wanted).max() <= 2
    assert counts[:, -1].tolist() == [8, 1, 1]
    by_chance = divide(ids(1000), sizes, seed=1)
    counts = np.array([presence[part].sum(axis=0) for part in by_chance.values()])
    assert np.abs(counts - wanted).max() > 5


def test_a_seed_gives_the_same_parts_for_ever() -> None:
    """Golden: SHA-256 of seed and id decides, whatever the platform and the order of files."""
    sizes = {"train": 6, "val": 2}
    names = ids(8)
    first = divide(names, sizes, seed=7)
    assert first == {"train": [0, 3, 4, 5, 6, 7], "val": [1, 2]}
    turned = divide(names[::-1], sizes, seed=7)
    assert {names[::-1][i] for i in turned["val"]} == {names[i] for i in first["val"]}
    assert any(divide(names, sizes, seed=other) != first for other in range(6))


def test_groups_stay_together() -> None:
    names = [f"video{number // 7}_{number}" for number in range(140)]
    keys = group_keys(names, "prefix")
    presence = np.random.default_rng(0).random((140, 5)) < 0.4
    dealt = divide(names, {"train": 98, "val": 42}, groups=keys, presence=presence)
    held = {name: {keys[i] for i in part} for name, part in dealt.items()}
    assert not held["train"] & held["val"]
    assert {name: len(part) for name, part in dealt.items()} == {"train": 98, "val": 42}


def test_a_group_larger_than_every_part_goes_where_most_room_is() -> None:
    keys = ["big"] * 9 + ["small"]
    dealt = divide(ids(10), {"a": 6, "b": 4}, groups=keys)
    assert dealt == {"a": list(range(9)), "b": [9]}


def test_too_few_groups() -> None:
    with pytest.raises(DataError, match=r"only 1 groups: nothing is left for 'b'"):
        divide(ids(4), {"a": 2, "b": 2}, groups=["one"] * 4)


def test_an_id_twice() -> None:
    with pytest.raises(DataError, match="'x' is there twice"):
        divide(["x", "y", "x"], {"a": 3})


def test_group_keys(tmp_path: Path) -> None:
    names = ["cat_1", "dog-2", "b/3", "lone"]
    assert group_keys(names, "prefix") == ["cat", "dog", "b", "lone"]
    assert group_keys(["s01e02", "s01e03"], r"s(\d+)") == ["01", "01"]
    assert group_keys(["s01e02"], r"s\d+") == ["s01"]
    with pytest.raises(DataError, match="matches nothing in the id 'lone'"):
        group_keys(["lone"], r"\d")
    with pytest.raises(ParameterError, match="not a regular expression"):
        group_keys(["lone"], "(")
    table = tmp_path / "groups.csv"
    table.write_text('id,group\r\ncat_1,x\r\n"b/3",y\r\n', "utf-8-sig")
    assert group_keys(["b/3", "cat_1"], str(table)) == ["y", "x"]
    with pytest.raises(DataError, match="no group for 2 images; first: dog-2"):
        group_keys(names, str(table))
    table.write_text("a,b,c\n", "utf-8")
    with pytest.raises(DataError, match="line 1 has 3 columns"):
        group_keys(names, str(table))


def test_presence_of_classes() -> None:
    maps = Listed([mapped("a", ["012"]), mapped("b", ["0xx"])], SPACE)
    assert class_presence(maps).tolist() == [[False, True, True], [False, False, False]]
    found = Listed([sample("a", (1, 1), drawn(1, ["#"])), sample("b", (1, 1))], SPACE)
    assert class_presence(found).tolist() == [[False, True, False], [False, False, False]]


def test_subset() -> None:
    source = Listed([mapped(name, ["0"]) for name in ("a/1", "a/2", "b/1")], SPACE)
    part = pickle.loads(pickle.dumps(Subset(source, [2, 0])))
    assert list(part.ids) == ["b/1", "a/1"] and len(part) == 2 and part.space == SPACE
    assert part[0].id == "b/1"
    assert list(Subset.named(source, ["a/2", "images/2.jpg", "..\\pics\\2.png"]).indices) == [1] * 3
    with pytest.raises(DataError, match="'1': 2 of the 3 samples"):
        Subset.named(source, ["1"])
    with pytest.raises(DataError, match="'c': none of the 3 samples"):
        Subset.named(source, ["c"])
    with pytest.raises(DataError, match="no sample 3"):
        Subset(source, [3])


def test_joined() -> None:
    first = Listed([mapped("1", ["0"]), mapped("2", ["0"])], SPACE)
    second = Listed([mapped("3", ["0"])], SPACE)
    joined = pickle.loads(
        pickle.dumps(Joined({"train": first, "empty": Listed([], SPACE), "val": second}))
    )
    assert list(joined.ids) == ["1", "2", "3"] == [joined[i].id for i in range(3)]
    with pytest.raises(IndexError):
        joined[3]
    clash = Joined({"train": first, "val": first})
    assert list(clash.ids) == ["train/1", "train/2", "val/1", "val/2"]
    with pytest.raises(DataError, match="cannot be joined"):
        Joined({"a": first, "b": Listed([], LabelSpace(("x",)))})


def test_lists_on_disk(tmp_path: Path) -> None:
    parts = {"train": ["b/1", " odd name ", "ü"], "val": ["x"]}
    files = write_split(tmp_path / "s", parts, {"seed": 3})
    assert sorted(path.name for path in files) == ["split.json", "train.txt", "val.txt"]
    assert (tmp_path / "s" / "train.txt").read_bytes() == "b/1\n odd name \nü\n".encode()
    assert read_split(tmp_path / "s") == {name: tuple(part) for name, part in parts.items()}
    assert read_split(tmp_path / "s" / "val.txt") == {"val": ("x",)}
    with pytest.raises(OutputError, match=r"train\.txt exists"):
        write_split(tmp_path / "s", parts, {})
    write_split(tmp_path / "s", {"train": ["y"]}, {}, overwrite=True)
    assert read_split(tmp_path / "s") == {"train": ("y",)}


@pytest.mark.parametrize("id", ["two\nlines", "end\n", "", "lone \udcff byte", "para\u2029graph"])
def test_ids_that_no_list_holds(tmp_path: Path, id: str) -> None:
    with pytest.raises(DataError, match="no list can hold it"):
        write_split(tmp_path, {"train": [id]}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["[]", "{}", '{"parts": {"../up": {}}}', '{"parts": 3}', "{"])
def test_damaged_index(tmp_path: Path, content: str) -> None:
    (tmp_path / "split.json").write_text(content, "utf-8")
    with pytest.raises(DataError, match=r"split\.json"):
        read_split(tmp_path)


def test_lost_list(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text('{"parts": {"train": {}}}', "utf-8")
    with pytest.raises(DataError, match=r"train\.txt: cannot be read"):
        read_split(tmp_path)


@pytest.mark.parametrize("id", ["caf\udce9", "a\nb"])
def test_ids_that_no_list_can_hold_leave_nothing_behind(id: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no list can hold it: rename the file"):
        write_split(tmp_path / "out", {"train": ["a", id]}, {})
    assert not (tmp_path / "out").exists()

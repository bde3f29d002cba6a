"""PASCAL VOC: what is written, and what comes back."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.formats.drawn_voc import (
    SPLITS,
    same,
    write_voc,
)
from tests.data.formats.open_voc import (
    codes,
    home_of,
    opened,
    written,
)
from tests.data.listed import Listed
from vitrail.data.formats.voc_coding import PALETTE
from vitrail.data.sample import Instance, LabelSpace, Sample, SampleSource
from vitrail.errors import DataError
from vitrail.result.masks import Masks


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_voc(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def home(root: Path) -> Path:
    return home_of(root)


def source_of(space: LabelSpace, samples: list[Sample]) -> Listed:
    return Listed(samples, space)


def test_a_set_comes_back_as_it_was(root: Path, home: Path, tmp_path: Path) -> None:
    dataset = opened(root)
    back = written(dict(dataset.items()), tmp_path / "out")
    assert back.space == dataset.space
    assert back.splits == dataset.splits
    for name, source in dataset.items():
        assert back[name].ids == source.ids
        for index in range(len(source)):
            one, other = source[index], back[name][index]
            assert same(one.labels, other.labels)
            for old, new in zip(one.instances or (), other.instances or (), strict=True):
                assert (old.id, old.class_id, old.box) == (new.id, new.class_id, new.box)
                assert old.mask == new.mask
                assert new.attributes == {**old.attributes, "occluded": False}
    copy = home_of(tmp_path / "out")
    for path in (home / "JPEGImages").iterdir():
        assert (copy / "JPEGImages" / path.name).read_bytes() == path.read_bytes()
    for folder in ("SegmentationClass", "SegmentationObject"):  # void borders included
        for path in (home / folder).iterdir():
            with PIL.Image.open(path) as old, PIL.Image.open(copy / folder / path.name) as new:
                assert (new.mode, new.getpalette()) == ("P", old.getpalette())
                assert same(np.asarray(new), np.asarray(old))
    assert not (copy / "labelmap.txt").exists()
    lists = copy / "ImageSets" / "Segmentation"
    assert sorted((lists / "trainval.txt").read_text().split()) == sorted(sum(SPLITS.values(), ()))
    assert codes(back) == []


def test_void_as_a_class_comes_back_as_one(root: Path, tmp_path: Path) -> None:
    dataset = opened(root, void="class")
    back = written(dict(dataset.items()), tmp_path / "out")
    assert back.space == dataset.space
    assert same(back["val"][0].labels, dataset["val"][0].labels)


def picture(size: tuple[int, int] = (20, 30)) -> np.ndarray:
    return np.full((*size, 3), 77, np.uint8)


def mask_of(size: tuple[int, int], y: slice, x: slice) -> Masks:
    dense = np.zeros((1, *size), bool)
    dense[0, y, x] = True
    return Masks.from_dense(dense)


def test_objects_without_label_maps(tmp_path: Path) -> None:
    """Classes move up behind background; the small one lies on top; a bare box is in the XML."""
    size = (20, 30)
    big = mask_of(size, slice(2, 18), slice(2, 20))
    small = mask_of(size, slice(5, 9), slice(5, 9))
    crowd = mask_of(size, slice(0, 4), slice(22, 30))
    found = (
        Instance.from_masks(1, small, attributes={"colour": "red", "truncated": True}),
        Instance.from_masks(0, big),
        Instance.from_masks(0, crowd, crowd=True),
        Instance.from_box(1, (1.5, 2.0, 7.25, 9.0), size),
    )
    space = LabelSpace(("cat", "dog"), None, 255, (17, 18))
    source = source_of(space, [Sample("x/y", picture(size), size, None, found)])
    back = written({"train": source}, tmp_path / "out")
    assert back.space == LabelSpace(("background", "cat", "dog"), 0, 255, None, PALETTE[:3])
    sample = back["train"][0]
    assert sample.id == "y"
    assert same(sample.image, picture(size))
    assert same(sample.labels, source[0].semantic(space))
    assert sample.labels is not None
    assert (sample.labels[:4, 22:] == 255).all()
    assert sample.instances is not None
    dog, cat, box = sample.instances
    assert (dog.class_id, dog.mask == small) == (2, True)
    assert dog.attributes == {
        "truncated": True,
        "occluded": False,
        "difficult": False,
        "pose": "Unspecified",
        "colour": "red",
    }
    visible = big.dense() & ~small.dense()
    assert (cat.class_id, cat.mask == Masks.from_dense(visible)) == (1, True)
    assert (box.class_id, box.box, box.mask) == (2, (1.5, 2.0, 7.25, 9.0), None)


def test_images_that_would_have_one_name(tmp_path: Path) -> None:
    space = LabelSpace(("background", "a"), 0)
    made: dict[str, SampleSource] = {}
    for number, split in enumerate(("train", "val")):
        samples = []
        for k, id in enumerate(("cam1/001", "cam2/001", "odd:name?")):
            labels = np.full((4, 4), (number + k) % 2, np.uint8)
            samples.append(Sample(id, picture((4, 4)) + np.uint8(10 * number + k), (4, 4), labels))
        made[split] = source_of(space, samples)
    back = written(made, tmp_path / "out")
    names = {split: list(source.ids) for split, source in back.items()}
    assert names == {
        "train": ["001", "cam2_001", "odd_name_"],
        "val": ["cam1_001", "val_cam2_001", "val_odd_name_"],
    }
    for split, source in made.items():
        for index in range(len(source)):
            assert same(back[split][index].labels, source[index].labels)
            assert same(back[split][index].image, source[index].image)


def test_an_image_in_two_splits_is_written_once(root: Path, tmp_path: Path) -> None:
    source = opened(root)["train"]
    back = written({"train": source, "again": source}, tmp_path / "out")
    assert back["train"].ids == back["again"].ids == source.ids
    assert len(list((home_of(tmp_path / "out") / "JPEGImages").iterdir())) == len(source)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    size = (20, 30)
    space = LabelSpace(("background", "a:b"), 0)
    labels = np.zeros(size, np.uint8)
    with pytest.raises(DataError, match=r"'a:b' cannot stand in labelmap.txt"):
        written(
            {"all": source_of(space, [Sample("1", picture(), size, labels)])}, tmp_path / "colon"
        )
    space = LabelSpace(("background", "a"), 0)
    with pytest.raises(DataError, match=r"1: its labels hold 9; expected class ids 0..1 or 255"):
        written(
            {"all": source_of(space, [Sample("1", picture(), size, labels + np.uint8(9))])},
            tmp_path / "label",
        )
    many = tuple(Instance.from_box(1, (0, 0, 1, 1), size) for _ in range(255))
    with pytest.raises(DataError, match="1: has 255 objects; VOC's masks hold at most 254"):
        written(
            {"all": source_of(space, [Sample("1", picture(), size, labels, many)])},
            tmp_path / "many",
        )
    wide = LabelSpace(tuple(f"c{i}" for i in range(256)), 0, 65535)
    with pytest.raises(DataError, match="at most 255 classes, the data set has 256"):
        written({"all": source_of(wide, [])}, tmp_path / "wide")


def test_attributes_that_xml_cannot_hold(tmp_path: Path) -> None:
    size = (20, 30)
    odd = {"a\0b": "\x01<&>", "truncated": "maybe", "actions": {"not a tag": True}, "none": None}
    one = Instance.from_masks(1, mask_of(size, slice(2, 9), slice(2, 9)), attributes=odd)
    labels = np.zeros(size, np.uint8)
    labels[2:9, 2:9] = 1
    source = source_of(
        LabelSpace(("background", "café"), 0), [Sample("1", picture(), size, labels, (one,))]
    )
    back = written({"all": source}, tmp_path / "out")
    assert back.space.classes == ("background", "café")
    found = back["all"][0].instances
    assert found is not None
    assert found[0].attributes["a\ufffdb"] == "\ufffd<&>"
    assert found[0].attributes["truncated"] == "maybe"
    assert json.loads(str(found[0].attributes["actions"]).replace("'", '"').lower()) == {
        "not a tag": True
    }
    assert "none" not in found[0].attributes


NAMES = st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1, max_size=8)
CLASSES_OF = st.lists(
    NAMES.filter(lambda name: name == name.strip() and name.splitlines() == [name]).filter(
        lambda name: not name.startswith(("#", "\ufeff")) and "\0" not in name
    ),
    min_size=1,
    max_size=6,
    unique=True,
)
COLOURS = st.tuples(*[st.integers(0, 255)] * 3)


@settings(max_examples=40, deadline=None)
@given(
    names=CLASSES_OF,
    colours=st.lists(COLOURS, min_size=6, max_size=6, unique=True) | st.none(),
    background=st.integers(-1, 5),
    ignore=st.sampled_from([255, 254, 65535]),
    seed=st.integers(0, 10_000),
)
def test_label_maps_of_any_classes_come_back(
    names: list[str],
    colours: list | None,
    background: int,
    ignore: int,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Names, colours, background and every pixel; ignored pixels as 255."""
    ground = background if 0 <= background < len(names) else None
    own = None if colours is None else tuple(colours[: len(names)])
    space = LabelSpace(tuple(names), ground, ignore, None, own)
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if ignore < 256 else np.uint16
    values = np.array([*range(len(names)), ignore], dtype)
    labels = values[rng.integers(0, len(values), (7, 9))]
    source = source_of(space, [Sample("a", picture((7, 9)), (7, 9), partial(np.copy, labels))])
    back = written({"only": source}, tmp_path_factory.mktemp("voc") / "out")
    assert (back.space.classes, back.space.background) == (space.classes, ground)
    if own is not None and (224, 224, 192) not in own:
        assert back.space.colours == own
    sample = back["only"][0]
    assert same(sample.labels, np.where(labels == ignore, 255, labels))
    assert sample.instances is None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 6))
def test_objects_come_back_where_nothing_covers_them(
    seed: int, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Holes and parts included; overlapping ones lose what smaller ones cover."""
    rng = np.random.default_rng(seed)
    size = (24, 32)
    found = []
    for number in range(count):
        dense = np.zeros((1, *size), bool)
        for _ in range(2):
            y, x = rng.integers(0, 18), rng.integers(0, 24)
            dense[0, y : y + rng.integers(3, 9), x : x + rng.integers(3, 9)] = True
        dense[0] &= rng.random(size) > 0.1
        mask = Masks.from_dense(dense)
        found.append(Instance.from_masks(int(rng.integers(0, 3)), mask, id=f"o{number}"))
    space = LabelSpace(("a", "b", "c"))
    source = source_of(space, [Sample("s", picture(size), size, None, tuple(found))])
    back = written({"only": source}, tmp_path_factory.mktemp("voc") / "out")["only"][0]
    owner = np.zeros(size, int)
    order = sorted(range(count), key=lambda i: -int(found[i].mask.areas()[0]))
    for i in order:
        owner[found[i].mask.dense()[0]] = i + 1
    assert back.instances is not None
    assert len(back.instances) == count
    seen = {one.id: one for one in back.instances}
    for i, old in enumerate(found):
        new = seen[str(i + 1)] if str(i + 1) in seen else seen[f"box {i + 1}"]
        assert new.class_id == old.class_id + 1
        visible = owner == i + 1
        if visible.any():
            assert new.mask is not None
            assert same(new.mask.dense()[0], visible)
        else:
            assert new.mask is None

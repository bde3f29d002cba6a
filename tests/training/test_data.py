"""What a recipe says of its data becomes two parts with the same classes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.drawn import write_discs, write_recipe
from vitrail.data.transforms import unlabelled_flags
from vitrail.errors import ConfigError, VitrailError
from vitrail.training.config import DataConfig, read_recipe
from vitrail.training.data import crop_sizes, make_loader, open_sources, show_order, training_set


def config(root: Path, **more: object) -> DataConfig:
    return DataConfig.model_validate({"root": root, **more})


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_discs(tmp_path_factory.mktemp("data") / "discs", train=20, val=10)
    (root / "classes.txt").write_text("background\ndisc\nsquare\n", "utf-8")
    return root


def test_a_format_is_recognised_and_its_splits_named(discs: Path) -> None:
    sources = open_sources(config(discs))
    assert (len(sources.training), len(sources.validation)) == (20, 10)
    assert sources.space.classes == ("background", "disc", "square")
    assert sources.space.background == 0


def test_classes_are_merged_and_left_out(discs: Path) -> None:
    merged = open_sources(config(discs, merge={"thing": ["disc", "square"]}))
    assert merged.space.classes == ("background", "thing")
    labels = merged.training[0].semantic(merged.space)
    assert set(np.unique(labels)) == {0, 1}
    kept = open_sources(config(discs, classes=["square"]))
    assert kept.space.classes == ("background", "square")


def test_parts_are_drawn_and_do_not_overlap(discs: Path) -> None:
    drawn = {"parts": "train=0.5,val=0.3,test=0.2", "seed": 3}
    sources = open_sources(config(discs, draw=drawn))
    assert (len(sources.training), len(sources.validation)) == (15, 9)
    assert not set(sources.training.ids) & set(sources.validation.ids)
    again = open_sources(config(discs, draw=drawn))
    assert list(again.training.ids) == list(sources.training.ids)
    other = open_sources(config(discs, draw={**drawn, "seed": 4}))
    assert list(other.training.ids) != list(sources.training.ids)


def test_folds_hold_every_image_out_once(discs: Path) -> None:
    held: list[str] = []
    for fold in range(4):
        sources = open_sources(config(discs, draw={"folds": 4, "fold": fold}))
        assert len(sources.training) + len(sources.validation) == 30
        assert not set(sources.training.ids) & set(sources.validation.ids)
        held.extend(sources.validation.ids)
        # Stratified: each part has about half discs.
        share = np.mean([2 in sample.semantic(sources.space) for sample in sources.validation])
        assert 0.3 < share < 0.7
    assert len(held) == len(set(held)) == 30


def test_parts_have_their_share_of_an_attribute(tmp_path: Path) -> None:
    """As the kinds of microscopes in dsb2018's table of images."""
    rng = np.random.default_rng(0)
    rows = ["id,kind,instances"]
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for index in range(20):
        image = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
        labels = np.zeros((16, 16), np.uint16)
        labels[4:8, 4:8] = 1
        cv2.imwrite(str(tmp_path / "images" / f"{index:02d}.png"), image)
        cv2.imwrite(str(tmp_path / "labels" / f"{index:02d}.png"), labels)
        rows.append(f"{index:02d},{'stained' if index < 4 else 'dark'},1")
    (tmp_path / "index.csv").write_text("\n".join(rows) + "\n", "utf-8")
    for seed in range(4):
        drawn = {"parts": "train=0.75,val=0.25", "stratify": "kind", "seed": seed}
        sources = open_sources(config(tmp_path, draw=drawn))
        counts = [sum(int(name) < 4 for name in part.ids) for part in sources]
        assert counts == [3, 1]
    with pytest.raises(VitrailError, match=r"stratify by 'kinds'.*did you mean 'kind'"):
        open_sources(config(tmp_path, draw={"folds": 2, "stratify": "kinds"}))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"train": "training"}, "data.train='training'.*has the splits train, val; data.draw"),
        ({"draw": {"parts": "a=0.5,b=0.5"}}, "data.train='train'.*splits a, b"),
        ({"draw": {"parts": "train=0.5,val=0.1"}}, "parts train=0.5"),
        ({"draw": {"folds": 3, "source": "test"}}, "data.draw.source='test': the splits are"),
        ({"merge": {"x": ["dics"]}}, "data.merge: no class.*'dics'.*did you mean 'disc'"),
        ({"format": "cocoo"}, "did you mean 'coco'"),
        ({"options": {"colour": 3}}, "has no option 'colour'"),
        ({"root": "nowhere"}, "nowhere: no such file"),
    ],
)
def test_mistakes_are_named(more: dict, message: str, discs: Path) -> None:
    with pytest.raises(VitrailError, match=message):
        open_sources(DataConfig.model_validate({"root": discs, **more}))


def test_some_images_are_shown_more_often(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path), ["data.repeat={disc: 3, disc_001: 5}"])
    source = open_sources(recipe.data).training
    order = show_order(source, recipe.data.repeat)
    shown = {id: order.count(index) for index, id in enumerate(source.ids)}
    assert (shown["disc_001"], shown["disc_003"], shown["square_000"]) == (5, 3, 1)
    assert len(order) == 8 + 7 * 3 + 5
    with pytest.raises(ConfigError, match="starts with 'circle'"):
        show_order(source, {"circle": 2})


def test_partly_annotated_sources_say_so(tmp_path: Path) -> None:
    recipe = read_recipe(
        write_recipe(tmp_path), ["data.unlabelled={disc: [square], disc_001: [square, disc]}"]
    )
    sources = open_sources(recipe.data)
    flags = {s.id: unlabelled_flags(s, sources.space).tolist() for s in iter_(sources.training)}
    assert flags["disc_001"] == [False, True, True]  # the longest prefix counts
    assert flags["disc_003"] == [False, False, True]
    assert not np.any(flags["square_000"])


def iter_(source):
    return (source[index] for index in range(len(source)))


def test_finish_epochs_never_exceed_epochs(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path), ["train.epochs=2", "train.finish_epochs=5"])
    assert crop_sizes(recipe.train) == [96, 96]


def test_two_processes_see_the_batches_of_one(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    augmented = training_set(recipe, open_sources(recipe.data).training, 64)
    whole, parts = (
        [list(make_loader(augmented, 4, recipe.train, rank=rank, of=of)[0]) for rank in range(of)]
        for of in (1, 2)
    )
    for together, one, two in zip(whole[0], *parts, strict=True):
        assert np.array_equal(together.image[0::2], one.image)
        assert np.array_equal(together.labels[1::2], two.labels)

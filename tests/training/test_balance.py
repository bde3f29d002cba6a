"""Class counts, and the loss that they suggest."""

from pathlib import Path

import numpy as np
import pytest

from tests.drawn import write_discs
from vitrail.data.formats.index_masks import IndexMasks
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.losses import build_loss
from vitrail.training.balance import ClassBalance, class_balance, suggest_loss


class Maps:
    """Label maps in memory."""

    def __init__(self, maps: list[np.ndarray], space: LabelSpace) -> None:
        self.maps, self.space = maps, space
        self.ids = [str(number) for number in range(len(maps))]

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, index: int) -> Sample:
        labels = self.maps[index]
        picture = np.zeros((*labels.shape, 3), np.uint8)
        return Sample(self.ids[index], picture, labels.shape, labels)


def test_counts_are_those_of_the_masks(tmp_path: Path) -> None:
    root = write_discs(tmp_path)
    space = LabelSpace(("background", "disc", "square"), 0, 255)
    source = IndexMasks(root / "train/images", root / "train/masks", space)
    balance = class_balance(source)
    maps = np.stack([source[index].labels for index in range(16)])
    assert balance.pixels.tolist() == [int((maps == c).sum()) for c in range(3)]
    assert balance.images.tolist() == [16, 8, 8]
    assert balance.beside.tolist() == [16 * 64 * 64, 8 * 64 * 64, 8 * 64 * 64]
    assert (balance.looked_at, balance.of, balance.ignored) == (16, 16, 0)
    assert balance.text.splitlines()[0] == "classes in 16 images"
    assert suggest_loss(balance).text == "ce + dice"


def test_a_sample_is_the_same_for_a_seed() -> None:
    maps = [np.full((2, 2), index % 2, np.uint8) for index in range(50)]
    source = Maps(maps, LabelSpace(("a", "b")))
    first, second = (class_balance(source, 10, seed=3) for _ in range(2))
    other = [class_balance(source, 10, seed=seed).pixels.tolist() for seed in range(4)]
    assert first.pixels.tolist() == second.pixels.tolist()
    assert first.pixels.sum() == 40 and (first.looked_at, first.of) == (10, 50)
    assert len({tuple(pixels) for pixels in other}) > 1
    assert first.text.splitlines()[0] == "classes in 10 of 50 images"


def test_ignored_pixels_are_no_class() -> None:
    labels = np.array([[0, 0, 1, 255]], np.uint8)
    balance = class_balance(Maps([labels], LabelSpace(("a", "b"))))
    assert balance.pixels.tolist() == [2, 1] and balance.ignored == 1
    assert balance.beside.tolist() == [3, 3]
    assert "25.00% of the pixels have no label" in balance.text


def test_objects_are_painted_on_a_background() -> None:
    box = np.zeros((4, 4), bool)
    box[:2, :2] = True
    from vitrail.result.masks import Masks

    class Objects(Maps):
        def __getitem__(self, index: int) -> Sample:
            found = Instance.from_masks(0, Masks.from_dense(box[None]))
            return Sample("0", np.zeros((4, 4, 3), np.uint8), (4, 4), None, (found,))

    balance = class_balance(Objects([box], LabelSpace(("cell",))))
    assert balance.classes == ("background", "cell") and balance.background == 0
    assert balance.pixels.tolist() == [12, 4]


def test_an_id_that_is_no_class_is_named() -> None:
    with pytest.raises(DataError, match=r"0: its labels hold the ids \[7\], expected 0 to 1"):
        class_balance(Maps([np.array([[0, 7]], np.uint8)], LabelSpace(("a", "b"))))


def counts(*pixels: int, background: int | None = 0) -> ClassBalance:
    array = np.array(pixels)
    names = tuple(f"class{number}" for number in range(len(pixels)))
    images = (array > 0).astype(np.int64) * 5
    beside = np.where(array > 0, array.sum(), 0)
    return ClassBalance(names, background, array, images, beside, 0, 5, 5)


@pytest.mark.parametrize(
    ("balance", "text"),
    [
        (counts(5000, 5000), "ce + dice"),
        (counts(9800, 200), "ce + dice"),
        (counts(9801, 199), "ce + focal_tversky"),
        (counts(9000, 900, 100), "ce(weights=[0.1, 1, 9]) + dice"),
        (counts(5000, 4990, 10), "ce(weights=[0.998, 1, 10]) + dice"),
        (counts(9900, 100, 0), "ce(weights=[0.505, 10, 1]) + dice"),
        (counts(10, 9990, 5, background=None), "ce(weights=[1, 0.1, 2]) + dice"),
        (counts(100, 9900, background=1), "ce + focal_tversky"),
        (counts(10000, 0), "ce + dice"),
        (counts(0, 0), "ce + dice"),
        (counts(*[10**6] * 700, 1), "ce + focal_tversky"),  # the weights are too long a text
    ],
)
def test_the_loss_follows_the_rarest_class(balance: ClassBalance, text: str) -> None:
    suggested = suggest_loss(balance)
    assert suggested.text == text
    assert suggested.reason
    build_loss(suggested.text).check(len(balance.classes), exclusive=True)

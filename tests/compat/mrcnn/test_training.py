"""``MaskRCNN.train``: really trains, what it says, and leaves weights that can be found."""

from pathlib import Path

import numpy as np
import pytest
import torch

import vitrail.compat.mrcnn.model as modellib
from tests.compat.mrcnn.drawn import SIDE, Shapes, SmallConfig, SmallInferenceConfig, shapes
from vitrail.compat.mrcnn._source import DatasetSource, Rounds, spread
from vitrail.compat.mrcnn._training import _weighted
from vitrail.errors import DataError, ParameterError
from vitrail.models.instances import InstanceModel
from vitrail.training.records import Callback, Run, Step
from vitrail.weights.header import read_card


class Watch(Callback):
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.runs: list[Run] = []

    def on_start(self, run: Run) -> None:
        self.runs.append(run)

    def on_step(self, step: Step) -> None:
        self.steps.append(step)


def moved(before: dict[str, torch.Tensor], model: modellib.MaskRCNN) -> set[str]:
    """The parts of the network that are not what they were."""
    after = model.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name].cpu())}
    return {
        ".".join(name.split(".")[: 4 if name.startswith("encoder.net.blocks") else 1])
        for name in changed
    }


def state(model: modellib.MaskRCNN) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def test_a_training_in_two_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch()
    torch.manual_seed(0)
    model = modellib.MaskRCNN("training", tmp_path, SmallConfig(), device="cpu")
    heads = {"pyramid", "rpn", "box_head", "box_predictor", "mask_head"}

    before = state(model)
    model.train(shapes(3), shapes(2, 1), 0.01, 1, "heads", custom_callbacks=[watch])
    assert moved(before, model) == heads
    assert "Starting at epoch 0. LR=0.01" in capsys.readouterr().out
    assert model.epoch == 1
    first = Path(model.find_last())
    assert first.name == "mask_rcnn_shapes_0001.safetensors"
    assert read_card(first).classes == ("square", "bar")

    before = state(model)
    model.train(shapes(3), shapes(2, 1), 0.02, 2, "5+", {"flip": 0.5}, [watch], quiet=True)
    assert not capsys.readouterr().out
    trained = moved(before, model)
    assert heads < trained
    # MobileNetV2's seven stages: the stem and the first three are not trained.
    stages = {int(part.split(".")[3]) for part in trained - heads if "blocks" in part}
    assert stages and min(stages) >= 3
    assert Path(model.find_last()).name == "mask_rcnn_shapes_0002.safetensors"
    assert Path(model.find_last()).parent == first.parent

    assert [step.lr for step in watch.steps] == [0.01, 0.01, 0.02, 0.02]
    assert set(watch.steps[0].terms) == {"rpn_class", "rpn_bbox", "class", "bbox", "mask"}
    assert watch.runs[1].recipe.augment.flip == 0.5 and watch.runs[0].recipe.augment.flip == 0
    assert watch.runs[0].images == (4, 2)

    inference = modellib.MaskRCNN("inference", tmp_path, SmallInferenceConfig(), device="cpu")
    inference.load_weights(inference.find_last(), by_name=True)
    assert inference.epoch == 2
    assert inference.log_dir == model.log_dir
    (found,) = inference.detect([shapes(1).load_image(0)])
    assert found["masks"].shape[:2] == (SIDE, SIDE)
    with pytest.raises(ParameterError, match="2 epochs already"):
        model.train(shapes(3), shapes(2, 1), 0.01, 2, "all")


@pytest.mark.slow
def test_the_loss_falls(tmp_path: Path) -> None:
    class Longer(SmallConfig):
        STEPS_PER_EPOCH = 40

    watch = Watch()
    torch.manual_seed(0)
    model = modellib.MaskRCNN("training", tmp_path, Longer(), device="cpu")
    model.train(shapes(4), shapes(2, 1), 0.02, 1, "all", custom_callbacks=[watch], quiet=True)
    losses = [step.loss for step in watch.steps]
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:8])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"layers": "2+"}, "'2\\+'"),
        ({"epochs": 0}, "epochs=0"),
        ({"augmentation": object()}, "imgaug"),
        ({"augmentation": {"flips": 0.5}}, "flip"),
        ({"custom_callbacks": [object()]}, "Callback"),
        ({"train_dataset": Shapes()}, "prepare"),
    ],
)
def test_what_cannot_be_trained_is_told_before_anything_is_written(
    tmp_path: Path, changes: dict, told: str
) -> None:
    model = modellib.MaskRCNN("training", tmp_path / "logs", SmallConfig(), device="cpu")
    call = {
        "train_dataset": shapes(2),
        "val_dataset": shapes(1),
        "learning_rate": 0.01,
        "epochs": 1,
        "layers": "heads",
        "quiet": True,
    }
    with pytest.raises(ValueError, match=told):
        model.train(**{**call, **changes})
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"NUM_CLASSES": 4}, "3 classes"), ({"IMAGE_RESIZE_MODE": "pad64"}, "pad64")],
)
def test_settings_and_data_have_to_fit(tmp_path: Path, changes: dict, told: str) -> None:
    config = type("Mine", (SmallConfig,), changes)()
    model = modellib.MaskRCNN("training", tmp_path, config, device="cpu")
    with pytest.raises(ParameterError, match=told):
        model.train(shapes(2), shapes(1), 0.01, 1, "heads", quiet=True)


def test_samples_are_molded_and_class_ids_lose_the_background() -> None:
    dataset = shapes(2, side=32)
    raw = DatasetSource(dataset, [1])[0]
    assert raw.size == (32, 32)
    assert [one.class_id for one in raw.instances or ()] == [0, 1]
    molded = DatasetSource(dataset, [1], SmallConfig())[0]
    assert molded.image.shape == (64, 64, 3)
    for small, large in zip(raw.instances or (), molded.instances or (), strict=True):
        assert large.box == tuple(2 * edge for edge in small.box)  # twice the size


def test_parts_are_cut_out_of_image_and_masks_alike() -> None:
    class Crops(SmallConfig):
        IMAGE_RESIZE_MODE = "crop"
        IMAGE_MIN_SCALE = 2.0

    dataset = shapes(1)
    torch.manual_seed(1)
    sample = DatasetSource(dataset, [0], Crops())[0]
    assert sample.image.shape == (64, 64, 3)
    bright = sample.image.max(axis=2) > 150
    shown = np.zeros((64, 64), bool)
    for one in sample.instances or ():
        assert one.mask is not None
        shown |= one.mask.dense()[0]
    assert (bright & shown).sum() > 0.9 * (bright | shown).sum()


def test_negative_ids_are_crowds_and_images_may_be_empty() -> None:
    class Crowds(Shapes):
        def load_mask(self, image_id: int):
            masks, class_ids = super().load_mask(image_id)
            return (masks, -class_ids) if image_id == 0 else (np.zeros((0, 0, 0)), np.zeros(0, int))

    dataset = Crowds()
    dataset.load_shapes(2, 0)
    dataset.prepare()
    crowd, empty = (DatasetSource(dataset, [0, 1])[index] for index in range(2))
    assert [(one.class_id, one.crowd) for one in crowd.instances or ()] == [(0, True), (1, True)]
    assert empty.instances == () and empty.size == (SIDE, SIDE)


def test_masks_of_another_size_than_their_image() -> None:
    class Wrong(Shapes):
        def load_mask(self, image_id: int):
            masks, class_ids = super().load_mask(image_id)
            return masks[:-1], class_ids

    dataset = Wrong()
    dataset.load_shapes(1, 0)
    dataset.prepare()
    with pytest.raises(DataError, match="64x63"):
        DatasetSource(dataset, [0], SmallConfig())[0]


def test_epochs_of_any_length_show_every_image_in_turn() -> None:
    rounds = Rounds(DatasetSource(shapes(5), range(5)), 3)
    assert len(rounds) == len(rounds.ids) == 3
    seen: list[str] = []
    for rounds.round in range(5):
        seen += [rounds[index].id for index in range(3)]
    assert sorted(seen[:5]) == sorted(seen[5:10]) == sorted(seen[10:])
    assert len(set(seen[:5])) == 5
    assert seen[:5] != seen[5:10]


def test_spread() -> None:
    assert spread(10, 4) == [0, 2, 5, 7]
    assert spread(3, 4) == [0, 1, 2]


class Plain(InstanceModel):
    def loss(self, raw, targets) -> dict[str, torch.Tensor]:
        names = ["rpn_class", "rpn_bbox", "class", "bbox", "mask"]
        return {name: torch.ones(()) for name in names}


def test_weights_of_the_losses() -> None:
    def told() -> list[float]:
        terms = network.loss(None, None)  # pyright: ignore[reportArgumentType]
        return [float(term) for term in terms.values()]

    network = Plain()
    with _weighted(network, {"rpn_bbox_loss": 0.5, "mrcnn_mask_loss": 3.0}):
        assert told() == [1, 0.5, 1, 1, 3]
    assert told() == [1, 1, 1, 1, 1]

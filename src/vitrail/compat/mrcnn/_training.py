"""``MaskRCNN.train``: the original's settings as a recipe of vitrail's training engine.

The same: what is trained (``layers``), images and their size, learning rate, momentum, gradient
clipping, sampling of anchors and regions, weights of the losses, number and length of epochs.
Otherwise: SGD takes Nesterov's step, weight decay is not divided by the size of each tensor and
spares biases and norms, and classes of several sources are learnt as one set.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from vitrail.compat.mrcnn._dataset import Dataset
from vitrail.compat.mrcnn._logs import LogFolder
from vitrail.compat.mrcnn._network import ARCHITECTURE, arguments_of, card_of, preprocessing_of
from vitrail.compat.mrcnn._source import DatasetSource, Rounds, spread
from vitrail.compat.mrcnn.config import Config
from vitrail.data.augment import AugmentConfig
from vitrail.errors import ParameterError
from vitrail.models.instances import InstanceModel
from vitrail.training.api import default_callbacks
from vitrail.training.config import Recipe, make_recipe
from vitrail.training.data import Sources
from vitrail.training.learner_inputs import card_name
from vitrail.training.loop import Training
from vitrail.training.records import Callback, Epoch, Validation
from vitrail.training.setup import serial_opencv
from vitrail.weights.files import write_checkpoint

_FROZEN: Mapping[str, dict[str, object]] = {
    "heads": {"freeze_encoder": True},
    "3+": {"freeze_stages": 2},
    "4+": {"freeze_stages": 3},
    "5+": {"freeze_stages": 4},
    "all": {},
}
"""What of the encoder is not trained; vitrail counts the stem as its first stage."""

_LOSSES = {
    "rpn_class": "rpn_class_loss",
    "rpn_bbox": "rpn_bbox_loss",
    "class": "mrcnn_class_loss",
    "bbox": "mrcnn_bbox_loss",
    "mask": "mrcnn_mask_loss",
}
"""vitrail's names of the losses, and the original's."""

_AS_IT_IS: dict[str, object] = {
    "framing": "scale-jitter",
    "scale": (1.0, 1.0),
    "stretch": 0.0,
    "rotate": 0.0,
    "rotate_probability": 0.0,
    "flip": 0.0,
    "colour": 0.0,
    "grey": 0.0,
}
"""No augmentation: the samples are molded already."""


@dataclass
class Job:
    """One call of ``train``."""

    network: InstanceModel
    config: Config
    logs: LogFolder
    """Its ``epoch`` counts those that were trained before."""
    epochs: int
    """In all, with those before."""
    learning_rate: float
    layers: str
    device: str
    augmentation: Mapping[str, object] | AugmentConfig | None = None
    callbacks: Sequence[Callback] = field(default=())
    quiet: bool = False

    def run(self, dataset_train: Dataset, dataset_val: Dataset) -> None:
        """Train the network; leaves weights of each epoch in the folder.

        Raises
        ------
        ParameterError
            settings, data and network do not fit together.
        DataError
            an image or its masks are damaged.
        VitrailError
            the loss is no number any more, or the memory does not suffice.
        """
        self._check(dataset_train, dataset_val)
        recipe = self._recipe()
        config, first = self.config, self.logs.epoch
        rounds = Rounds(
            DatasetSource(dataset_train, dataset_train.image_ids, config),
            config.STEPS_PER_EPOCH * config.BATCH_SIZE,
        )
        scored = spread(len(dataset_val.image_ids), config.VALIDATION_STEPS * config.BATCH_SIZE)
        sources = Sources(rounds, DatasetSource(dataset_val, dataset_val.image_ids[scored]))
        folder = self.logs.path / f"epochs-{first + 1:04d}-{self.epochs:04d}"
        with serial_opencv(), _weighted(self.network, config.LOSS_WEIGHTS), ExitStack() as closing:
            training = Training(recipe, folder, sources, self.network, overwrite=True)
            watching = [
                _EachEpoch(self, training, rounds, tuple(dataset_train.class_names[1:])),
                *default_callbacks(recipe, quiet=self.quiet),
                *self.callbacks,
            ]
            for callback in watching:
                closing.callback(callback.close)
            training.run(watching)

    def _recipe(self) -> Recipe:
        config = self.config
        arguments = arguments_of(config)
        del arguments["classes"]  # the data say
        forks = multiprocessing.get_start_method() == "fork"
        return make_recipe(
            {
                "name": card_name("mask-rcnn", self.logs.name),
                "summary": f"Mask R-CNN over {config.BACKBONE}, trained on {self.logs.name}",
                "data": {"root": Path(self.logs.name)},
                "model": {"architecture": ARCHITECTURE, "arguments": arguments},
                "preprocessing": preprocessing_of(config).model_dump(),
                "augment": self._augment(),
                "train": {
                    **_FROZEN[self.layers],
                    "epochs": self.epochs - self.logs.epoch,
                    "batch_size": config.BATCH_SIZE,
                    "image_size": int(config.IMAGE_SHAPE[0]),
                    "optimizer": "sgd",
                    "lr": self.learning_rate,
                    "momentum": config.LEARNING_MOMENTUM,
                    "weight_decay": config.WEIGHT_DECAY,
                    "schedule": "constant",
                    "warmup": 0.0,
                    "encoder_lr_scale": 1.0,
                    "grad_clip": config.GRADIENT_CLIP_NORM or None,
                    "ema_decay": 0.0,
                    "monitor": "val_loss",
                    # A data set that a notebook defines reaches forked processes only.
                    "workers": 2 if forks else 0,
                    "device": self.device,
                    "preflight": False,
                },
            },
            source="MaskRCNN.train",
        )

    def _augment(self) -> dict[str, object]:
        given = self.augmentation
        if given is None:
            return _AS_IT_IS
        if isinstance(given, AugmentConfig):
            return given.model_dump()
        if isinstance(given, Mapping):
            return {**_AS_IT_IS, **given}
        raise ParameterError(
            f"augmentation={given!r}: expected None or vitrail's settings, such as {{'flip': 0.5, "
            "'flip_vertical': 0.5, 'rotate': 10, 'rotate_probability': 0.5, 'blur': 0.2}} in "
            "place of imgaug's Fliplr(0.5), Flipud(0.5), Affine(rotate=(-10, 10)), GaussianBlur"
        )

    def _check(self, dataset_train: Dataset, dataset_val: Dataset) -> None:
        config, told = self.config, type(self.config).__name__
        if self.layers not in _FROZEN:
            raise ParameterError(
                f"layers={self.layers!r}: expected {', '.join(map(repr, _FROZEN))}"
            )
        if self.epochs <= self.logs.epoch:
            raise ParameterError(
                f"epochs={self.epochs}: these weights have had {self.logs.epoch} epochs already, "
                "and epochs counts them all"
            )
        if config.IMAGE_RESIZE_MODE not in ("square", "crop"):
            raise ParameterError(
                f"{told}.IMAGE_RESIZE_MODE={config.IMAGE_RESIZE_MODE!r}: images of a batch have "
                "one size; expected 'square' or 'crop' for training"
            )
        for name, dataset in (("dataset_train", dataset_train), ("dataset_val", dataset_val)):
            if not len(dataset.image_ids):
                raise ParameterError(
                    f"{name} has no images; was its prepare() called, and did add_image() before?"
                )
            if dataset.num_classes != config.NUM_CLASSES:
                raise ParameterError(
                    f"{name} has {dataset.num_classes} classes ({', '.join(dataset.class_names)}), "
                    f"{told}.NUM_CLASSES is {config.NUM_CLASSES}"
                )
        wrong = [one for one in self.callbacks if not isinstance(one, Callback)]
        if wrong:
            raise ParameterError(
                f"custom_callbacks holds {type(wrong[0]).__name__}; expected subclasses of "
                "vitrail.training.records.Callback (on_start, on_step, on_epoch, on_end)"
            )


class _EachEpoch(Callback):
    """Writes the weights under the original's names, and moves the data on."""

    def __init__(
        self, job: Job, training: Training, rounds: Rounds, classes: tuple[str, ...]
    ) -> None:
        self.job, self.training, self.rounds, self.classes = job, training, rounds, classes

    def on_epoch(self, epoch: Epoch, validation: Validation) -> None:
        self.rounds.round = epoch.number
        number = self.job.logs.epoch + epoch.number
        path = self.job.logs.weights(number)
        card = card_of(
            self.job.config,
            card_name(path.stem),
            self.classes,
            f"MaskRCNN.train(..., layers={self.job.layers!r})",
        )
        write_checkpoint(path, self.training.stepper.network, card)


@contextmanager
def _weighted(network: InstanceModel, weights: Mapping[str, float]) -> Iterator[None]:
    """The network with its losses multiplied by the original's ``LOSS_WEIGHTS``."""
    if all(weights.get(name, 1.0) == 1.0 for name in _LOSSES.values()):
        yield
        return
    plain = network.loss

    def loss(raw: Any, targets: Any) -> dict[str, Tensor]:
        terms = plain(raw, targets)
        return {name: term * weights.get(_LOSSES[name], 1.0) for name, term in terms.items()}

    network.loss = loss
    try:
        yield
    finally:
        del network.loss

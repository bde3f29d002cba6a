"""Training in a notebook: a data set, a network, and what is usually done with them.

    learner = vitrail.Learner("PATH/camvid", "subjects", image_size=192)
    learner.lr_find()
    learner.fit_one_cycle(5)
    learner.show_results()

In the spirit of fastai's ``Learner`` (Howard and Gugger, arXiv:2002.04688). Each fit is a run of
:class:`vitrail.training.loop.Training` by a recipe, which :attr:`Learner.recipe` is.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vitrail.atomic import make_folder, write_atomically
from vitrail.data.sample import SampleSource
from vitrail.errors import ConfigError, ParameterError
from vitrail.image import ImageSource
from vitrail.models.registry import ARCHITECTURES
from vitrail.predict.device import pick_device, pick_precision
from vitrail.predict.engines import engine_for
from vitrail.predict.segmenter import Segmenter
from vitrail.result import Result
from vitrail.training.allocator import kept_memory
from vitrail.training.api import (
    RECIPE,
    RecipeFile,
    default_callbacks,
    say_nothing,
    training_command,
)
from vitrail.training.config import Recipe, make_recipe
from vitrail.training.data import open_sources
from vitrail.training.learner_fit import START, StartFile, changed, place, run_fit, starting_from
from vitrail.training.learner_inputs import (
    Data,
    Model,
    card_name,
    check_settings,
    first_task,
    given_data,
    given_model,
)
from vitrail.training.learner_pictures import batch_picture, results_picture, some_of
from vitrail.training.loop import Training
from vitrail.training.lr_finder import RateCurve
from vitrail.training.records import Callback, Epoch, Outcome, Validation
from vitrail.training.setup import make_card, make_task, serial_opencv
from vitrail.training.sinks import recipe_text
from vitrail.training.task import Loading, Task, check_monitor
from vitrail.weights.card import Card
from vitrail.weights.files import write_checkpoint

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


class Learner:
    """A network and the data that it learns from.

    Parameters
    ----------
    data:
        Path of a data set of any format; a mapping as a recipe's ``data`` section; or a pair of
        sources, to train on and to score on.
    model:
        Name of an architecture (``"unet"``, with fresh weights); a packaged model
        (``"subjects"``) or a checkpoint's path, to go on from; a mapping as a recipe's ``model``
        section; or a :class:`~vitrail.models.base.SemanticModel` or
        :class:`~vitrail.models.instances.InstanceModel`, whose checkpoints ``vitrail.load`` knows
        only if its class is a registered architecture.
    image_size:
        Side of the training crops, and long side of the images that are scored, px.
    batch_size:
        Images a step, or ``"auto"``.
    loss:
        See docs/losses.md; by default ``ce + dice``. Not of networks that find objects.
    out:
        Folder in which each fit gets a folder: ``NAME``, ``NAME-2`` ...; none is replaced.
    name:
        Of the model and its files; by default of data and model.
    format, options:
        What the data set is and what its format can be told; by default it is recognised.
    val:
        The split to score on, or the share of the training images drawn for that (by ``seed``).
        By default the split ``val``; 0.2 where there is none.
    arguments, encoder_weights:
        Of an architecture by name: see docs/training.md, ``model``.
    augment:
        As a recipe's ``augment`` section.
    callbacks:
        What watches each fit; by default :func:`vitrail.training.watching.watchers`.
    quiet:
        Print nothing.
    settings:
        Anything else of a recipe's ``train`` section: ``workers=0``, ``lr=1e-3``, ``seed=1``,
        ``patience=5`` ...

    Attributes
    ----------
    model:
        The network, with its weights as they are now: those that the last epoch was scored with.
    sources:
        What is trained on, and what is scored on.
    outcomes:
        What each fit came to.
    suggested_lr:
        As :meth:`lr_find` found it; None before.

    Raises
    ------
    ParameterError, ConfigError, UnknownNameError
        something that was given is unknown, of the wrong type, or does not fit together.
    DataError
        the data set cannot be read, or has faults.
    WeightsError
        the checkpoint is damaged, or does not fit.
    """

    def __init__(
        self,
        data: Data,
        model: Model = "unet",
        *,
        image_size: int = 256,
        batch_size: int | str = 16,
        loss: str | None = None,
        out: str | os.PathLike[str] = "runs",
        name: str | None = None,
        format: str | None = None,
        options: Mapping[str, object] | None = None,
        val: str | float | None = None,
        arguments: Mapping[str, object] | None = None,
        encoder_weights: str | None = None,
        augment: Mapping[str, object] | None = None,
        callbacks: Sequence[Callback] | None = None,
        quiet: bool = False,
        **settings: object,
    ) -> None:
        check_settings(settings)
        seed = settings.get("seed", 0)
        chosen = given_model(model, arguments, encoder_weights)
        found = given_data(data, format, options, val, seed if isinstance(seed, int) else 0)
        preprocessing = {"image_size": image_size}
        if chosen.card is not None:
            preprocessing = {**chosen.card.preprocessing.model_dump(), **preprocessing}
        self._plan = make_recipe(
            {
                "name": card_name(found.name, chosen.name) if name is None else name,
                "summary": f"{chosen.name} trained on {found.name}",
                "data": found.section,
                "model": chosen.section,
                "preprocessing": preprocessing,
                "augment": augment or {},
                "loss": loss,
                "train": {
                    **{"epochs": 1, "image_size": image_size, "batch_size": batch_size},
                    **settings,
                },
            },
            source="Learner",
        )
        self._last: Recipe | None = None
        self._say = say_nothing if quiet else print
        self._quiet, self._callbacks = quiet, callbacks
        self._out = Path(out)
        self._told = bool(found.sources)  # the data are no recipe's
        sources = found.sources or open_sources(self._plan.data)
        if found.told:
            self._say(found.told)
        task, self.model, self._origin = first_task(chosen, self._plan, sources, self._say)
        check_monitor(task)
        self._plan = task.recipe
        self.sources, self.space = task.sources, task.space
        self.outcomes: list[Outcome] = []
        self.suggested_lr: float | None = None
        self._epoch: Epoch | None = None
        self._segmenter: Segmenter | None = None

    def __repr__(self) -> str:
        return (
            f"Learner({self.recipe.name!r}: {len(self.sources.training)} images to train on, "
            f"{len(self.sources.validation)} to score on, classes {', '.join(self.space.classes)})"
        )

    @property
    def recipe(self) -> Recipe:
        """That of the last fit that came to its end; before there is one, of the next."""
        return self._last or self._plan

    @property
    def history(self) -> tuple[Epoch, ...]:
        """The epochs of all fits that came to their end."""
        return tuple(epoch for outcome in self.outcomes for epoch in outcome.history)

    def lr_find(self, steps: int = 100) -> RateCurve:
        """Look for a good learning rate, on a copy of the network; remember it.

        Returns
        -------
        Loss over rate, with ``.suggestion`` and ``.plot()``.

        Raises
        ------
        ParameterError, ConfigError
            there are fewer than 10 steps; the loss is no number from the start.
        """
        with serial_opencv(), kept_memory():
            curve = self._training(self._plan, self._out, dry=True).find_rate(steps)
        try:
            self.suggested_lr = curve.suggestion
        except ConfigError as error:  # the curve is worth a look all the same
            self._say(str(error))
        else:
            self._say(f"suggested learning rate: {curve.suggestion:.1e}")
        return curve

    def fit_one_cycle(
        self, epochs: int, lr: float | None = None, *, resume: bool = False
    ) -> Outcome:
        """Train from the current weights on: the rate rises to ``lr``, then falls to 0.

        Parameters
        ----------
        epochs:
            Passes over the training images.
        lr:
            By default what :meth:`lr_find` suggested, otherwise the setting ``lr``.
        resume:
            Go on with the last fit, which did not come to its end; the other arguments have to
            be the same as then. It begins where there is none.

        Raises
        ------
        ConfigError, DataError
            data, network and settings do not fit together; or a resumed fit had other settings.
        TrainingStopped
            after Ctrl-C; a ``KeyboardInterrupt``. The learner keeps the weights as far as they
            had come.
        VitrailError
            the loss is no number any more, or the memory does not suffice; says what to change.
            The learner keeps the weights from before.
        """
        return self._fit({"epochs": epochs, "schedule": "one-cycle"}, lr, resume)

    def fit(self, epochs: int, lr: float | None = None, *, resume: bool = False) -> Outcome:
        """The same as :meth:`fit_one_cycle` at a constant rate."""
        return self._fit({"epochs": epochs, "schedule": "constant", "warmup": 0.0}, lr, resume)

    def freeze(self) -> None:
        """Leave the encoder as it is in the fits to come.

        Raises
        ------
        ConfigError
            the network has no part of that name.
        """
        if getattr(self.model, "encoder", None) is None:
            raise ConfigError(f"{self._plan.model.architecture} has no encoder to freeze")
        self._plan = changed(self._plan, freeze_encoder=True)

    def unfreeze(self) -> None:
        """Train the encoder, too, in the fits to come."""
        self._plan = changed(self._plan, freeze_encoder=False)

    def validate(self) -> dict[str, float]:
        """Score the current weights on the validation part, at the images' original size.

        Returns
        -------
        ``mean_iou``, ``iou_<class>`` ... and ``val_loss``; of objects ``mask_ap``, ``box_ap`` ...;
        NaN where a class does not occur.
        """
        found = self._validate(self.sources.validation)
        return {"val_loss": found.loss, **found.metrics}

    def show_batch(self, n: int = 6) -> Picture:
        """Training crops as the network sees them, each beside its labels; a PIL image."""
        return batch_picture(self._task(), n)

    def show_results(self, n: int = 4) -> Picture:
        """Validation images with their truth and the current prediction; a PIL image."""
        chosen = some_of(self.sources.validation, n)
        title = f"{self.recipe.name}: some of the validation images"
        return results_picture(title, self._validate(chosen, shown=n), self._task())

    def predict(self, image: ImageSource) -> Result:
        """Segment an image with the current weights, as ``vitrail.load`` would.

        Raises
        ------
        SourceError, ImageError
            the image cannot be found or read.
        """
        if self._segmenter is None:
            card, config = self._card(), self.recipe.train
            device = pick_device(config.device)
            engine = engine_for(
                copy.deepcopy(self.model),  # it is folded in place
                card,
                device=device,
                precision=pick_precision(config.precision, device),
            )
            self._segmenter = Segmenter(card.name, engine, card)
        return self._segmenter(image)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the current weights with their card, for ``vitrail.load``.

        Raises
        ------
        ParameterError
            the name does not end in .safetensors.
        OutputError
            the file cannot be written.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise ParameterError(f"{path}: expected a name that ends in .safetensors")
        write_checkpoint(path, self.model, self._card(), dtype=torch.float16)
        return path

    def save_recipe(self, path: str | os.PathLike[str]) -> Path:
        """Write :attr:`recipe` for ``vitrail train``, which then does what this learner did last.

        What a fit began from, where that was no fresh network and no checkpoint, lies in its
        folder; before the first fit it is written beside the recipe.

        Raises
        ------
        ConfigError
            the data were given as objects, or the network as one whose class is not registered.
        OutputError
            the file cannot be written.
        """
        path, recipe = Path(path), self.recipe
        if not self._nameable():
            raise ConfigError(
                "no recipe can name these data and this network: give the data by their path, and "
                f"a network of a registered architecture ({', '.join(ARCHITECTURES)})"
            )
        if self._last is None and self._origin is None:
            start = path.with_name(f"{path.stem}-{START}")
            write_checkpoint(start, self.model, self._card())
            recipe = starting_from(recipe, start)
        text = recipe_text(recipe).encode()
        make_folder(path.parent)
        return write_atomically(path, lambda file: file.write(text))

    def _fit(self, changes: Mapping[str, object], lr: float | None, resume: bool) -> Outcome:
        folder, resuming = place(self._out, self._plan.name, resume=resume)
        config = self._plan.train
        rate = lr if lr is not None else (self.suggested_lr or config.lr)
        # What the preflight looks at is the same for every fit.
        once = config.preflight and not self.outcomes
        recipe = changed(self._plan, **changes, lr=rate, preflight=once)
        start = folder / START
        if start.exists() if resuming else self._origin is None:
            recipe = starting_from(recipe, start)
        given = self._callbacks
        watching = default_callbacks(recipe, quiet=self._quiet) if given is None else list(given)
        command = ""
        if self._nameable():
            watching.insert(0, RecipeFile())
            command = training_command(Path(RECIPE))
        if recipe.model.start == start and not resuming:
            watching.insert(0, StartFile(self.model, self._card()))
        with serial_opencv(), kept_memory():
            training = self._training(recipe, folder, resume=resuming)
            outcome = run_fit(training, watching, command, self._say, self._take)
        self._take(training)
        self._last, self._epoch = recipe, outcome.history[-1]
        if self.outcomes and self.outcomes[-1].checkpoint == outcome.checkpoint:
            self.outcomes.pop()  # resumed after its end
        self.outcomes.append(outcome)
        return outcome

    def _nameable(self) -> bool:
        """Whether a recipe can name the data and the network."""
        return not self._told and self._plan.model.architecture in ARCHITECTURES

    def _training(
        self, recipe: Recipe, folder: Path, *, resume: bool = False, dry: bool = False
    ) -> Training:
        # Of a copy: a fit that fails leaves the learner as it was.
        network = copy.deepcopy(self.model)
        return Training(recipe, folder, self.sources, network, resume=resume, dry=dry)

    def _take(self, training: Training) -> None:
        """Take over the weights of a training, averaged where they are."""
        if not training.progress.steps:
            return
        network = training.stepper.averaged or training.stepper.network
        self.model.load_state_dict(network.state_dict())
        self._origin, self._epoch, self._segmenter = None, None, None

    def _validate(self, source: SampleSource, shown: int = 0) -> Validation:
        config = self._plan.train
        device = pick_device(config.device)
        self.model.to(device, memory_format=torch.channels_last)  # pyright: ignore
        with serial_opencv():
            return self._task().validate(
                self.model,
                source,
                pick_precision(config.precision, device),
                Loading(config.workers, shown),
            )

    def _task(self, recipe: Recipe | None = None) -> Task[Any, Any]:
        return make_task(recipe or self._plan, self.sources, self.model)[0]

    def _card(self) -> Card:
        """Of the current weights."""
        command = training_command(Path(RECIPE)) if self._last is not None else ""
        return make_card(self._task(self.recipe), self._epoch, command)

"""The training loop: explicit, one screen per step of the way, over accelerate.

What a step draws is a function of the recipe's seed, the step's number and the process's rank, and
what an image of an epoch becomes of seed, epoch and position. So nothing of chance has to be kept,
and a training that goes on from ``state.safetensors`` ends with the very weights it would have had.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vitrail.atomic import make_folder
from vitrail.data.sampler import ResumableSampler
from vitrail.errors import ConfigError, VitrailError
from vitrail.training.allocator import kept_memory
from vitrail.training.config import Recipe
from vitrail.training.data import Sources, crop_sizes, make_loader, open_sources
from vitrail.training.lr_finder import RateCurve, find_learning_rate
from vitrail.training.memory import largest_batch, memory_plan
from vitrail.training.optim import make_optimizer
from vitrail.training.preflight import Preflight, preflight
from vitrail.training.processes import any_process
from vitrail.training.records import Callback, Epoch, Outcome, Run, Step
from vitrail.training.setup import Network, make_card, make_task, serial_opencv
from vitrail.training.state import Progress, load_state, save_state
from vitrail.training.step import Stepper
from vitrail.training.stopping import StopRequest, best_epoch, out_of_patience
from vitrail.training.task import Loading, check_monitor
from vitrail.weights.files import write_checkpoint

STATE = "state.safetensors"
"""In the output folder: what ``resume`` goes on from."""

_TRIED = 8
"""Images that the preflight trains on, at most."""


@serial_opencv()
@kept_memory()
def train(
    recipe: Recipe,
    output: Path,
    *,
    callbacks: Sequence[Callback] = (),
    command: str = "",
    overwrite: bool = False,
    resume: bool = False,
    sources: Sources | None = None,
    model: Network | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> Outcome:
    """Run a recipe; leave the best checkpoint (by ``train.monitor``), the last one, and the state.

    Parameters
    ----------
    recipe:
        What to train, as read by :func:`vitrail.training.config.read_recipe`.
    output:
        Folder for the results; made if missing.
    callbacks:
        What watches; see :class:`~vitrail.training.records.Callback`.
    command:
        What the card names as the way to repeat this.
    overwrite:
        Whether the results of an earlier run in ``output`` may be replaced.
    resume:
        Go on from the state in ``output``; where there is none, begin.
    sources, model:
        Instead of those that the recipe names.
    say:
        Told what of the starting weights was left out, and once what was found before the first
        step.

    Raises
    ------
    ConfigError, DataError
        before the first step, when recipe, data and model do not fit together.
    TrainingStopped
        after an interruption (Ctrl-C, SIGTERM), the state written. A ``KeyboardInterrupt``.
    VitrailError
        the loss is no number any more, or the memory does not suffice; says what to change.
    """
    with ExitStack() as closing:
        training = Training(recipe, output, sources, model, resume=resume, overwrite=overwrite)
        watching = list(callbacks) if training.stepper.accelerator.is_main_process else []
        for callback in watching:
            closing.callback(callback.close)
        return training.run(watching, command, say)


class Training:
    """One run of a recipe: everything that lives from its first step to its last."""

    def __init__(
        self,
        recipe: Recipe,
        output: Path,
        sources: Sources | None = None,
        model: Network | None = None,
        *,
        resume: bool = False,
        overwrite: bool = False,
        dry: bool = False,
    ) -> None:
        """As :func:`train`; ``dry``: nothing will be written, so nothing can be replaced."""
        config, self.output = recipe.train, output
        self.best_path = output / f"{recipe.name}.safetensors"
        resume = resume and (output / STATE).exists()
        for path in (self.best_path, output / STATE):
            if path.exists() and not (overwrite or resume or dry):
                raise ConfigError(
                    f"{path} exists already: a training would replace it; go on with --resume, "
                    "name another folder with --out, or say --overwrite"
                )
        self.progress = Progress(parts=config.accumulate)
        set_seed(config.seed)
        if config.deterministic:
            torch.use_deterministic_algorithms(True)
        opened = sources or open_sources(recipe.data)
        self.notes: list[str] = []
        """What of the starting weights was left out."""
        self.task, network = make_task(recipe, opened, model, self.notes.append)
        check_monitor(self.task)
        self.recipe, self.config = self.task.recipe, self.task.recipe.train
        self.sources, self.space = self.task.sources, self.task.space
        saved = load_state(output / STATE, self.recipe) if resume else None
        self.stepper = Stepper(self.task, network)
        self.rank, self.processes = self.stepper.rank, self.stepper.processes
        if saved is not None:
            self.progress = saved.progress
            saved.fill(self.stepper.network, self.stepper.averaged, self.stepper.optimizer)
            scaler = self.stepper.accelerator.scaler
            if scaler is not None and saved.scaler:
                scaler.load_state_dict(dict(saved.scaler))
        self.sets = {size: self.task.training_set(size) for size in set(crop_sizes(config))}
        self.batch_size = self.progress.batch_size or self._choose_batch_size()
        self.progress.batch_size = self.batch_size
        self.loaders = {size: self._loader(size) for size in self.sets}
        self.steps = sum(self.loaders[size][1].steps for size in crop_sizes(config))

    def run(
        self,
        callbacks: Sequence[Callback] = (),
        command: str = "",
        say: Callable[[str], object] = lambda text: None,
    ) -> Outcome:
        """Train what is left to train; see :func:`train`."""
        config, progress = self.config, self.progress
        refusal: VitrailError | None = None
        if self.stepper.accelerator.is_main_process:
            try:
                self._prepare(say)
            except VitrailError as error:
                refusal = error
        if any_process(refusal is not None, self.stepper.accelerator.device):  # nobody waits on
            raise refusal or VitrailError("not trained; the first process says why")
        run = self._describe(command)
        monitor = run.monitor
        for callback in callbacks:
            callback.on_start(run)
        sizes = crop_sizes(config)
        reason = "all epochs done"
        try:
            with StopRequest() as request:
                while progress.epoch <= config.epochs:
                    if config.patience and out_of_patience(progress.history, config):
                        reason = f"no better {monitor} in {config.patience} epochs"
                        break
                    self._epoch(sizes[progress.epoch - 1], callbacks, request)
                    self._score(sizes[progress.epoch - 1], callbacks, command)
        finally:
            self.stepper.frozen.end()
        best = best_epoch(progress.history, monitor)
        scoring = self.task.scoring
        outcome = Outcome(self.best_path, best, tuple(progress.history), reason, monitor, scoring)
        for callback in callbacks:
            callback.on_end(outcome)
        return outcome

    def _prepare(self, say: Callable[[str], object]) -> None:
        """What the first process does for all: look at data and network, make the folder."""
        begins = not self.progress.steps
        for note in self.notes if begins else ():
            say(note)
        if self.config.preflight and begins:
            found = self.preflight()
            say(found.text)
            found.refuse()
        self.stepper.alone = self.stepper.network  # a copy is not needed any more
        make_folder(self.output)
        if begins:  # nobody shall go on from the run that this one replaces
            (self.output / STATE).unlink(missing_ok=True)

    def _epoch(self, size: int, callbacks: Sequence[Callback], request: StopRequest) -> None:
        """The steps of one epoch, from where the training stands."""
        progress = self.progress
        loader, sampler = self.loaders[size]
        if progress.step == sampler.steps:  # stopped before the epoch was scored
            return
        if progress.sampler:
            sampler.load_state_dict(progress.sampler)
        sampler.set_epoch(progress.epoch - 1)
        self.stepper.begin_epoch(progress.epoch)
        earlier, start = progress.seconds, time.perf_counter()
        saved = start
        for batch in loader:
            terms, norm = self.stepper.step(batch, progress, self.steps, self.output)
            loss = sum(terms.values())
            images = self.task.images(batch) * self.processes
            progress.steps += 1
            progress.step += 1
            progress.images += images
            for name, value in {**terms, "loss": loss}.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + value * images
            progress.seconds = earlier + time.perf_counter() - start
            step = Step(
                progress.epoch,
                progress.step,
                sampler.steps,
                progress.steps,
                loss,
                terms,
                self.stepper.optimizer.param_groups[-1]["lr"],
                norm,
                progress.images / max(progress.seconds, 1e-9),
            )
            for callback in callbacks:
                callback.on_step(step)
            stop = any_process(request.made, self.stepper.accelerator.device)
            if stop or time.perf_counter() - saved > 60 * self.config.checkpoint_minutes:
                progress.sampler = sampler.state_dict(progress.step)
                self._save_state()
                saved = time.perf_counter()
            if stop:
                self.stepper.accelerator.wait_for_everyone()  # until the state is on disk
                request.stop(progress, self.output)
        progress.sampler = sampler.state_dict(sampler.steps)

    def _score(self, size: int, callbacks: Sequence[Callback], command: str) -> None:
        """Validate the averaged weights, write checkpoints and state, begin the next epoch."""
        progress, config = self.progress, self.config
        start = time.perf_counter()
        network = self.stepper.averaged or self.stepper.network
        validation = self.task.validate(
            network,
            self.sources.validation,
            self.stepper.precision,
            Loading(config.workers, config.shown, self.rank, self.processes),
        )
        means = {name: value / progress.images for name, value in progress.sums.items()}
        epoch = Epoch(
            progress.epoch,
            size,
            self.stepper.optimizer.param_groups[-1]["lr"],
            means.pop("loss"),
            means,
            validation.loss,
            validation.metrics,
            progress.images / max(progress.seconds, 1e-9),
            progress.seconds + time.perf_counter() - start,
        )
        progress.history.append(epoch)
        if self.stepper.accelerator.is_main_process:
            best = best_epoch(progress.history, str(config.monitor)) is epoch
            card = make_card(self.task, epoch, command, best=best)
            for path in [self.output / "last.safetensors", *([self.best_path] if best else [])]:
                write_checkpoint(path, network, card, dtype=torch.float16)
        progress.epoch += 1
        progress.step, progress.images, progress.seconds = 0, 0, 0.0
        progress.sums = {}
        for callback in callbacks:
            callback.on_epoch(epoch, validation)
        self._save_state()

    def _save_state(self) -> None:
        if self.stepper.accelerator.is_main_process:
            scaler = self.stepper.accelerator.scaler
            save_state(
                self.output / STATE,
                self.recipe,
                self.progress,
                self.stepper.network,
                self.stepper.averaged,
                self.stepper.optimizer,
                None if scaler is None else scaler.state_dict(),
            )

    def _loader(self, size: int) -> tuple[DataLoader[Any], ResumableSampler]:
        return make_loader(
            self.sets[size],
            self.batch_size,
            self.config,
            rank=self.rank,
            of=self.processes,
            collate=self.task.collate,
        )

    def _choose_batch_size(self) -> int:
        """The recipe's, or for ``auto`` the most that fits into memory at the largest crop."""
        config = self.config
        if config.batch_size != "auto":
            if config.batch_size % self.processes:
                raise ConfigError(
                    f"train.batch_size={config.batch_size}: expected a multiple of the "
                    f"{self.processes} processes"
                )
            return config.batch_size
        plan = memory_plan(
            self.stepper.network,
            max(self.sets),
            1,
            optimizer=config.optimizer,
            precision=self.stepper.precision,
            ema=self.stepper.averaged is not None,
            processes=self.processes,
            forward=self.task.forward,
        )
        return self.processes * largest_batch(plan, len(self.sources.training) // self.processes)

    def preflight(self) -> Preflight:
        """Look at data, classes, loss and memory; changes nothing."""
        config = self.config
        size = max(self.sets)
        in_part = -(-self.batch_size // (self.processes * self.progress.parts))
        return preflight(
            {"train": self.sources.training, "val": self.sources.validation},
            self.stepper.alone,
            self._prepared(self._first_images(size, min(in_part, _TRIED))),
            self.task,
            root=self.recipe.data.root,
            batch_size=in_part,
            optimizer=config.optimizer,
            precision=self.stepper.precision,
            ema=self.stepper.averaged is not None,
            processes=self.processes,
            seed=config.seed,
        )

    def find_rate(
        self, steps: int = 100, say: Callable[[int, int], None] | None = None
    ) -> RateCurve:
        """The loss over a rising learning rate, on a copy of the network."""
        config = self.config
        size = crop_sizes(config)[0]

        def loss(network: nn.Module, batch: Any) -> Tensor:
            terms = self.task.terms(network, *self._prepared(batch), self.stepper.precision)
            return torch.stack(list(terms.values())).sum()

        torch.manual_seed(config.seed)
        return find_learning_rate(
            self.stepper.network,
            self.loaders[size][0],
            loss,
            lambda network: make_optimizer(network, config),
            steps=steps,
            on_step=say or (lambda done, total: None),
        )

    def _first_images(self, size: int, count: int) -> Any:
        return self.task.collate(
            [self.sets[size][0, i] for i in range(min(count, len(self.sets[size])))]
        )

    def _prepared(self, batch: Any) -> tuple[Tensor, Any]:
        return self.task.prepared(batch, self.stepper.accelerator.device)

    def _describe(self, command: str) -> Run:
        return Run(
            self.recipe,
            self.output,
            command,
            self.space.classes,
            self.task.colours,
            self.steps,
            (len(self.sources.training), len(self.sources.validation)),
            sum(p.numel() for p in self.stepper.network.parameters()),
            str(self.stepper.accelerator.device),
            self.stepper.precision,
            self.processes,
            self.task.scoring,
            tuple(self.progress.history),
        )

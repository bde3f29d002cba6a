"""One step: forward, backward, clip, optimizer, average; and what can go wrong in it."""

from __future__ import annotations

import json
import math
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from safetensors.torch import save
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor

from vitrail.atomic import write_atomically
from vitrail.data.sample import LabelSpace
from vitrail.data.transforms import Example
from vitrail.errors import VitrailError
from vitrail.losses import SemanticTargets
from vitrail.losses.processes import across_processes
from vitrail.models.base import SemanticModel
from vitrail.nn.sync_norm import synchronise_norms
from vitrail.predict.device import pick_device, pick_precision
from vitrail.predict.preprocess import normalise
from vitrail.training.config import Recipe, TrainConfig
from vitrail.training.memory_errors import explain_out_of_memory
from vitrail.training.optim import FrozenEncoder, make_optimizer, rate_share, set_rates
from vitrail.training.state import Progress

_MIXED = {"bfloat16": "bf16", "float16": "fp16", "float32": "no"}


class Stepper:
    """A network with all that makes it learn, on its device, in as many processes as there are.

    Attributes
    ----------
    network:
        The network itself.
    model:
        The same as it is called in training: in mixed precision, its gradients shared between
        processes.
    optimizer:
        As accelerate wraps it.
    """

    def __init__(self, recipe: Recipe, space: LabelSpace, network: SemanticModel) -> None:
        config = recipe.train
        self.recipe, self.config, self.space = recipe, config, space
        device = pick_device(config.device)
        self.precision = pick_precision(config.precision, device)
        self.frozen = FrozenEncoder(network, config)
        self.accelerator = _accelerator(
            device, self.precision, varying=self.frozen.varies(config.epochs)
        )
        self.rank: int = self.accelerator.process_index
        self.processes: int = self.accelerator.num_processes
        torch.backends.cudnn.benchmark = not config.deterministic
        network = network.to(self.accelerator.device, memory_format=torch.channels_last)  # pyright: ignore
        self._ema = (
            ModelEmaV3(network, decay=config.ema_decay, use_warmup=True, warmup_power=0.8)
            if config.ema_decay
            else None
        )
        self.network = network
        if self.processes > 1:
            synchronise_norms(network)
        self.frozen.begin(1)  # what never learns needs no gradients from several processes
        with warnings.catch_warnings():
            # torch's new name for it is none that accelerate passes on.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            self.model, self.optimizer = self.accelerator.prepare(
                network, make_optimizer(network, config)
            )

    @property
    def averaged(self) -> SemanticModel | None:
        """The moving average of the weights, where one is kept."""
        network = None if self._ema is None else self._ema.module
        assert network is None or isinstance(network, SemanticModel)
        return network

    def begin_epoch(self, epoch: int) -> None:
        """Training mode, with the encoder frozen or not."""
        self.model.train()
        self.frozen.begin(epoch)

    def step(
        self, example: Example, progress: Progress, steps: int, output: Path
    ) -> tuple[dict[str, float], float]:
        """Learn from a batch.

        Parameters
        ----------
        example:
            This process's share of it.
        progress:
            How many steps were done, of ``steps`` in all; its ``parts`` are doubled where memory
            does not suffice and the batch size is automatic.
        output:
            Where a batch is saved that cannot be learnt from.

        Returns
        -------
        The terms of the loss, of all processes' images, and the norm of the gradient.

        Raises
        ------
        VitrailError
            the loss is not a number, or memory does not suffice; says what to change.
        """
        config = self.config
        set_rates(self.optimizer, rate_share(progress.steps / steps, config))
        while True:
            mixed = np.random.SeedSequence((config.seed, progress.steps, self.rank))
            torch.manual_seed(int(mixed.generate_state(1, np.uint64)[0]))
            try:
                terms = self.gradients(example, progress.parts)
                break
            except (RuntimeError, MemoryError, OSError) as error:
                self._make_room(error, example, progress)
        largest = math.inf if config.grad_clip is None else config.grad_clip
        clipped = self.accelerator.clip_grad_norm_(self.model.parameters(), largest)
        norm = math.nan if clipped is None else float(clipped)
        finite = math.isfinite(norm) or self.precision == "float16"  # its scaler skips such steps
        if not (finite and all(math.isfinite(value) for value in terms.values())):
            _not_a_number(example, terms, progress, output, config, self.precision)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self._ema is not None:
            self._ema.update(self.network, step=progress.steps + 1)
        return terms, norm

    def gradients(self, example: Example, parts: int) -> dict[str, float]:
        """Forward and backward through a batch, in that many parts; the terms of the loss."""
        sums: dict[str, Tensor] = {}
        chunks = [torch.chunk(part, parts) for part in example]
        count = len(chunks[0])
        for number in range(count):
            part = Example(*(pieces[number] for pieces in chunks))
            last = number == count - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                images, targets = self.prepared(part)
                raw = self.model(images)
                with across_processes():
                    terms = self.network.loss(raw, targets)
                # Parts may differ in size by one image; each counts by its share.
                share = len(part.image) / len(example.image)
                self.accelerator.backward(torch.stack(list(terms.values())).sum() * share)
            for name, term in terms.items():
                sums[name] = sums.get(name, torch.zeros_like(term)) + term.detach() * share
        return {name: value.item() for name, value in sums.items()}

    def prepared(self, example: Example) -> tuple[Tensor, SemanticTargets]:
        """A batch as network and loss take it, on the device."""
        device = self.accelerator.device
        images = normalise(example.image.to(device), self.recipe.preprocessing)
        targets = SemanticTargets(
            example.labels.to(device).long(),
            self.space.ignore,
            self.space.background,
            example.unlabelled.to(device),
            self.recipe.data.omission_weight,
        )
        return images.contiguous(memory_format=torch.channels_last), targets

    def _make_room(self, error: Exception, example: Example, progress: Progress) -> None:
        """After a step ran out of memory: compute in more parts, or say what to lower."""
        images = len(example.image)
        advice = explain_out_of_memory(
            error,
            batch_size=images * self.processes,
            accumulate=progress.parts,
            image_size=max(example.image.shape[-2:]),
            workers=self.config.workers,
            processes=self.processes,
        )
        if advice is None:
            raise error
        # Several processes would have to agree on it in the middle of a step.
        alone = self.processes == 1
        if self.config.batch_size != "auto" or not alone or progress.parts >= images:
            raise VitrailError(advice) from error
        self.optimizer.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        progress.parts *= 2


def _accelerator(device: torch.device, precision: str, *, varying: bool) -> Accelerator:
    if not torch.distributed.is_initialized():
        # accelerate keeps the device and precision of the first training of a process.
        AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        mixed_precision=_MIXED[precision],
        cpu=device.type == "cpu",
        step_scheduler_with_optimizer=False,
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=varying)
        ],
    )


def _not_a_number(
    example: Example,
    terms: dict[str, float],
    progress: Progress,
    output: Path,
    config: TrainConfig,
    precision: str,
) -> NoReturn:
    """Save the batch that made the loss infinite or undefined, and stop."""
    number = progress.step + 1
    path = output / f"not-a-number-{progress.epoch}-{number}.safetensors"
    facts = {"epoch": progress.epoch, "step": number, "terms": terms}
    tensors = {name: part.contiguous() for name, part in example._asdict().items()}
    data = save(tensors, {"vitrail.batch": json.dumps(facts)})
    write_atomically(path, lambda file: file.write(data))
    told = ", ".join(f"{name} {value:g}" for name, value in terms.items())
    raise VitrailError(
        f"the loss or its gradient is not a number any more (epoch {progress.epoch}, step "
        f"{number}: {told}); the batch is saved in {path}. Lower train.lr (now {config.lr:g})"
        + (", or set train.precision=float32" if precision != "float32" else "")
        + "; --resume goes on from the last state"
    )

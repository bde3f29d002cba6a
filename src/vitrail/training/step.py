"""One step: forward, backward, clip, optimizer, average; and what can go wrong in it."""

from __future__ import annotations

import copy
import json
import math
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from safetensors.torch import save
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from vitrail.atomic import write_atomically
from vitrail.errors import VitrailError
from vitrail.nn.sync_norm import synchronise_norms
from vitrail.predict.device import pick_device, pick_precision
from vitrail.training.memory_errors import explain_out_of_memory
from vitrail.training.optim import Frozen, make_optimizer, rate_share, set_rates
from vitrail.training.processes import sum_across_processes
from vitrail.training.state import Progress
from vitrail.training.task import Learning, Task

_MIXED = {"bfloat16": "bf16", "float16": "fp16", "float32": "no"}


class Stepper:
    """A network with all that makes it learn, on its device, in as many processes as there are.

    Attributes
    ----------
    network:
        The network itself.
    model:
        The same with its loss, as it is called in training: in mixed precision, its gradients
        shared between processes.
    optimizer:
        As accelerate wraps it.
    """

    def __init__(self, task: Task[Any, Any], network: nn.Module) -> None:
        config = task.recipe.train
        self.task, self.config = task, config
        device = pick_device(config.device)
        self.precision = pick_precision(config.precision, device)
        self.frozen = Frozen(network, config)
        varying = task.partial or self.frozen.varies(config.epochs)
        self.accelerator = _accelerator(device, self.precision, varying=varying)
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
        first = self.frozen.thawed(config.epochs)
        self.frozen.begin(first)
        self.alone = network
        """The network as one process can run it on its own, with the first step's weights."""
        if self.processes > 1:
            if config.preflight and self.accelerator.is_main_process:
                self.alone = copy.deepcopy(network)
            synchronise_norms(network)
        # What never learns needs no gradients from several processes, what learns later does.
        self.frozen.begin(first)  # norms may have been replaced
        with warnings.catch_warnings():
            # torch's new name for it is none that accelerate passes on.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            self.model, self.optimizer = self.accelerator.prepare(
                Learning(network, task, self.precision), make_optimizer(network, config)
            )

    @property
    def averaged(self) -> nn.Module | None:
        """The moving average of the weights, where one is kept."""
        return None if self._ema is None else self._ema.module

    def begin_epoch(self, epoch: int) -> None:
        """Training mode, with what is frozen in this epoch."""
        self.model.train()
        self.frozen.begin(epoch)

    def step(
        self, batch: Any, progress: Progress, steps: int, output: Path
    ) -> tuple[dict[str, float], float]:
        """Learn from a batch.

        Parameters
        ----------
        batch:
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
                terms = self.gradients(batch, progress.parts)
                break
            except (RuntimeError, MemoryError, OSError) as error:
                self._make_room(error, batch, progress)
        largest = math.inf if config.grad_clip is None else config.grad_clip
        clipped = self.accelerator.clip_grad_norm_(self.model.parameters(), largest)
        norm = math.nan if clipped is None else float(clipped)
        finite = math.isfinite(norm) or self.precision == "float16"  # its scaler skips such steps
        if not (finite and all(math.isfinite(value) for value in terms.values())):
            self._not_a_number(batch, terms, progress, output)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self._ema is not None:
            self._ema.update(self.network, step=progress.steps + 1)
        return terms, norm

    def gradients(self, batch: Any, parts: int) -> dict[str, float]:
        """Forward and backward through a batch, in that many parts; the terms of the loss."""
        sums: dict[str, Tensor] = {}
        pieces = self.task.split(batch, parts)
        for number, part in enumerate(pieces, 1):
            # Parts may differ in size by one image; each counts by its share.
            share = self.task.images(part) / self.task.images(batch)
            with nullcontext() if number == len(pieces) else self.accelerator.no_sync(self.model):
                terms = self.model(*self.task.prepared(part, self.accelerator.device))
                self.accelerator.backward(torch.stack(list(terms.values())).sum() * share)
            for name, term in terms.items():
                sums[name] = sums.get(name, torch.zeros_like(term)) + term.detach() * share
        if self.task.partial and self.processes > 1:
            own = torch.stack(list(sums.values()))
            mean = sum_across_processes(own, self.accelerator.device) / self.processes
            sums = dict(zip(sums, mean, strict=True))
        return {name: value.item() for name, value in sums.items()}

    def _make_room(self, error: Exception, batch: Any, progress: Progress) -> None:
        """After a step ran out of memory: compute in more parts, or say what to lower."""
        images = self.task.images(batch)
        advice = explain_out_of_memory(
            error,
            batch_size=images * self.processes,
            accumulate=progress.parts,
            image_size=self.task.side(batch),
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

    def _not_a_number(
        self, batch: Any, terms: dict[str, float], progress: Progress, output: Path
    ) -> NoReturn:
        """Save the batch that made the loss infinite or undefined, and stop."""
        number = progress.step + 1
        path = output / f"not-a-number-{progress.epoch}-{number}.safetensors"
        facts = {"epoch": progress.epoch, "step": number, "terms": terms}
        data = save(self.task.tensors(batch), {"vitrail.batch": json.dumps(facts)})
        write_atomically(path, lambda file: file.write(data))
        told = ", ".join(f"{name} {value:g}" for name, value in terms.items())
        raise VitrailError(
            f"the loss or its gradient is not a number any more (epoch {progress.epoch}, step "
            f"{number}: {told}); the batch is saved in {path}. Lower train.lr (now "
            f"{self.config.lr:g})"
            + (", or set train.precision=float32" if self.precision != "float32" else "")
            + "; --resume goes on from the last state"
        )


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

"""The training loop: explicit, one screen per step of the way, over accelerate."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from vitrail.atomic import make_folder, write_atomically
from vitrail.data.sample import LabelSpace, SampleSource
from vitrail.data.transforms import Example
from vitrail.errors import ConfigError, VitrailError
from vitrail.losses import SemanticTargets
from vitrail.metrics import ConfusionMatrix
from vitrail.models.base import SemanticModel
from vitrail.models.registry import build
from vitrail.predict.device import pick_device, pick_precision
from vitrail.predict.preprocess import normalise, to_batch
from vitrail.train.config import Recipe
from vitrail.train.setup import (
    crop_sizes,
    make_loader,
    open_split,
    parameter_groups,
    serial_opencv,
    start_weights,
)
from vitrail.weights.card import Card, Preprocessing, Score
from vitrail.weights.files import write_checkpoint


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to."""

    number: int
    """From 1."""
    image_size: int
    loss: float
    """Mean training loss, of the raw (not the averaged) weights."""
    mean_iou: float
    """Of the averaged weights on the validation split, at original image size."""
    class_iou: tuple[float, ...]
    images_per_second: float
    """Training throughput, loading included."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a training's results lie."""

    checkpoint: Path
    best: Epoch
    history: tuple[Epoch, ...]


OnStep = Callable[[int, int, int, float], None]
"""Called after each step with epoch, step, steps in the epoch, and loss."""
OnEpoch = Callable[[Epoch], None]


@serial_opencv()
def train(
    recipe: Recipe,
    output: Path,
    *,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
    command: str = "",
    overwrite: bool = False,
) -> Outcome:
    """Run a recipe; leave the best checkpoint (by mean IoU), the last one, and ``history.csv``.

    Parameters
    ----------
    recipe:
        What to train, as read by :func:`vitrail.train.config.read_recipe`.
    output:
        Folder for the results; made if missing.
    on_step, on_epoch:
        For progress displays.
    command:
        What the card names as the way to repeat this.
    overwrite:
        Whether the results of an earlier run in ``output`` may be replaced.

    Raises
    ------
    ConfigError, DataError
        before the first step, when recipe, data and model do not fit together.
    """
    config = recipe.train
    best = output / f"{recipe.name}.safetensors"
    if best.exists() and not overwrite:
        raise ConfigError(
            f"{best} exists already: a training would replace it; name another folder with --out, "
            "or say --overwrite"
        )
    set_seed(config.seed)
    space = LabelSpace(recipe.data.classes, recipe.data.background, recipe.data.ignore)
    training, validation = (
        open_split(recipe, recipe.data.train, space),
        open_split(recipe, recipe.data.val, space),
    )
    model = build(
        recipe.model.architecture, {**recipe.model.arguments, "classes": len(space.classes)}
    )
    start_weights(model, recipe)
    device = pick_device(config.device)
    precision = pick_precision(config.precision, device)
    accelerator = Accelerator(
        mixed_precision=_MIXED[precision],
        cpu=device.type == "cpu",
        step_scheduler_with_optimizer=False,
    )
    model = model.to(accelerator.device, memory_format=torch.channels_last)  # pyright: ignore
    averaged = ModelEmaV3(model, decay=config.ema_decay, use_warmup=True, warmup_power=0.8)
    optimizer = torch.optim.AdamW(parameter_groups(model, config))
    sizes = crop_sizes(config)
    loaders = {size: make_loader(recipe, training, size) for size in set(sizes)}
    steps_total = sum(len(loaders[size]) for size in sizes)
    if not steps_total:
        raise ConfigError(
            f"train.batch_size={config.batch_size}: larger than the training set ({len(training)})"
        )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: one_cycle(step / steps_total, config.warmup)
    )
    model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)
    loaders = {size: accelerator.prepare(loader) for size, loader in loaders.items()}

    make_folder(output)
    history: list[Epoch] = []
    steps_done = 0
    for number, size in enumerate(sizes, start=1):
        start = time.perf_counter()
        loss, images = 0.0, 0
        model.train()
        for step, example in enumerate(loaders[size], start=1):
            terms = _losses(accelerator, model, example, recipe)
            total = torch.stack(list(terms.values())).sum()
            accelerator.backward(total)
            accelerator.clip_grad_norm_(model.parameters(), config.grad_clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            steps_done += 1
            averaged.update(accelerator.unwrap_model(model), step=steps_done)
            loss += total.item() * len(example.image)
            images += len(example.image)
            if not math.isfinite(loss):
                raise VitrailError(
                    f"the loss became {total.item()} in epoch {number}, step {step}; "
                    f"lower train.lr (now {config.lr})"
                )
            if on_step:
                on_step(number, step, len(loaders[size]), total.item())
        speed = images / (time.perf_counter() - start)
        network = averaged.module
        assert isinstance(network, SemanticModel)
        matrix = evaluate(network, validation, recipe.preprocessing, precision=precision)
        epoch = Epoch(
            number,
            size,
            loss / images,
            matrix.mean_iou(),
            tuple(matrix.iou().tolist()),
            speed,
            time.perf_counter() - start,
        )
        history.append(epoch)
        if accelerator.is_main_process:
            card = make_card(recipe, epoch, command)
            write_checkpoint(output / "last.safetensors", network, card, dtype=torch.float16)
            if epoch.mean_iou >= max(past.mean_iou for past in history):
                write_checkpoint(best, network, card, dtype=torch.float16)
            _write_history(output / "history.csv", history, space.classes)
        if on_epoch:
            on_epoch(epoch)
    return Outcome(best, max(history, key=lambda epoch: epoch.mean_iou), tuple(history))


_MIXED = {"bfloat16": "bf16", "float16": "fp16", "float32": "no"}


def one_cycle(progress: float, warmup: float) -> float:
    """Share of the peak rate at ``progress`` in 0..1: linear rise, then half a cosine to zero.

    Smith and Topin, "Super-Convergence", arXiv:1708.07120, without the momentum cycle.
    """
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


@torch.inference_mode()
def evaluate(
    model: SemanticModel, source: SampleSource, preprocessing: Preprocessing, *, precision: str
) -> ConfusionMatrix:
    """Confusion over a whole set, through the prediction path, at each image's original size."""
    space = source.space
    matrix = ConfusionMatrix(len(space.classes), ignore=space.ignore)
    device = next(model.parameters()).device
    model.eval()
    for index in range(len(source)):
        sample = source[index]
        batch, frames = to_batch([sample.image], preprocessing, stride=model.stride)
        with torch.autocast(
            device.type, _DTYPES[precision], enabled=precision != "float32", cache_enabled=True
        ):
            raw = model(batch.to(device))
        matrix.update(sample.semantic(space), model.decode(raw, frames)[0])
    return matrix


_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def make_card(recipe: Recipe, epoch: Epoch, command: str) -> Card:
    """The card of a checkpoint from this recipe, with the score that the epoch reached."""
    classes = recipe.data.classes
    score = Score(
        dataset=recipe.data.root.name,
        split="val",
        protocol="IoU pooled over all pixels, at original image size, ignored pixels left out, "
        f"no test-time augmentation; epoch {epoch.number}, the best on this split",
        values={
            "mean_iou": round(epoch.mean_iou, 4),
            **{
                f"iou_{name}": round(iou, 4)
                for name, iou in zip(classes, epoch.class_iou, strict=True)
                if math.isfinite(iou)
            },
        },
        command=command,
    )
    return Card(
        name=recipe.name,
        summary=recipe.summary,
        architecture=recipe.model.architecture,
        arguments={**recipe.model.arguments, "classes": len(classes)},
        classes=classes,
        background=recipe.data.background,
        preprocessing=recipe.preprocessing,
        training_data=recipe.training_data,
        training_command=command,
        licences=recipe.licences,
        scores=(score,),
        limits=recipe.limits,
    )


def _losses(
    accelerator: Accelerator, model: nn.Module, example: Example, recipe: Recipe
) -> dict[str, Tensor]:
    """One forward pass, to the named terms of the loss."""
    network = accelerator.unwrap_model(model)
    images = normalise(example.image, recipe.preprocessing)
    raw = model(images.contiguous(memory_format=torch.channels_last))
    targets = SemanticTargets(
        example.labels.long(),
        recipe.data.ignore,
        recipe.data.background,
        example.unlabelled,
        recipe.data.omission_weight,
    )
    return network.loss(raw, targets)


def _write_history(path: Path, history: list[Epoch], classes: tuple[str, ...]) -> None:
    """Rewrite the CSV whole."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    fields = ["number", "image_size", "loss", "mean_iou", "images_per_second", "seconds"]
    writer.writerow([*fields, *(f"iou_{name}" for name in classes)])
    for epoch in history:
        writer.writerow([*(getattr(epoch, name) for name in fields), *epoch.class_iou])
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))

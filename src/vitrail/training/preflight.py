"""Before the first step: is the data sound, is the loss right for it, does it fit, can it learn?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitrail.data.check import check_dataset
from vitrail.data.checks.finding import Findings
from vitrail.data.formats.base import Dataset
from vitrail.data.sample import SampleSource
from vitrail.data.split import Subset
from vitrail.errors import DataError
from vitrail.training.balance import ClassBalance, ObjectCounts, drawn_indices
from vitrail.training.memory import SHARE, MemoryPlan, memory_plan, told_bytes
from vitrail.training.one_batch import OneBatch, fit_one_batch, named
from vitrail.training.task import Task

_OF_WHOLE_SETS = ("unused-class", "class-missing-from-split", "class-imbalance")
"""Findings that say nothing where only some samples were looked at."""
_SHOWN = 10
"""Findings of each severity in the text; it counts the others."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found before a training."""

    errors: tuple[str, ...]
    """What would make the training fail, or learn something false."""
    warnings: tuple[str, ...]
    """What is suspicious."""
    remarks: tuple[str, ...]
    counts: ClassBalance | ObjectCounts
    memory: MemoryPlan
    one_batch: OneBatch
    text: str = field(repr=False)
    """All of it for the console."""

    def refuse(self) -> None:
        """:class:`DataError` with the first error, where there is one, and how many more."""
        for first in self.errors[:1]:
            others = f" ({len(self.errors) - 1} more errors)" if len(self.errors) > 1 else ""
            raise DataError(
                f"{first}{others}; `vitrail data check` lists all faults of a data set, "
                "train.preflight=false trains in spite of them"
            )


def preflight(
    sources: Mapping[str, SampleSource],
    model: nn.Module,
    batch: tuple[Tensor, Any],
    task: Task[Any, Any],
    *,
    root: Path,
    batch_size: int | None = None,
    optimizer: str = "adamw",
    precision: str = "float32",
    ema: bool = True,
    processes: int = 1,
    limit: int = 200,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Preflight:
    """Check data, classes, memory and learning. Nothing that is given is changed.

    Parameters
    ----------
    sources:
        By split name; "train" is the one that is trained on.
    model:
        On the device of the training.
    batch:
        Images ``(B, C, H, W)`` as the network takes them, at the size of the training crop, and
        their truth, on the network's device. A few images suffice.
    task:
        What the loss is, and what the truth of the training part is looked at for.
    root:
        Folder of the data set, for messages.
    batch_size:
        Images computed at once in each process; default: those of ``batch``.
    optimizer, precision, ema, processes:
        As :func:`~vitrail.training.memory.memory_plan`.
    limit:
        Samples of each split that are looked at; with more, some are drawn by ``seed``.
    progress:
        Told (stage, done, total).
    """
    images, targets = batch
    findings, remarks = _check(sources, root, limit, seed, progress)
    errors = _sentences(findings, "error")
    warnings = _sentences(findings, "warning")
    try:
        survey = task.survey(sources["train"], limit, seed)
    except DataError as error:  # the check has said it better, with what to do
        raise DataError(errors[0] if errors else str(error)) from None
    errors += survey.errors
    warnings += survey.warnings
    empty = task.nothing_to_learn(targets)
    if empty is not None:
        fit = OneBatch((), empty, ())
    else:
        fit = fit_one_batch(model, images, targets, task.terms, precision=precision)
    if fit.problem is not None:
        errors.append(fit.text)
    if fit.without_gradient:
        warnings.append(f"no gradient reaches {named(fit.without_gradient)}")
    plan = memory_plan(
        model,
        max(images.shape[-2:]),
        batch_size or len(images),
        channels=images.shape[1],
        optimizer=optimizer,
        precision=precision,
        ema=ema,
        processes=processes,
        forward=task.forward,
    )
    if plan.fits is False:
        warnings.append(
            f"memory may run out: {plan.batch_size} images of {plan.image_size} px take "
            f"{told_bytes(plan.total)}, more than {SHARE:.0%} of the {told_bytes(plan.free or 0)} "
            "that are free; raise train.accumulate, lower train.batch_size (or set it to auto), or "
            "lower train.image_size"
        )
    parts = [
        *(f"error: {sentence}" for sentence in errors),
        *(f"warning: {sentence}" for sentence in warnings),
        *remarks,
        *survey.told,
        plan.text,
        *([fit.text] if fit.problem is None else []),
    ]
    return Preflight(
        tuple(errors),
        tuple(warnings),
        tuple(remarks),
        survey.counts,
        plan,
        fit,
        "\n".join(parts),
    )


def _check(
    sources: Mapping[str, SampleSource],
    root: Path,
    limit: int,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> tuple[Findings, list[str]]:
    """The data check on (some of) the samples, and remarks on what was left out."""
    some = {
        name: Subset(source, drawn_indices(len(source), limit, seed))
        for name, source in sources.items()
    }
    left_out = {name: len(sources[name]) - len(part) for name, part in some.items()}
    remarks = [
        f"{name}: {len(some[name]):,} of {len(sources[name]):,} samples were looked at; "
        "`vitrail data check` looks at all"
        for name, count in left_out.items()
        if count
    ]
    # One more split, never opened: files that no sample uses are of no interest here.
    openers = {name: (lambda part=part: part) for name, part in some.items()}
    dataset = Dataset(root, "", "", {**openers, "": lambda: Subset(next(iter(some.values())), [])})
    report = check_dataset(dataset, splits=list(some), progress=progress)
    if not remarks:
        return report.findings, remarks
    kept = Findings()
    kept.extend(f for f in report.findings if f.problem.code not in _OF_WHOLE_SETS)
    return kept, remarks


def _sentences(findings: Findings, severity: str) -> list[str]:
    """One for each kind of finding: the first of them, and how many more."""
    told: list[str] = []
    for code, found in findings.kinds():
        if found != severity:
            continue
        first = findings.of(code, found)[0].problem
        count = findings.counts[code, found]
        split = f"{first.split}: " if first.split else ""
        told.append(f"{split}{first}" + (f" [{code}, {count - 1:,} more]" if count > 1 else ""))
    if len(told) > _SHOWN:
        told[_SHOWN:] = [f"{len(told) - _SHOWN} more kinds of {severity}s"]
    return told

"""What to do about a set: options to declare, and weights for the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrail.data.checks.classes import Totals, added
from vitrail.data.checks.codes import CODES
from vitrail.data.checks.finding import Findings

_SHOWN = 12
"""Weights in the one line of text."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do."""

    about: str
    """``ignore``, ``background``, ``class-weights``, or the code of a finding."""
    text: str
    value: Any = None
    """For programs: the id, or the weight of each class by name."""


def advise(totals: Totals | None, findings: Findings) -> list[Advice]:
    """What to do, the gravest first."""
    errors = [code for code, severity in findings.kinds() if severity == "error"]
    told = [
        Advice(code, f"{code} ({findings.counts[code, 'error']:,}): {_advice_of(findings, code)}")
        for code in errors
    ]
    if totals is not None:
        told += _options(totals, findings)
        told += _weights(totals)
    return told


def _advice_of(findings: Findings, code: str) -> str:
    """The advice that most findings of a code give."""
    given = [finding.problem.advice for finding in findings.of(code, "error")]
    given = [advice for advice in given if advice]
    if given:
        return max(dict.fromkeys(given), key=given.count)
    return CODES[code].advice if code in CODES else "mend what the findings name"


def _options(totals: Totals, findings: Findings) -> list[Advice]:
    """Declarations of ignore and background that the findings suggest."""
    told: list[Advice] = []
    space = totals.space
    codes = {code for code, _ in findings.kinds()}
    if {"off-by-one-ids", "binary-mask"} & codes:
        return told
    strange = totals.all.strange
    if len(strange) == 1 and space.ignore not in strange:
        (number, masks), *_ = strange.items()
        text = (
            f"id {number} is no class and in {masks:,} masks: if it marks void or border pixels, "
            f"declare ignore={number}"
        )
        told.append(Advice("ignore", text, number))
    for code, about in (("ignore-class", "ignore"), ("background-unsaid", "background")):
        for finding in findings.of(code, "note"):
            number = space.classes.index(finding.problem.id)
            text = f"declare {about}={number} ({finding.problem.id})"
            told.append(Advice(about, text, number))
    return told


def _weights(totals: Totals) -> list[Advice]:
    """Weights by median-frequency balancing, from the training split if one is called so.

    Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a Common
    Multi-Scale Convolutional Architecture" (ICCV 2015, arXiv:1411.4734), section 6.3.2: a class
    weighs median(freq) / freq(class), where freq(class) is its pixels over all pixels of the images
    in which it occurs. Of objects, their numbers are taken for freq.
    """
    names = [name for name in totals.splits if name.lower().startswith("train")]
    parts = {name: totals.splits[name] for name in names} or totals.splits
    counts = added(totals.space, parts)
    if totals.has_maps:
        frequency = counts.pixels / np.maximum(counts.image_pixels, 1)
        formula = (
            "median(freq) / freq, freq = pixels of the class / pixels of the images it is in "
            "(median-frequency balancing, Eigen and Fergus 2015, arXiv:1411.4734)"
        )
    else:
        frequency = counts.objects.astype(float)
        formula = "median(objects of a class) / objects of the class"
    present = np.flatnonzero(frequency)
    if len(present) < 2:
        return []
    weights = np.median(frequency[present]) / frequency[present]
    table = {
        totals.space.classes[k]: float(f"{weight:.4g}")
        for k, weight in zip(present.tolist(), weights.tolist(), strict=True)
    }
    shown = ", ".join(f"{name} {weight:g}" for name, weight in list(table.items())[:_SHOWN])
    if len(table) > _SHOWN:
        shown += f" ... ({len(table)} classes; --json and --report have all)"
    where = "" if parts is totals.splits and len(parts) > 1 else f" of {', '.join(parts)}"
    return [Advice("class-weights", f"class weights{where}: {shown}; {formula}", table)]

"""Which class of a model is which class of a data set: by name, or as the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vitrail.data.sample import LabelSpace
from vitrail.errors import DataError, ParameterError, nearest

IGNORE = "ignore"
BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Matching:
    """The classes that are scored, and what the ids of model and data set become.

    Scored ids run from 0 to ``len(classes) - 1``; the id behind them, :attr:`void`, stands for
    pixels without a known class, and for what is left out on purpose.
    """

    classes: tuple[str, ...]
    """Names of the scored classes."""
    background: int | None
    """The scored id of the background, if there is one."""
    truth: np.ndarray
    """(K,) scored id of each class id of the data set."""
    predicted: np.ndarray
    """(M,) scored id of each class id of the model."""
    ignore: int
    """The id of the data set's own void pixels."""
    pairs: tuple[tuple[str, str, str], ...]
    """(data class, model class, scored as) wherever the three names are not one."""

    @property
    def void(self) -> int:
        """The scored id of pixels that no class is known of."""
        return len(self.classes)

    def read_truth(self, labels: np.ndarray) -> np.ndarray:
        """(H, W) ids of the data set to scored ids, void among them.

        Raises
        ------
        DataError
            an id that is neither a class nor the data set's void.
        """
        table = np.full(max(len(self.truth), self.ignore + 1), -1, np.int32)
        table[: len(self.truth)] = self.truth
        table[self.ignore] = self.void
        return _looked_up(table, labels, f"the truth, expected 0..{len(self.truth) - 1}")

    def read_predicted(self, labels: np.ndarray, ignore: int | None = None) -> np.ndarray:
        """(H, W) ids of the model to scored ids; ``ignore``: its own "no answer", void here."""
        if ignore is None:
            return self.predicted.astype(np.int32)[labels]
        table = np.full(max(len(self.predicted), ignore + 1), -1, np.int32)
        table[: len(self.predicted)] = self.predicted
        table[ignore] = self.void
        return _looked_up(table, labels, "the prediction")


def match_classes(
    model: Sequence[str],
    background: int | None,
    space: LabelSpace,
    mapping: Mapping[str, str] | None = None,
) -> Matching:
    """Pair the classes of a model with those of a data set.

    Equal names (trimmed, in any case) are pairs, and the two backgrounds are one, whatever they
    are called. ``mapping`` says the others: ``{name: target}`` where the name is a class of the
    model, of the data set or of both, and the target a class, ``"background"`` or ``"ignore"``.

    Parameters
    ----------
    model : the model's class names
    background : the model's id of its background, if it has one
    space : the data set's classes, its background and its void

    Raises
    ------
    ParameterError
        the mapping names a class that neither side has, or a target that is none.
    DataError
        a class is left without a partner; the message names all of them.
    """
    pairing = _Pairing(model, background, space, dict(mapping or {}))
    return pairing.matching()


class _Pairing:
    def __init__(
        self,
        model: Sequence[str],
        background: int | None,
        space: LabelSpace,
        mapping: dict[str, str],
    ) -> None:
        self.model, self.data, self.space = tuple(model), space.classes, space
        self.told = {_plain(name): target.strip() for name, target in mapping.items()}
        for side, names in (("model", self.model), ("data set", self.data)):
            twice = {
                name for name in names if sum(_plain(one) == _plain(name) for one in names) > 1
            }
            if twice:
                raise DataError(
                    f"the {side} calls several classes alike: {', '.join(sorted(twice))};"
                    " names are compared without case, rename one"
                )
        # The two backgrounds are one class; it goes by the data set's name for it.
        self.ground = None if space.background is None else self.data[space.background]
        self.model_ground = None if background is None else _plain(self.model[background])
        known = {_plain(name) for name in (*self.model, *self.data)}
        for name in mapping:
            if _plain(name) not in known:
                raise ParameterError(
                    f"--map {name}={mapping[name]}: neither model nor data set has a class"
                    f" {name!r}; {nearest(_plain(name), known)}"
                )

    def matching(self) -> Matching:
        targets = [self._of_data(name) for name in self.data]
        # In the data set's order, each once; a class that others are merged into may be new.
        scored = tuple(dict.fromkeys(name for name in targets if name is not None))
        mine = [self._of_model(name, scored) for name in self.model]
        self._all_paired(scored, mine)
        number = {name: index for index, name in enumerate(scored)}
        void = len(scored)
        ids = [[number.get(name or "", void) for name in names] for names in (targets, mine)]
        return Matching(
            scored,
            number.get(self.ground) if self.ground is not None else None,
            np.array(ids[0], np.int64),
            np.array(ids[1], np.int64),
            self.space.ignore,
            self._renamed(targets, mine, scored),
        )

    def _of_data(self, name: str) -> str | None:
        """What a class of the data set is scored as; None: left out."""
        target = self.told.get(_plain(name))
        shared = any(_plain(one) == _plain(name) for one in self.model)
        if target is None or _plain(target) == _plain(name):
            return name
        if _plain(target) == IGNORE:
            return None
        if shared and not self._is_ground(target):
            return name  # said of the model's class of that name
        return self._target(name, target, (*self.data, *self.model))

    def _of_model(self, name: str, scored: Sequence[str]) -> str | None:
        """What a class of the model is scored as; None: left out; "": it has no partner."""
        target = self.told.get(_plain(name))
        if target is not None and _plain(target) != _plain(name):
            return None if _plain(target) == IGNORE else self._target(name, target, scored)
        if _plain(name) == self.model_ground and self.ground is not None:
            return self.ground
        return next((one for one in scored if _plain(one) == _plain(name)), "")

    def _is_ground(self, target: str) -> bool:
        return self.ground is not None and _plain(target) in (BACKGROUND, _plain(self.ground))

    def _target(self, name: str, target: str, known: Sequence[str]) -> str:
        if self._is_ground(target):
            assert self.ground is not None
            return self.ground
        if _plain(target) == BACKGROUND and self.ground is None:
            raise ParameterError(
                f"--map {name}={target}: the data set has no background class; say which it is with"
                " --option background=NAME (formats of masks), or map to ignore"
            )
        for one in known:
            if _plain(one) == _plain(target):
                return one
        names = [*map(_plain, known), BACKGROUND, IGNORE]
        raise ParameterError(
            f"--map {name}={target}: {target!r} is no class to score, nor background, nor ignore;"
            f" {nearest(_plain(target), names)}"
        )

    def _all_paired(self, scored: Sequence[str], mine: Sequence[str | None]) -> None:
        alone = [name for name, target in zip(self.model, mine, strict=True) if target == ""]
        missing = [name for name in scored if name not in mine]
        if not scored:
            raise ParameterError("--map leaves no class to score; keep at least one")
        if not alone and not missing:
            return
        said = [
            f"{whose} {', '.join(map(repr, names))}"
            for whose, names in (
                ("the model has, and the data set has not:", alone),
                ("the data set has, and the model has not:", missing),
            )
            if names
        ]
        example = (alone or missing)[0]
        advice = f"say what each is with --map, such as --map '{example}=ignore' (or =background)"
        if alone and missing:
            advice = f"say which are the same, such as --map '{alone[0]}={missing[0]}', or {advice}"
        unnamed = all(name == f"class {index}" for index, name in enumerate(self.data))
        if unnamed:
            advice = (
                "the data set does not name its classes: if its ids are the model's, say --option"
                f" 'classes={','.join(self.model)}'"
            )
            if self.model_ground is not None:
                advice += f" --option background={self.model_ground}"
        raise DataError(f"classes without a partner: {'; '.join(said)}; {advice}")

    def _renamed(
        self, targets: Sequence[str | None], mine: Sequence[str | None], scored: Sequence[str]
    ) -> tuple[tuple[str, str, str], ...]:
        rows: list[tuple[str, str, str]] = []
        for name in (*scored, None):
            theirs = [d for d, target in zip(self.data, targets, strict=True) if target == name]
            ours = [m for m, target in zip(self.model, mine, strict=True) if target == name]
            names = {_plain(one) for one in (*theirs, *ours, name or "")}
            if (theirs or ours) and len(names) > 1:
                rows.append((" + ".join(theirs), " + ".join(ours), name or IGNORE))
        return tuple(rows)


def _plain(name: str) -> str:
    return name.strip().casefold()


def _looked_up(table: np.ndarray, labels: np.ndarray, where: str) -> np.ndarray:
    highest = int(labels.max(initial=0))
    if highest < len(table):
        found = table[labels]
        if found.min(initial=0) >= 0:
            return found
        highest = int(labels[found < 0][0])
    raise DataError(
        f"class id {highest} in {where}; name the class, or say --option ignore={highest}"
    )

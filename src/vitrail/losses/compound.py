"""Weighted sums of losses, written as ``ce + 0.5*dice``.

    sum   := term { "+" term }
    term  := [ number "*" ] NAME [ "(" [ NAME "=" value { "," NAME "=" value } ] ")" ]
    value := [ "-" ] number | true | false | none | "[" number { "," number } "]"

The text is read by the parser below: nothing in it is ever evaluated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from pydantic import ValidationError
from torch import Tensor

from vitrail.errors import ConfigError, UnknownNameError, nearest
from vitrail.losses.base import Loss
from vitrail.losses.registry import LOSSES
from vitrail.losses.targets import SemanticTargets, read_planes

_LONGEST = 2000
"""Characters; longer texts are a mistake."""
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))"
    r"|(?P<name>[A-Za-z_][\w-]*)"
    r"|(?P<sign>[-+*(),=\[\]])",
    re.ASCII,
)
_WORDS = {"true": True, "false": False, "none": None, "null": None}

Value = float | int | bool | None | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """One loss of a sum."""

    name: str
    """Of the loss; with ``#2`` and so on where a sum holds it again."""
    weight: float
    loss: Loss


@dataclass(frozen=True, slots=True)
class WeightedLoss:
    """A weighted sum of losses, its terms kept apart so that each can be logged."""

    text: str
    """As it was written."""
    terms: tuple[Term, ...]

    def __call__(self, logits: Tensor, targets: SemanticTargets) -> dict[str, Tensor]:
        """The terms by name, weights multiplied in: their sum is the training loss.

        Softmax, one-hot labels and the like are computed once for all terms. Arguments and
        errors are those of :class:`~vitrail.losses.base.Loss`.
        """
        planes = read_planes(logits, targets)
        self.check(planes.channels, exclusive=planes.exclusive)
        return {
            term.name: value if term.weight == 1 else value * term.weight
            for term in self.terms
            for value in (term.loss.value(planes),)
        }

    def check(self, channels: int, *, exclusive: bool) -> None:
        """Refuse parameters that do not fit the network, before the first batch.

        Parameters
        ----------
        channels:
            Outputs of the network.
        exclusive:
            A pixel has exactly one of the classes (softmax), rather than any number of them.

        Raises
        ------
        ConfigError
            names the term, the parameter, its value and what would fit.
        """
        for term in self.terms:
            try:
                term.loss.check(channels, exclusive=exclusive)
            except ConfigError as error:
                raise ConfigError(f"loss {self.text!r}: {term.name}: {error}") from None


def build_loss(text: str) -> WeightedLoss:
    """Build the losses that a text names, such as ``focal(gamma=2) + 0.5*tversky(beta=0.7)``.

    Raises
    ------
    UnknownNameError
        no loss has that name; the message holds the nearest ones.
    ConfigError
        the text cannot be read, or a parameter is unknown, of the wrong type or out of range;
        the message holds the column, counted from 1.
    """
    if not isinstance(text, str):
        raise ConfigError(f"loss={text!r}: expected a text such as 'ce + 0.5*dice'")
    if len(text) > _LONGEST:
        raise ConfigError(f"loss: {len(text)} characters; at most {_LONGEST} are read")
    parser = _Parser(text)
    terms = [parser.term()]
    while parser.take("+"):
        terms.append(parser.term())
    if parser.token.kind != "end":
        parser.fail("'+' or the end")
    counts: dict[str, int] = {}
    named = []
    for name, weight, loss in terms:
        counts[name] = counts.get(name, 0) + 1
        label = name if counts[name] == 1 else f"{name}#{counts[name]}"
        named.append(Term(label, weight, loss))
    return WeightedLoss(text, tuple(named))


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


class _Parser:
    """Reads one text from left to right; ``token`` is the next one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        self.token = self._read()

    def term(self) -> tuple[str, float, Loss]:
        weight = 1.0
        if self.token.kind == "number" or self.token.text == "-":
            column = self.token.column
            weight = float(self._number())
            if weight <= 0:
                self.complain(column, f"the weight {weight:g} is not above 0")
            self._expect("*")
        if self.token.kind != "name":
            self.fail("the name of a loss")
        name, column = self.token.text, self.token.column
        entry = LOSSES.get(name)
        if entry is None:
            raise UnknownNameError("loss", name, LOSSES)
        self._advance()
        arguments: dict[str, Value] = {}
        columns = {"": column}
        if self.take("("):
            self._list(")", lambda: self._argument(name, entry.loss, arguments, columns))
        try:
            return name, weight, entry.loss.model_validate(arguments)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            key = str(fault["loc"][0]) if fault["loc"] else ""
            value = arguments.get(key)
            shown = list(value) if isinstance(value, tuple) else value
            self.complain(columns[key], f"{name}: {key}={shown}: {fault['msg']}")

    def take(self, sign: str) -> bool:
        """Step over a sign if it is next."""
        if self.token.text != sign or self.token.kind != "sign":
            return False
        self._advance()
        return True

    def fail(self, expected: str) -> NoReturn:
        found = repr(self.token.text) if self.token.text else "the end"
        self.complain(self.token.column, f"expected {expected}, got {found}")

    def complain(self, column: int, what: str) -> NoReturn:
        raise ConfigError(f"loss {self.text!r}, column {column}: {what}") from None

    def _argument(
        self,
        name: str,
        loss: type[Loss],
        arguments: dict[str, Value],
        columns: dict[str, int],
    ) -> None:
        key, column = self.token.text, self.token.column
        if self.token.kind != "name":
            self.fail(f"a parameter of {name} by its name, as in {name}(name=value)")
        if key not in loss.model_fields:
            hint = nearest(key, loss.model_fields)
            self.complain(column, f"{name} has no parameter {key!r}; {hint}")
        if key in arguments:
            self.complain(column, f"{key} is given twice")
        self._advance()
        self._expect("=")
        arguments[key], columns[key] = self._value(), column

    def _value(self) -> Value:
        if self.token.kind == "name" and self.token.text.lower() in _WORDS:
            value = _WORDS[self.token.text.lower()]
            self._advance()
            return value
        if self.take("["):
            numbers: list[float] = []
            self._list("]", lambda: numbers.append(self._number()))
            return tuple(numbers)
        return self._number()

    def _number(self) -> float | int:
        sign = -1 if self.take("-") else 1
        if self.token.kind != "number":
            self.fail("a number")
        text, number = self.token.text, float(self.token.text)
        if not math.isfinite(number):
            self.complain(self.token.column, f"{text} is too large")
        self._advance()
        return sign * (int(number) if text.isdecimal() and number < 1e15 else number)

    def _list(self, closing: str, item: Callable[[], None]) -> None:
        """Items between commas, up to and with the closing bracket."""
        if self.take(closing):
            return
        item()
        while not self.take(closing):
            if not self.take(","):
                self.fail(f"',' or '{closing}'")
            item()

    def _expect(self, sign: str) -> None:
        if not self.take(sign):
            self.fail(f"'{sign}'")

    def _advance(self) -> None:
        self.token = self._read()

    def _read(self) -> _Token:
        while self.end < len(self.text):
            match = _TOKEN.match(self.text, self.end)
            column = self.end + 1
            if match is None:
                self.complain(column, f"cannot read {self.text[self.end : self.end + 20]!r}")
            self.end = match.end()
            kind = match.lastgroup
            assert kind is not None
            if kind != "space":
                return _Token(kind, match.group(), column)
        return _Token("end", "", len(self.text) + 1)

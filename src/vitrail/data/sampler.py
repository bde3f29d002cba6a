"""Which samples make each batch: a function of seed, epoch and step alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vitrail.errors import ConfigError, ParameterError


class ResumableSampler:
    """Batches of ``(epoch, position)`` indices, for ``DataLoader(batch_sampler=...)``.

    The order of an epoch depends on ``seed`` and ``epoch`` only. So a pass can begin in the middle
    of an epoch, and several processes that each take their share see, together, the very batches
    that one process would. Each pass goes on to the next epoch, unless :meth:`set_epoch` says
    which it is.

    Parameters
    ----------
    length:
        Number of positions in the data set.
    batch_size:
        Samples of a batch, those of all processes together; a multiple of ``num_replicas``.
    seed:
        Of the order, >= 0.
    shuffle:
        Whether each epoch has an order of its own; otherwise positions ascend.
    drop_last:
        Leave out a last batch that is not whole. If it is kept, with several processes, their
        shares of it differ by one sample, and a process whose share is empty has one batch less:
        good for evaluation, not for training.
    num_replicas, rank:
        Number of processes, and which of them this is, from 0.

    Raises
    ------
    ParameterError
        a number is out of its range.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        for name, value, least in (
            ("length", length, 0),
            ("batch_size", batch_size, 1),
            ("seed", seed, 0),
            ("num_replicas", num_replicas, 1),
        ):
            if value < least:
                raise ParameterError(f"{name}={value}: expected at least {least}")
        if not 0 <= rank < num_replicas:
            raise ParameterError(f"rank={rank}: expected 0 to {num_replicas - 1}")
        if batch_size % num_replicas:
            raise ParameterError(
                f"batch_size={batch_size}: expected a multiple of the {num_replicas} processes"
            )
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        """Of the current pass, or of the next one where none has begun."""
        self.start_step = 0
        """Batches of that epoch that the pass leaves out, since they were done before."""
        self._begun = False

    @property
    def steps(self) -> int:
        """Batches of a whole epoch."""
        whole, rest = divmod(self.length, self.batch_size)
        if self.drop_last:
            return whole
        return whole + (rest > self.rank)

    def __len__(self) -> int:
        """Batches of the pass."""
        return self.steps - self.start_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        # Nothing happens before the first batch is asked for: a loader with workers begins twice.
        if self._begun:
            self.epoch, self.start_step = self.epoch + 1, 0
        self._begun = True
        epoch = self.epoch
        order = self._order(epoch)
        for step in range(self.start_step, self.steps):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield [(epoch, int(position)) for position in batch[self.rank :: self.num_replicas]]

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is; it begins at its start.

        Said of the epoch to which :meth:`load_state_dict` has gone, it changes nothing.
        """
        if epoch != self.epoch or self._begun:
            self.epoch, self.start_step, self._begun = epoch, 0, False

    def state_dict(self, step: int) -> dict[str, Any]:
        """Where a training stands that has finished ``step`` batches of the current epoch.

        ``step`` counts from the start of the epoch. A loader reads ahead, so the sampler cannot
        know it. The state is the same in all processes, and fits any number of them.
        """
        if not 0 <= step <= self.steps:
            raise ParameterError(f"step={step}: expected 0 to {self.steps}")
        done = step == self.steps
        return {
            "epoch": self.epoch + done,
            "step": 0 if done else step,
            **{key: getattr(self, key) for key in _KEPT},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass begin where a training stood.

        Raises
        ------
        ConfigError
            the state is of another data set or of other settings, with which the remaining
            batches would not be the ones that were left; names what differs.
        """
        for key in _KEPT:
            if state.get(key) != getattr(self, key):
                raise ConfigError(
                    f"the run to be resumed had {key}={state.get(key)!r}, this one has "
                    f"{getattr(self, key)!r}; resume with the same data and settings, or start anew"
                )
        epoch, step = state.get("epoch"), state.get("step")
        if not isinstance(epoch, int) or not isinstance(step, int) or epoch < 0 or step < 0:
            raise ConfigError(
                f"the run to be resumed stood at epoch={epoch!r}, step={step!r}; expected whole "
                "numbers from 0: its state is damaged"
            )
        if step >= max(1, self.steps):
            raise ConfigError(
                f"the run to be resumed stood at step={step}, an epoch has {self.steps}: its state "
                "is damaged"
            )
        self.epoch, self.start_step, self._begun = epoch, step, False

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.length)
        return np.random.default_rng((self.seed, epoch)).permutation(self.length)


_KEPT = ("length", "batch_size", "seed", "shuffle", "drop_last")
"""What decides which batches an epoch has."""

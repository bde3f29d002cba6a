"""Work on many samples in this process or in several, in order, and the same either way.

Workers are spawned, never forked: that is the one way that all systems have, and it does not copy
the locks of a parent's threads. Each gets the sources once; then it is sent ranges of indices.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import cv2

from vitrail.data.checks.duplicates import Comparer
from vitrail.data.checks.finding import Place
from vitrail.data.checks.samples import Stretch, check_stretch
from vitrail.data.sample import MaskFiles, SampleSource, mask_files
from vitrail.errors import DataError, ParameterError

STRETCH = 64
"""Samples sent to a worker at a time."""
WORTHWHILE = 400
"""Samples from which starting workers costs less than it saves."""

_sources: Mapping[str, SampleSource] = {}
_masks: Mapping[str, MaskFiles] = {}
_comparer: Comparer | None = None


def workers_for(samples: int) -> int:
    """A good number of workers: none for a small set, otherwise one for each core of ours."""
    if samples < WORTHWHILE:
        return 0
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers:
    """Runs the linter's functions over ranges of samples. Use as a context manager.

    Parameters
    ----------
    sources:
        By split.
    count:
        Processes; 0 works in this one.
    """

    def __init__(self, sources: Mapping[str, SampleSource], count: int) -> None:
        if count < 0:
            raise ParameterError(f"workers is {count}, expected 0 (none) or more")
        self.sources = sources
        self._pool: ProcessPoolExecutor | None = None
        if count:
            try:
                packed = pickle.dumps(dict(sources))
            except Exception as error:  # whatever an object's own pickling raises
                raise ParameterError(
                    f"these samples cannot be sent to other processes ({error}); use workers=0"
                ) from None
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                count, mp_context=context, initializer=_unpack, initargs=(packed,)
            )
        self._threads = cv2.getNumThreads()

    def __enter__(self) -> Self:
        if self._pool is None:
            _start(self.sources)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        else:
            _start({})
            cv2.setNumThreads(self._threads)

    def stretches(self) -> Iterator[Stretch]:
        """All samples, split by split and in order, in stretches."""
        tasks = [
            (split, start, min(start + STRETCH, len(source)))
            for split, source in self.sources.items()
            for start in range(0, len(source), STRETCH)
        ]
        yield from self._map(_check, tasks)

    def similarities(self, pairs: Sequence[tuple[Place, Place]]) -> Iterator[list[_Similar]]:
        """How alike the two images of each pair are, in order, in blocks."""
        blocks = [pairs[k : k + STRETCH] for k in range(0, len(pairs), STRETCH)]
        yield from self._map(_compare, blocks)

    def _map(self, function, tasks: Sequence) -> Iterator:
        if self._pool is None:
            yield from map(function, tasks)
            return
        done = 0
        try:
            with _undisturbed():  # all workers are started here
                results = self._pool.map(function, tasks)
            for result in results:
                done += 1
                yield result
        except BrokenProcessPool:
            split, start, stop = tasks[done] if function is _check else ("copies", "", "")
            raise DataError(
                f"a worker process died (out of memory, or a decoder crashed) at or after {split} "
                f"{start}..{stop}; use fewer workers, or 0. A script that starts workers needs "
                '`if __name__ == "__main__":` around its main part'
            ) from None


_Similar = tuple[float, bool]

_STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Until left, Ctrl-C and SIGTERM wait; processes started meanwhile are born deaf to them.

    A process that was started but not yet told what to run would end with a traceback.
    """
    waiting: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        # A mask alone would not do: other threads of this process can be given the signal.
        for number in _STOPPING:
            if signal.getsignal(number) is not None:  # None: not set by Python
                before[number] = signal.signal(number, lambda one, _: waiting.append(one))
    masked = hasattr(signal, "pthread_sigmask")  # which Windows lacks
    old = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING) if masked else ()
    try:
        yield
    finally:
        if masked:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in waiting[:1]:
            signal.raise_signal(number)


def _start(sources: Mapping[str, SampleSource]) -> None:
    global _sources, _masks, _comparer
    cv2.setNumThreads(1)  # each process has one core to itself
    _sources, _comparer = sources, Comparer(sources)
    _masks = {split: mask_files(source) for split, source in sources.items()}


def _unpack(packed: bytes) -> None:
    """In a worker; what it was sent was made by this package's own parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which then ends us
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    _start(pickle.loads(packed))


def _check(task: tuple[str, int, int]) -> Stretch:
    split, start, stop = task
    return check_stretch(split, _sources[split], _masks[split], start, stop)


def _compare(pairs: Sequence[tuple[Place, Place]]) -> list[_Similar]:
    assert _comparer is not None
    results: list[_Similar] = []
    for first, second in pairs:
        try:
            results.append(_comparer.similarity(first, second))
        except Exception:  # what cannot be read has a finding already
            results.append((0.0, False))
    return results

"""Time two callables against each other, and say whether a target was met."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter


def compare(
    ours: Callable[[], object],
    peer: Callable[[], object],
    repeats: int = 5,
    *,
    warmup: int = 1,
    block: int = 1,
) -> tuple[float, float]:
    """Median seconds of each callable, ``(ours_s, peer_s)``.

    The two run in turn rather than one after the other, so that a machine that slows down
    half-way slows both. `warmup` rounds are run first and not counted. Short calls leave each
    other cold caches; with a `block` above 1 each runs that often, uncounted, before a call that
    counts, as in a stream of images.
    """
    for _ in range(warmup):
        ours()
        peer()
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for times, run in zip(spent, (ours, peer), strict=True):
            for _ in range(block - 1):
                run()
            start = perf_counter()
            run()
            times.append(perf_counter() - start)
    return median(spent[0]), median(spent[1])


def report(title: str, ours: float, peer: float, target: float, *, unit: str = "s") -> bool:
    """Print both numbers, ``peer / ours`` and PASS or MISS; return whether the target was met.

    `target` is the smallest ``peer / ours`` that passes: 20 asks for "at least 20x faster", and
    0.25 for "within 4x of" the peer's time.
    """
    ratio = peer / ours
    met = ratio >= target
    print(title)
    print(f"  ours {ours:.4g} {unit}   peer {peer:.4g} {unit}   ratio (peer/ours) {ratio:.3g}x")
    print(f"  target >= {target:g}x: {'PASS' if met else 'MISS'}")
    return met

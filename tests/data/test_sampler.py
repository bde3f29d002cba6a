"""Batches as a function of seed, epoch and step: killed and resumed, shared between processes."""

import json
from itertools import chain

import pytest
import torch
from torch.utils.data import DataLoader

from tests.data.drawn_sources import DrawnLabels
from vitrail.data.augment import AugmentConfig, build_augmentation
from vitrail.data.sampler import ResumableSampler
from vitrail.data.transforms import Example, TrainingSet
from vitrail.errors import ConfigError, ParameterError

Batches = list[list[tuple[int, int]]]


def positions(batches: Batches) -> list[int]:
    return [position for batch in batches for _, position in batch]


def test_an_epoch_shows_each_position_once() -> None:
    sampler = ResumableSampler(24, 4, seed=1)
    first, second = list(sampler), list(sampler)
    assert len(first) == len(sampler) == sampler.steps == 6
    assert {epoch for batch in first for epoch, _ in batch} == {0}
    assert {epoch for batch in second for epoch, _ in batch} == {1}
    assert sorted(positions(first)) == sorted(positions(second)) == list(range(24))
    assert positions(first) != positions(second) != list(range(24))
    assert list(ResumableSampler(24, 4, seed=1)) == first
    assert list(ResumableSampler(24, 4, seed=2)) != first


def test_without_shuffling_positions_ascend() -> None:
    sampler = ResumableSampler(7, 3, shuffle=False, drop_last=False)
    assert list(sampler) == [[(0, 0), (0, 1), (0, 2)], [(0, 3), (0, 4), (0, 5)], [(0, 6)]]
    assert positions(list(sampler)) == list(range(7))


@pytest.mark.parametrize(("length", "kept", "dropped"), [(12, 3, 3), (13, 4, 3), (3, 1, 0)])
def test_a_last_batch_that_is_not_whole(length: int, kept: int, dropped: int) -> None:
    for drop_last, steps in ((False, kept), (True, dropped)):
        sampler = ResumableSampler(length, 4, drop_last=drop_last)
        assert len(list(sampler)) == len(sampler) == steps


@pytest.mark.parametrize("step", [0, 1, 5])
def test_a_resumed_pass_has_the_remaining_batches(step: int) -> None:
    whole = ResumableSampler(24, 4, seed=1)
    passes = [list(whole) for _ in range(3)]
    begun = ResumableSampler(24, 4, seed=1)
    begun.set_epoch(1)
    for _ in zip(range(step + 1), begun, strict=False):
        pass  # read ahead by one batch, as a loader does
    state = json.loads(json.dumps(begun.state_dict(step)))
    resumed = ResumableSampler(24, 4, seed=1)
    resumed.load_state_dict(state)
    assert len(resumed) == 6 - step
    resumed.set_epoch(1)  # as accelerate does before each pass
    assert list(resumed) == passes[1][step:]
    assert list(resumed) == passes[2]
    assert len(resumed) == 6


def test_after_the_last_batch_comes_the_next_epoch() -> None:
    sampler = ResumableSampler(24, 4)
    list(sampler)
    state = sampler.state_dict(6)
    assert (state["epoch"], state["step"]) == (1, 0)
    resumed = ResumableSampler(24, 4)
    resumed.load_state_dict(state)
    assert list(resumed) == list(sampler)


def test_an_epoch_can_be_gone_back_to() -> None:
    sampler = ResumableSampler(24, 4)
    first = list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == first
    begun = iter(sampler)
    next(begun)
    sampler.set_epoch(0)
    assert list(sampler) == first


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("length", [24, 29])
def test_processes_share_the_batches_of_one(processes: int, length: int) -> None:
    alone = list(ResumableSampler(length, 6, seed=5))
    shares = [
        list(ResumableSampler(length, 6, seed=5, num_replicas=processes, rank=rank))
        for rank in range(processes)
    ]
    assert [len(share) for share in shares] == [len(alone)] * processes
    for batch, *parts in zip(alone, *shares, strict=True):
        assert {len(part) for part in parts} == {6 // processes}
        assert [one for group in zip(*parts, strict=True) for one in group] == batch


def test_a_run_can_go_on_with_another_number_of_processes() -> None:
    alone = list(ResumableSampler(24, 4, seed=5))
    pair = [ResumableSampler(24, 4, seed=5, num_replicas=2, rank=rank) for rank in range(2)]
    for sampler in pair:
        sampler.load_state_dict(ResumableSampler(24, 4, seed=5).state_dict(4))
    first, second = (list(sampler) for sampler in pair)
    joined = [sorted(a + b) for a, b in zip(first, second, strict=True)]
    assert joined == [sorted(batch) for batch in alone[4:]]


def test_evaluation_shows_every_position_once_to_some_process() -> None:
    shares = [
        list(ResumableSampler(9, 4, shuffle=False, drop_last=False, num_replicas=4, rank=rank))
        for rank in range(4)
    ]
    assert [len(share) for share in shares] == [3, 2, 2, 2]
    assert sorted(chain(*map(positions, shares))) == list(range(9))
    assert all(batch for share in shares for batch in share)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": -1}, "length=-1: expected at least 0"),
        ({"batch_size": 0}, "batch_size=0: expected at least 1"),
        ({"seed": -3}, "seed=-3"),
        ({"num_replicas": 0}, "num_replicas=0"),
        ({"num_replicas": 2, "rank": 2}, "rank=2: expected 0 to 1"),
        ({"num_replicas": 3}, "batch_size=4: expected a multiple of the 3 processes"),
    ],
)
def test_numbers_out_of_range(changes: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        ResumableSampler(**{"length": 8, "batch_size": 4, **changes})
    with pytest.raises(ParameterError, match="step=3: expected 0 to 2"):
        ResumableSampler(8, 4).state_dict(3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 9}, "had length=9, this one has 8"),
        ({"batch_size": 2}, "had batch_size=2"),
        ({"seed": 7}, "had seed=7"),
        ({"shuffle": False}, "had shuffle=False"),
        ({"step": 2}, "step=2, an epoch has 2"),
        ({"step": -1}, "step=-1; expected whole numbers"),
        ({"epoch": "one"}, "epoch='one'"),
        ({"epoch": None}, "epoch=None"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(changes: dict, message: str) -> None:
    sampler = ResumableSampler(8, 4)
    with pytest.raises(ConfigError, match=message):
        sampler.load_state_dict({**sampler.state_dict(1), **changes})
    assert (sampler.epoch, sampler.start_step) == (0, 0)


EVERYTHING = {"cutout": 0.3, "copy_paste": 0.5, "mosaic": 0.4, "noise": 0.3}


def loader_of(workers: int, rank: int | None = None) -> tuple[ResumableSampler, DataLoader]:
    config = AugmentConfig.model_validate(EVERYTHING)
    augmentation = build_augmentation(config, 32, DrawnLabels.space, "labels")
    shown = TrainingSet(DrawnLabels(), augmentation, seed=3, order=[*range(8), *range(8)])
    processes = 1 if rank is None else 2
    sampler = ResumableSampler(len(shown), 4, seed=3, num_replicas=processes, rank=rank or 0)
    return sampler, DataLoader(shown, batch_sampler=sampler, num_workers=workers)


def same(ours: Example, theirs: Example) -> bool:
    return all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_and_resumed_the_remaining_batches_are_identical(workers: int) -> None:
    """Epoch 1 is left after its first batch; whoever goes on has other worker processes."""
    _, loader = loader_of(0)
    wanted = [list(loader) for _ in range(3)]
    sampler, killed = loader_of(workers)
    list(killed)
    passing = iter(killed)
    assert same(next(passing), wanted[1][0])
    state = sampler.state_dict(1)
    del passing
    sampler, resumed = loader_of(2 - workers)
    sampler.load_state_dict(state)
    found = [list(resumed), list(resumed)]
    assert [len(batches) for batches in found] == [3, 4]
    for ours, theirs in zip(found[0] + found[1], wanted[1][1:] + wanted[2], strict=True):
        assert same(ours, theirs)


def test_two_processes_load_the_pixels_of_one() -> None:
    alone, first, second = (list(loader_of(0, rank)[1]) for rank in (None, 0, 1))
    for whole, even, odd in zip(alone, first, second, strict=True):
        for tensor, a, b in zip(whole, even, odd, strict=True):
            assert torch.equal(torch.stack([a, b], 1).flatten(0, 1), tensor)

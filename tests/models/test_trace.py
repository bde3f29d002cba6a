"""What a pass without numbers sees, against networks small enough to count by hand."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.errors import ConfigError, ParameterError
from vitrail.models.trace import IMAGE, kept_for_training, trace
from vitrail.training.memory import memory_plan

MEGA = 1 << 20


class Skip(nn.Module):
    """Two convolutions, the first one's result joined to the second's."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.auxiliary = nn.Conv2d(4, 2, 1)
        self.scale = torch.ones(1)  # neither parameter nor buffer

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        one = self.first(x)
        two = F.relu_(self.second(one)) * self.scale
        return {"joined": torch.cat([one, two], 1)[..., 1:]}


def test_steps_know_where_their_inputs_come_from() -> None:
    traced = trace(Skip(), 16)
    assert [step.operation for step in traced.steps] == [
        "convolution",
        "convolution",
        "relu_",
        "mul",
        "cat",
    ]
    reads = [[read.step for read in step.reads] for step in traced.steps]
    assert reads == [[IMAGE], [0], [1], [2], [0, 3]]
    assert [call.path for call in traced.calls] == ["", "first", "second"]
    assert traced.steps[4].reads[1].shape == (1, 4, 16, 16)
    joined = traced.outputs["joined"]
    assert (joined.step, joined.shape) == (4, (1, 8, 16, 15))  # the cut is a view of step 4
    assert traced.idle == {"auxiliary.weight", "auxiliary.bias"}


def test_macs_are_those_of_the_formula() -> None:
    traced = trace(Skip(), 16)
    first, second = 16 * 16 * 9 * 3 * 4, 16 * 16 * 9 * 4 * 4
    assert [call.macs for call in traced.calls] == [first + second, first, second]


def test_writing_into_a_part_hands_the_whole_on() -> None:
    class Paste(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolve = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            canvas = torch.zeros(1, 3, 20, 20)
            canvas[..., 2:18, 2:18] = self.convolve(x)
            return canvas

    traced = trace(Paste(), 16)
    last = traced.outputs["output"].step
    pasted = traced.steps[last]
    assert pasted.operation == "copy_"
    assert [traced.steps[read.step].operation for read in pasted.reads] == ["zeros", "convolution"]


@pytest.mark.parametrize(("inplace", "held"), [(True, 2), (False, 2)])
def test_the_peak_of_a_chain_is_two_neighbours(inplace: bool, held: int) -> None:
    """One megabyte a feature: the image (3/4 MB) stays until the caller drops it."""
    chain = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(inplace), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
    )
    assert trace(chain, 256).peak == held * MEGA + MEGA * 3 // 4


def test_a_skip_is_held_as_long_as_it_is_needed() -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolve = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            skip = x = self.convolve[0](x)
            for convolve in self.convolve[1:]:
                x = convolve(x)
            return x + skip

    assert trace(Held(), 256, 4).peak == (1 + 1 + 2) * MEGA  # image, skip, two neighbours


def test_training_memory_is_what_the_plan_measures() -> None:
    """The same count as of a real pass on the CPU (the plan adds no loss to a plain module)."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.SiLU(inplace=False),
        nn.MaxPool2d(2),
        nn.Dropout(0.5),
        nn.Conv2d(8, 8, 3),
    )
    assert kept_for_training(network, 64) == memory_plan(network, 64, 2).image > 0


def test_attention_runs_the_cpus_kernel() -> None:
    """No square matrix of all pairs is counted where none is made."""

    class Attend(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            tokens = x.flatten(2).mT.contiguous()
            return F.scaled_dot_product_attention(tokens[:, None], tokens[:, None], tokens[:, None])

    traced = trace(Attend(), 64, 8)
    pixels = 64 * 64
    assert traced.network.macs == 2 * pixels * pixels * 8
    assert traced.peak < 4 * pixels * pixels


def test_the_network_stays_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout()).train()
    before = {name: one.clone() for name, one in network.state_dict().items()}
    state = torch.get_rng_state()
    trace(network, 16)
    kept_for_training(network, 16)
    assert network.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert network(torch.ones(2, 3, 8, 8)).requires_grad


@pytest.mark.parametrize("size", [7, 16385])
def test_sizes_have_a_range(size: int) -> None:
    with pytest.raises(ParameterError, match=f"image size {size}: expected 8 to 16384 px"):
        trace(nn.Conv2d(3, 4, 1), size)


def test_a_network_that_cannot_run_says_why() -> None:
    with pytest.raises(ConfigError, match=r"Conv2d cannot be measured at 16 px: .*5"):
        trace(nn.Conv2d(5, 4, 1), 16)


def test_a_network_that_looks_at_values_says_so() -> None:
    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.mean() > 0 else -x

    with pytest.raises(ConfigError, match="Looks cannot be measured at 16 px"):
        trace(Looks(), 16)

"""Two processes normalise as one process with all their images does."""

from pathlib import Path

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch import distributed as dist

from tests.several_processes import in_processes
from vitrail.errors import ConfigError
from vitrail.nn.sync_norm import synchronise_norms

PARTS = (slice(0, 3), slice(3, 5))
"""Of a batch of five images: unequal ones."""


def layers() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """By name, a network and the shape of its input."""
    torch.manual_seed(0)
    plane, line, space = (5, 4, 7, 6), (5, 4), (5, 4, 3, 4, 5)
    made: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "plain": (nn.BatchNorm2d(4), plane),
        "vectors": (nn.BatchNorm1d(4), line),
        "volumes": (nn.BatchNorm3d(4), space),
        "cumulative": (nn.BatchNorm2d(4, momentum=None), plane),
        "without_affine": (nn.BatchNorm2d(4, affine=False), plane),
        "without_tracking": (nn.BatchNorm2d(4, track_running_stats=False), plane),
        "timm": (BatchNormAct2d(4, act_layer=nn.SiLU), plane),
        "two": (
            nn.Sequential(
                nn.Conv2d(4, 6, 3, bias=False),
                BatchNormAct2d(6),
                nn.Conv2d(6, 4, 3, bias=False),
                nn.BatchNorm2d(4),
            ),
            plane,
        ),
    }
    for network, _ in made.values():
        for parameter in network.parameters():
            nn.init.normal_(parameter, 0.5)
    return made


def drawn(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # Far from 0, where a variance from sums of plain squares would cancel.
    return (values * 2 + (10 if dtype == torch.float64 else 1)).to(dtype)


def run(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Two steps; what comes out of the second, gradients included, and the running statistics."""
    for _ in range(2):
        network.zero_grad()
        leaf = images.clone().requires_grad_()
        output = network(leaf)
        weight = torch.linspace(-1, 1, output[0].numel(), dtype=output.dtype)
        (output * weight.view(1, *output.shape[1:])).square().sum().backward()
    assert leaf.grad is not None
    found = {"output": output.detach(), "input": leaf.grad}
    found |= {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    found |= {f"buffer {name}": buffer.clone() for name, buffer in network.named_buffers()}
    found["evaluated"] = network.eval()(images).detach()
    return found


def work(rank: int) -> dict[str, dict[str, Tensor]]:
    found = {}
    for dtype in (torch.float64, torch.float32):
        for name, (network, shape) in layers().items():
            keys = list(network.state_dict())
            network = synchronise_norms(network.to(dtype))
            assert list(network.state_dict()) == keys
            assert synchronise_norms(network) is network
            results = run(network, drawn(shape, dtype)[PARTS[rank]])
            for key in (name for name, _ in network.named_parameters()):
                dist.all_reduce(results[key])
            found[f"{name} {dtype}"] = results
    half = synchronise_norms(nn.BatchNorm2d(4))
    with torch.autocast("cpu", torch.bfloat16):
        found["bfloat16"] = run(half, drawn((5, 4, 7, 6), torch.bfloat16)[PARTS[rank]])

    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(ConfigError, match=r"1: the batch norm .*Own cannot be synchronised"):
        synchronise_norms(nn.Sequential(nn.Conv2d(3, 4, 1), Own(4)))
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    return in_processes(work, tmp_path_factory.mktemp("norms"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", list(layers()))
def test_everything_is_as_in_one_process(name: str, dtype: torch.dtype, two: list[dict]) -> None:
    network, shape = layers()[name]
    expected = run(network.to(dtype), drawn(shape, dtype))
    for part, results in zip(PARTS, two, strict=True):
        found = results[f"{name} {dtype}"]
        assert set(found) == set(expected)
        for key, value in expected.items():
            ours = value[part] if key in ("output", "input", "evaluated") else value
            if key == "evaluated" and name == "without_tracking":
                continue  # it then takes the batch's own statistics: another batch, other values
            scale = float(value.abs().max()) or 1.0
            tolerance = (1e-6 if dtype == torch.float32 else 1e-12) * max(scale, 1.0)
            if name == "two":
                tolerance *= 10  # roundings of one layer grow in the next
            torch.testing.assert_close(
                found[key], ours, rtol=0, atol=tolerance, msg=lambda m, k=key: f"{k}: {m}"
            )


def test_half_precision_keeps_its_type_and_wide_statistics(two: list[dict]) -> None:
    network = nn.BatchNorm2d(4)
    images = drawn((5, 4, 7, 6), torch.bfloat16)
    expected = run(network, images.float())
    for part, results in zip(PARTS, two, strict=True):
        found = results["bfloat16"]
        assert found["output"].dtype == found["input"].dtype == torch.bfloat16
        torch.testing.assert_close(found["buffer running_var"], expected["buffer running_var"])
        torch.testing.assert_close(
            found["output"].float(), expected["output"][part], rtol=0.01, atol=0.01
        )


def test_one_process_changes_nothing(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert synchronise_norms(network) is network
    assert type(network[1]) is nn.BatchNorm2d

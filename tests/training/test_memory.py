"""Plans of memory agree with what a training takes; errors say which setting to lower."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from vitrail.errors import ConfigError
from vitrail.models.registry import build
from vitrail.training.free_memory import free_memory
from vitrail.training.memory import MemoryPlan, largest_batch, memory_plan
from vitrail.training.memory_errors import explain_out_of_memory

MEASURED = """
import torch
from vitrail.losses import SemanticTargets
from vitrail.models.registry import build
from vitrail.training.memory import memory_plan

def high():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024

def step(model, optimizer, images, labels):
    with torch.autocast("cpu", torch.bfloat16, enabled={half}):
        raw = model(images)
    sum(model.loss(raw, SemanticTargets(labels, 255, 0)).values()).backward()
    optimizer.step()
    optimizer.zero_grad()

def network(encoder, **more):
    model = build("unet", {{"encoder": encoder, **more, "classes": 4}})
    return model, torch.optim.AdamW(model.parameters())

torch.set_num_threads(1)
step(*network("mobilenetv2_035"), torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64).long())
before = int(open("/proc/self/statm").read().split()[1]) * 4096
open("/proc/self/clear_refs", "w").write("5")  # the high-water mark begins anew
model, optimizer = network("{encoder}")
images, labels = torch.randn({batch}, 3, 128, 128), torch.randint(0, 4, ({batch}, 128, 128))
for _ in range(2):
    step(model, optimizer, images, labels)
taken = high() - before
precision = "bfloat16" if {half} else "float32"
plan = memory_plan(model, 128, {batch}, precision=precision, ema=False)
print(taken, plan.total)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's high-water mark of memory")
@pytest.mark.parametrize(
    ("encoder", "batch", "half"),
    [
        ("mobilenetv2_100", 8, False),
        pytest.param("mobilenetv2_100", 8, True, marks=pytest.mark.slow),
        pytest.param("resnet18", 4, False, marks=pytest.mark.slow),
    ],
)
def test_a_plan_is_near_what_a_training_takes(encoder: str, batch: int, half: bool) -> None:
    code = MEASURED.format(encoder=encoder, batch=batch, half=half)
    run = [sys.executable, "-c", code]
    output = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    taken, planned = map(int, output.split())
    assert planned == pytest.approx(taken, rel=0.25)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    arguments = {"encoder": "mobilenetv2_035", "decoder_channels": [16, 16, 16, 8, 8]}
    return build("unet", {**arguments, "classes": 3})


@pytest.fixture(scope="module")
def plan(network: nn.Module) -> MemoryPlan:
    return memory_plan(network, 64, 4)


def test_states_are_counted_exactly(network: nn.Module, plan: MemoryPlan) -> None:
    numbers = sum(p.numel() for p in network.parameters())
    optimizer = torch.optim.AdamW(network.parameters())
    assert (plan.gradients, plan.optimizer) == (4 * numbers, 8 * numbers)
    assert plan.weights == plan.averaged > plan.gradients
    assert not optimizer.state
    sgd = memory_plan(network, 64, 4, optimizer="sgd", ema=False, processes=2)
    assert (sgd.gradients, sgd.optimizer, sgd.averaged) == (8 * numbers, 4 * numbers, 0)


def test_frozen_parameters_have_no_gradients(plan: MemoryPlan) -> None:
    arguments = {"encoder": "mobilenetv2_035", "decoder_channels": [16, 16, 16, 8, 8]}
    frozen = build("unet", {**arguments, "classes": 3})
    frozen.encoder.requires_grad_(False)
    less = memory_plan(frozen, 64, 4)
    trained = sum(p.numel() for p in frozen.parameters() if p.requires_grad)
    assert less.gradients == 4 * trained < plan.gradients
    assert less.activations < plan.activations


def test_activations_grow_with_images_and_pixels(network: nn.Module, plan: MemoryPlan) -> None:
    assert plan.at(8).activations == pytest.approx(2 * plan.activations, rel=0.05)
    larger = memory_plan(network, 128, 4)
    assert larger.activations == pytest.approx(4 * plan.activations, rel=0.1)
    assert memory_plan(network, 64, 4, precision="bfloat16").image < 0.7 * plan.image


def test_measuring_leaves_no_trace(network: nn.Module) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.eval()
    generator = torch.get_rng_state()
    memory_plan(network, 64, 4)
    assert not network.training
    assert torch.equal(torch.get_rng_state(), generator)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_table_adds_up(plan: MemoryPlan) -> None:
    lines = plan.text.splitlines()
    assert lines[0] == "memory for 4 images of 64 px, float32, cpu"
    assert [line.split("  ")[1].strip() for line in lines[1:]] == [
        "weights", "gradients", "optimizer", "averaged weights", "activations", "total", "free",
    ]  # fmt: skip
    assert f"{plan.total / 1e6:,.0f} MB" in lines[6]


def made(free: int | None) -> MemoryPlan:
    """100 bytes of state, and 12 for each image."""
    return MemoryPlan(1, 64, "float32", "cpu", 40, 20, 20, 15, 5, 8, 2, free)


@pytest.mark.parametrize(
    ("free", "images", "cap", "batch"),
    [
        (10**6, 1000, 64, 64),
        (10**6, 1000, 32, 32),
        (10**6, 50, 64, 32),
        (10**6, 1, 64, 1),
        (365, 1000, 64, 16),  # 0.8 * 365 = 100 + 16 * 12
        (364, 1000, 64, 8),
        (None, 1000, 64, 64),
    ],
)
def test_the_largest_batch(free: int | None, images: int, cap: int, batch: int) -> None:
    assert largest_batch(made(free), images, cap) == batch


def test_not_one_image_fits() -> None:
    with pytest.raises(ConfigError, match=r"one image of 64 px takes .*lower train.image_size"):
        largest_batch(made(100), 10)
    with pytest.raises(ConfigError, match="no images"):
        largest_batch(made(10**6), 0)


def system(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, "ascii")
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemFree: 100 kB\nMemAvailable:    5000 kB\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MEMINFO, 5000 * 1024),
        (
            MEMINFO
            | {
                "proc/self/cgroup": "0::/user/job\n",
                "sys/fs/cgroup/user/memory.max": "3000\n",
                "sys/fs/cgroup/user/memory.current": "2000\n",
                "sys/fs/cgroup/user/memory.stat": "anon 1500\ninactive_file 500\n",
                "sys/fs/cgroup/user/job/memory.max": "max\n",
                "sys/fs/cgroup/user/job/memory.current": "1000\n",
            },
            1500,
        ),
        (
            MEMINFO
            | {
                "proc/self/cgroup": "5:cpu:/\n3:hugetlb,memory:/docker/abc\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "4000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1500\n",
            },
            2500,
        ),
        (
            MEMINFO
            | {
                "proc/self/cgroup": "3:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1500\n",
            },
            5000 * 1024,
        ),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": "100\n",
                "sys/fs/cgroup/memory.current": "200\n",
            },
            0,
        ),
    ],
)
def test_free_memory_heeds_containers(
    files: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    assert free_memory(torch.device("cpu"), system(tmp_path, files)) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say")
def test_this_machine_says_how_much_is_free() -> None:
    free = free_memory(torch.device("cpu"))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert free is not None and 0 < free < total


def explained(error: BaseException, **settings: int) -> str | None:
    numbers = {"batch_size": 64, "image_size": 512, "accumulate": 1, "workers": 8, **settings}
    return explain_out_of_memory(error, **numbers)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate "
                     "memory: you tried to allocate 40000000000 bytes. Error code 12"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.63 GB)"),
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
    ],
)  # fmt: skip
def test_allocators_lead_to_smaller_steps(error: BaseException) -> None:
    text = explained(error)
    assert text is not None and text.startswith("out of memory: 64 images of 512 px at once")
    assert "train.accumulate=2 (now 1: 32 at once" in text
    assert "train.batch_size=32 (now 64)" in text
    assert "train.image_size=384" in text


def test_a_real_failed_allocation_is_explained() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert explained(caught.value) is not None


def test_one_image_at_a_time_leaves_only_its_size() -> None:
    text = explained(MemoryError(), batch_size=8, accumulate=4, processes=2)
    assert text == (
        "out of memory: one image of 512 px at once does not fit; set train.image_size=384 "
        "(now 512), or choose a smaller encoder"
    )


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible "
                      "that dataloader's workers are out of shared memory."), "--shm-size"),
        (RuntimeError("unable to write to file </torch_12_3>: No space left on device (28)"),
         "--shm-size"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "was killed"),
        (MemoryError("Caught MemoryError in DataLoader worker process 0."), "was killed"),
    ],
)  # fmt: skip
def test_loader_processes_lead_to_fewer_of_them(error: BaseException, cause: str) -> None:
    text = explained(error)
    assert text is not None and "train.workers=4 (now 8)" in text and cause in text


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shape '[2]' is invalid for input of size 3"),
        RuntimeError("Caught ValueError in DataLoader worker process 0."),
        ValueError("not enough memory"),
        FileNotFoundError(2, "No such file"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_are_left_alone(error: BaseException) -> None:
    assert explained(error) is None

"""Joint pyramid upsampling against the dilated network that it replaces, forward pass only.

    python benchmarks/jpu.py [--device cuda] [--precision bfloat16] [--head encnet] [--json FILE]

FastFCN over an encoder at stride 32 with its JPU, and the same encoder dilated to stride 8 with the
same head, both of this package, with fresh weights (speed does not depend on them): one image of
512x512, both made ready as for prediction (folded, fused, channels-last), float32 without TF32
unless another precision is asked for. Both are warmed; then they take turns, and the best of each
counts. Targets: 2.0 over ResNet-50 and 2.5 over ResNet-101. The README of the original code reports
of EncNet on a GPU, frames per second with the JPU over those without, 2.0 (37.56 / 18.77) and 3.0
(32.02 / 10.51).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from _timing import report

from vitrail.models.base import SemanticModel
from vitrail.models.registry import build
from vitrail.predict.ready import make_ready
from vitrail.weights.card import Preprocessing

TARGETS = {"resnet50": 2.0, "resnet101": 2.5}
CLASSES = 59
"""Of PASCAL Context, on which the paper measures."""


def best_of(
    runs: tuple[Callable[[], object], ...], repeats: int, warmup: int, device: torch.device
) -> list[float]:
    """Least seconds of each callable; they take turns, and a device's queue is waited for."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(warmup):
        for run in runs:
            run()
    wait()
    best = [float("inf")] * len(runs)
    for _ in range(repeats):
        for index, run in enumerate(runs):
            start = perf_counter()
            run()
            wait()
            best[index] = min(best[index], perf_counter() - start)
    return best


def measure(encoder: str, options: argparse.Namespace) -> dict[str, object]:
    """Time one encoder both ways and print the outcome."""
    device = torch.device(options.device)
    fed = Preprocessing.model_validate({"image_size": options.size})
    models = []
    for upsampling in ("jpu", "dilated"):
        torch.manual_seed(0)
        arguments = {"encoder": encoder, "upsampling": upsampling, "head": options.head}
        model = build("fastfcn", {**arguments, "classes": CLASSES})
        assert isinstance(model, SemanticModel)
        models.append(make_ready(model, fed, device=device, precision=options.precision))
    images = torch.randn(1, 3, options.size, options.size, device=device)
    with torch.inference_mode():
        jpu, dilated = best_of(
            tuple(lambda model=model: model(images) for model in models),
            options.repeats,
            options.warmup,
            device,
        )
    size = f"{options.size}x{options.size}"
    title = f"{encoder}, {options.head} head, {size}, {options.precision}, {device}"
    target = TARGETS[encoder]
    met = report(title, jpu * 1e3, dilated * 1e3, target, unit="ms")
    return {
        "encoder": encoder,
        "head": options.head,
        "size_px": options.size,
        "precision": options.precision,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "repeats": options.repeats,
        "jpu_ms": jpu * 1e3,
        "dilated_ms": dilated * 1e3,
        "ratio": dilated / jpu,
        "target": target,
        "met": met,
    }


def main() -> bool:
    parser = argparse.ArgumentParser(description="JPU against a dilated encoder")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--head", default="encnet", choices=["fcn", "psp", "aspp", "encnet"])
    parser.add_argument("--encoders", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--size", type=int, default=512, help="side of the image, px")
    parser.add_argument("--repeats", type=int, default=10, help="of each; the best counts")
    parser.add_argument("--warmup", type=int, default=3, help="runs of each that do not count")
    parser.add_argument("--json", type=Path, help="where to write the numbers, if anywhere")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.device}")
    results = [measure(encoder, options) for encoder in options.encoders]
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return all(result["met"] for result in results)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)

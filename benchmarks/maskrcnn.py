"""Mask R-CNN: time and memory from photograph to RLE, against torchvision's.

    python benchmarks/maskrcnn.py [--quick] [--only speed memory matterport] [--json FILE]

All on the CPU. The weights are drawn, seeded, scaled so that about a hundred objects come, and the
same on both sides. Ours is ``vitrail.predict.instances.InstanceNetwork``: uint8 picture in, RLE of
every object out. The peer is torchvision's eager float32 model on a tensor that is made already,
its masks thresholded and encoded by pycocotools.

speed: ResNet-50-FPN, a photograph of 800x1067; both are warmed, then take turns, and the best of
each counts. Targets: ours in float32 1.3x as fast, and in bfloat16, where the CPU has instructions
for it, 4x.

memory: largest resident size of a process of its own for each, on a photograph of 4000x4000.
Target: torchvision's is 8x ours.

matterport: the ResNet-101 family at 1024x1024, in the number format that ``auto`` picks. Target: a
third of the 3.2 s that the TensorFlow original takes on two cores.

``--quick`` is a small form that shows that all of it runs; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _rcnn import as_tensor, card, draw_weights, photo, torchvision_network
from _timing import report
from jpu import best_of
from pycocotools import mask as coco_mask
from torchvision.models.detection import MaskRCNN

import vitrail
from vitrail.image import Image
from vitrail.models.registry import build
from vitrail.predict.device import Precision, cpu_has_bfloat16
from vitrail.predict.engines import engine_for
from vitrail.predict.inputs import Inputs
from vitrail.predict.instances import InstanceNetwork
from vitrail.weights.files import load_state, write_checkpoint
from vitrail.weights.importers.torchvision_detection import from_torchvision_detection

TARGETS: dict[Precision, float] = {"float32": 1.3, "bfloat16": 4.0}
LESS_MEMORY = 8.0
ORIGINAL_S = 3.2
"""A 1024x1024 image through matterport's ResNet-101 model under TensorFlow, on two cores."""
FASTER = 3.0
SAME_NETWORK = 0.95
"""Least share of the peer's boxes that we find to 1 px; below it, they are two networks."""
CPU = torch.device("cpu")


def engine(model: torch.nn.Module, its_card, precision: Precision) -> InstanceNetwork:
    ready = engine_for(model, its_card, device=CPU, precision=precision)  # pyright: ignore
    assert isinstance(ready, InstanceNetwork)
    return ready


def peer_rle(network: MaskRCNN, tensor: torch.Tensor) -> Sequence[Mapping]:
    """What a user of torchvision writes to get its objects as RLE."""
    with torch.inference_mode():
        masks = network([tensor])[0]["masks"]
    found = (masks[:, 0] > 0.5).numpy().view(np.uint8)
    return coco_mask.encode(np.asfortranarray(found.transpose(1, 2, 0)))  # pyright: ignore


def speed(options: argparse.Namespace) -> list[dict[str, object]]:
    """Time both on one photograph, and print the outcome."""
    side, width = (256, 341) if options.quick else (800, 1067)
    picture = photo(side, width)
    tensor = as_tensor(picture)
    theirs = torchvision_network(side)
    draw_weights(theirs, lambda: theirs([tensor]))
    its_card = card("torchvision", side)
    model = build(its_card.architecture, its_card.arguments).eval()
    load_state(model, from_torchvision_detection(theirs.state_dict()), Path("torchvision"))
    formats: list[Precision] = [p for p in TARGETS if p == "float32" or cpu_has_bfloat16()]
    networks = [engine(model, its_card, precision) for precision in formats]
    with torch.inference_mode():
        expected = theirs([tensor])[0]["boxes"].numpy()
    boxes = [network(Image(picture)).boxes for network in networks]
    shares = [_share_found(expected, found) for found in boxes]
    if shares[0] < SAME_NETWORK:
        raise SystemExit(f"{shares[0]:.1%} of torchvision's boxes are ours; other networks")
    runs = [lambda net=network: net(Image(picture)).masks.rle() for network in networks]
    *ours, peer = best_of(
        (*runs, lambda: peer_rle(theirs, tensor)), options.repeats, options.warmup, CPU
    )
    rows: list[dict[str, object]] = []
    for precision, seconds, found, share in zip(formats, ours, boxes, shares, strict=True):
        title = f"ResNet-50-FPN, {side}x{width}, {len(found)} objects as RLE, {precision}"
        met = report(title, seconds * 1e3, peer * 1e3, TARGETS[precision], unit="ms")
        print(f"  {share:.0%} of torchvision's {len(expected)} boxes to 1 px", flush=True)
        row = {"what": f"speed, {precision}", "ours_ms": seconds * 1e3, "peer_ms": peer * 1e3}
        rows.append(row | {"objects": len(found), "boxes_equal": share, "met": met})
    return rows


def memory(options: argparse.Namespace) -> list[dict[str, object]]:
    """Peak memory of both on one large photograph, each in a process of its own."""
    side, large = (256, 1000) if options.quick else (800, 4000)
    theirs, tensor = torchvision_network(side), as_tensor(photo(side, side))
    draw_weights(theirs, lambda: theirs([tensor]))
    its_card = card("torchvision", side)
    model = build(its_card.architecture, its_card.arguments)
    load_state(model, from_torchvision_detection(theirs.state_dict()), Path("torchvision"))
    peaks: dict[str, tuple[float, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder) / "ours.safetensors", model, its_card)
        torch.save(theirs.state_dict(), Path(folder) / "theirs.pth")
        for whose in ("ours", "theirs"):
            command = [sys.executable, __file__, "--process", whose, folder, str(side), str(large)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peak, count = json.loads(done.stdout.splitlines()[-1])
            peaks[whose] = (peak / 1e6, count)
    (ours, ours_count), (peer, peer_count) = peaks["ours"], peaks["theirs"]
    title = f"peak memory, {large}x{large}, {ours_count} objects (torchvision {peer_count}) as RLE"
    met = report(title, ours, peer, LESS_MEMORY, unit="MB")
    return [{"what": "memory", "ours_mb": ours, "peer_mb": peer, "objects": ours_count, "met": met}]


def one_process(whose: str, folder: Path, side: int, large: int) -> None:
    """Predict one large photograph, and print this process's largest size and the objects."""
    picture = photo(large, large)
    if whose == "ours":
        segmenter = vitrail.load(folder / "ours.safetensors", device="cpu")
        found = segmenter(picture).masks.rle()  # pyright: ignore
    else:
        network = torchvision_network(side)
        network.load_state_dict(torch.load(folder / "theirs.pth", weights_only=True))
        found = peer_rle(network, as_tensor(picture))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([used * (1 if sys.platform == "darwin" else 1024), len(found)]))


def matterport(options: argparse.Namespace) -> list[dict[str, object]]:
    """Time the family of the original on the original's size of image."""
    side, encoder = (256, "resnet50") if options.quick else (1024, "resnet101")
    its_card = card("matterport", side, encoder=encoder)
    model = build(its_card.architecture, its_card.arguments).eval()
    picture = photo(side, side)
    inputs = Inputs(its_card.preprocessing, model.stride)
    (_, batch, frames), *_ = inputs.batches([Image(picture)])
    draw_weights(model, lambda: model.decode(model(batch), frames))  # pyright: ignore
    precision: Precision = "bfloat16" if cpu_has_bfloat16() else "float32"
    network = engine(model, its_card, precision)
    count = len(network(Image(picture)))
    (seconds,) = best_of(
        (lambda: network(Image(picture)).masks.rle(),), options.repeats, options.warmup, CPU
    )
    title = f"matterport's {encoder}, {side}x{side}, {count} objects as RLE, {precision}; peer: TF"
    met = report(title, seconds, ORIGINAL_S, FASTER)
    return [{"what": "matterport", "ours_s": seconds, "objects": count, "met": met}]


def _share_found(expected: np.ndarray, found: np.ndarray) -> float:
    """Share of the expected boxes ``(N, 4)`` that are among the found ones, to 1 px."""
    if not len(expected) or not len(found):
        return float(len(expected) == len(found))
    apart = np.abs(expected[:, None] - found[None]).max(2)
    return float((apart.min(1) < 1).mean())


PARTS = {"speed": speed, "memory": memory, "matterport": matterport}


def main() -> bool:
    parser = argparse.ArgumentParser(description="Mask R-CNN against torchvision's")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=PARTS, metavar="PART")
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--repeats", type=int, default=5, help="of each; the best counts")
    parser.add_argument("--warmup", type=int, default=2, help="runs of each that do not count")
    parser.add_argument("--json", type=Path, help="where to write the numbers, if anywhere")
    options = parser.parse_args()
    if options.quick:
        options.repeats = options.warmup = 1
    libraries = ("torch", "torchvision", "pycocotools")
    names = [f"{library} {version(library)}" for library in libraries]
    print(", ".join(names) + f", {torch.get_num_threads()} threads")
    if not cpu_has_bfloat16():
        print("bfloat16 is not timed: this CPU has no instructions for it")
    rows = [row for part in options.only for row in PARTS[part](options)]
    missed = [str(row["what"]) for row in rows if not row["met"]]
    print(f"missed: {', '.join(missed)}" if missed else "all targets were met")
    if options.json is not None:
        content = {"versions": names, "threads": torch.get_num_threads(), "rows": rows}
        options.json.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return not missed


if __name__ == "__main__":
    if sys.argv[1:2] == ["--process"]:
        whose, folder, side, large = sys.argv[2:]
        one_process(whose, Path(folder), int(side), int(large))
        sys.exit(0)
    sys.exit(0 if main() else 1)

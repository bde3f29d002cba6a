"""Images/s of the training loader against a plain torchvision v2 pipeline, in one run.

    python benchmarks/loader.py
    python benchmarks/loader.py --root DATASET --images train/images --masks train/masks

Both do the default augmentation (scale jitter, rotation, crop, flip, colour jitter, grey) on the
same files, in batches of 16, with the same number of worker processes. The plain pipeline is what
one would write with torchvision alone: Pillow decodes, v2 does the rest. The pictures are drawn
here (photographs of scikit-image, cut and resized), unless a folder of index masks is named.

What is judged is the CPU time that a worker spends on an image: other programs, and the network
that trains on the same cores, take it from each other.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import PIL.Image
import torch
from _timing import report
from skimage import data
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import tv_tensors
from torchvision.transforms import v2

from vitrail.data.augment import AugmentConfig, build_augmentation
from vitrail.data.formats.index_masks import IndexMasks
from vitrail.data.sample import LabelSpace
from vitrail.data.sampler import ResumableSampler
from vitrail.data.transforms import TrainingSet

BATCH = 16


def draw(root: Path, number: int, long_side: int) -> None:
    """JPEG photographs and PNG labels of three classes, as most sets of photographs store them."""
    photos = [load() for load in (data.astronaut, data.coffee, data.chelsea, data.rocket)]
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    size = (long_side, long_side * 3 // 4)
    for index in range(number):
        photo = photos[index % len(photos)]
        height, width = photo.shape[:2]
        y, x = int(rng.integers(height // 4)), int(rng.integers(width // 4))
        part = cv2.resize(photo[y:, x:], size, interpolation=cv2.INTER_AREA)
        labels = np.zeros(size[::-1], np.uint8)
        for class_id in (1, 2):
            centre = int(rng.integers(size[0])), int(rng.integers(size[1]))
            cv2.circle(labels, centre, int(rng.integers(20, long_side // 3)), class_id, -1)
        cv2.imwrite(str(root / "images" / f"{index:04d}.jpg"), part[..., ::-1])
        cv2.imwrite(str(root / "masks" / f"{index:04d}.png"), labels)


class Plain(Dataset):
    """The plain pipeline; whole images are resized, since v2 knows no jitter of the long side."""

    def __init__(self, images: Path, masks: Path, config: AugmentConfig, size: int) -> None:
        self.images, self.masks = sorted(images.glob("*.jpg")), sorted(masks.glob("*.png"))
        fill: Any = {tv_tensors.Image: 0, tv_tensors.Mask: 255}
        strength = config.colour
        self.transform = v2.Compose(
            [
                v2.ScaleJitter((size, size), config.scale),
                v2.RandomApply(
                    [
                        v2.RandomRotation(
                            [-config.rotate, config.rotate],
                            v2.InterpolationMode.BILINEAR,
                            fill=fill,
                        )
                    ],
                    config.rotate_probability,
                ),
                v2.RandomCrop(size, pad_if_needed=True, fill=fill),
                v2.RandomHorizontalFlip(config.flip),
                v2.ColorJitter(strength, strength, strength, strength / 5),
                v2.RandomGrayscale(config.grey),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = v2.functional.pil_to_tensor(PIL.Image.open(self.images[index]).convert("RGB"))
        mask = torch.from_numpy(np.array(PIL.Image.open(self.masks[index])))
        return self.transform(tv_tensors.Image(image), tv_tensors.Mask(mask))


def speed(loader: DataLoader, passes: int) -> tuple[float, float]:
    """Images/s after the first batch, and CPU seconds of the worker processes for an image."""
    best, spent = 0.0, []
    for _ in range(passes):
        before = os.times()
        batches = iter(loader)
        images = len(next(batches)[0])
        start, first = perf_counter(), images
        for batch in batches:
            images += len(batch[0])
        best = max(best, (images - first) / (perf_counter() - start))
        after = os.times()  # at its end, a pass has waited for its workers
        used = after.children_user + after.children_system
        used -= before.children_user + before.children_system
        spent.append(used / images)
    return best, min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description="the training loader against plain torchvision")
    parser.add_argument("--root", type=Path, help="folder of a set of index masks")
    parser.add_argument("--images", default="images", help="folder of the images, in the root")
    parser.add_argument("--masks", default="masks", help="folder of the masks, in the root")
    parser.add_argument("--number", type=int, default=480, help="most images a pass")
    parser.add_argument("--long-side", type=int, default=640, help="of the drawn pictures, px")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--passes", type=int, default=2, help="the fastest counts")
    options = parser.parse_args()
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as scratch:
        root = options.root
        if root is None:
            root = Path(scratch)
            draw(root, options.number, options.long_side)
        classes = tuple(f"class {n}" for n in range(255))
        folders = root / options.images, root / options.masks
        for size in (128, 224):
            compare(*folders, LabelSpace(classes, 0, 255), size, options)


def compare(
    images: Path, masks: Path, space: LabelSpace, size: int, options: argparse.Namespace
) -> None:
    """Time both loaders in turn, and print what they came to."""
    config, workers, passes = AugmentConfig(), options.workers, options.passes
    source = IndexMasks(images, masks, space)
    order = range(min(options.number, len(source)))
    augmentation = build_augmentation(config, size, space, "labels")
    shown = TrainingSet(source, augmentation, order=order)
    ours = DataLoader(shown, batch_sampler=ResumableSampler(len(shown), BATCH), num_workers=workers)
    plain = DataLoader(
        Subset(Plain(images, masks, config, size), order),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
    )
    our_speed, our_cpu = speed(ours, passes)
    plain_speed, plain_cpu = speed(plain, passes)
    report(
        f"loader, {size} px, {workers} workers, {len(shown)} images: CPU time an image",
        1e3 * our_cpu,
        1e3 * plain_cpu,
        1.5,
        unit="ms",
    )
    print(f"  images/s: ours {our_speed:.0f}   plain torchvision {plain_speed:.0f}")


if __name__ == "__main__":
    main()

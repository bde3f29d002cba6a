"""``vitrail models fetch`` and ``vitrail models import``: weights that others have made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Published models, from the list.")
    ],
) -> None:
    """Download the weights of published models ahead of their first use.

    They go to the cache folder (`vitrail doctor` names it; VITRAIL_CACHE sets it). What has come
    of an interrupted download is kept, and the rest fetched the next time.
    """
    from vitrail.cli.progress import download_progress
    from vitrail.errors import UnknownNameError
    from vitrail.predict.segmenter import METHODS
    from vitrail.weights.catalog import ALIASES, catalog, find
    from vitrail.weights.store import obtain

    entries = [find(name) for name in names]
    for name, entry in zip(names, entries, strict=True):
        if entry is None and name not in METHODS:
            raise UnknownNameError("model with weights", name, [*catalog(), *ALIASES])
    try:
        for name, entry in zip(names, entries, strict=True):
            if entry is None:
                print(f"{name}: a classical method, works without weights; nothing to fetch")
                continue
            if entry.packaged is not None:
                print(f"{name}: ships with vitrail, nothing to fetch")
                continue
            with download_progress() as tell:
                path = obtain(entry.card, progress=tell)
            print(f"{entry.card.name}: {path}; weights: {entry.card.licences.weights}")
    except KeyboardInterrupt as stop:
        stop.args = (
            "interrupted; what has come is kept: run the same command again to go on from there",
        )
        raise


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .pth or .safetensors file with a network's state, a folder of "
            "save_pretrained, or a .h5 file of matterport's Mask R-CNN.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    architecture: Annotated[
        str,
        typer.Option(
            help="As segmentation_models.pytorch (Unet, FPN, PSPNet, DeepLabV3, DeepLabV3Plus) or "
            "torchvision (fcn_resnet50, deeplabv3_resnet101, maskrcnn_resnet50_fpn_v2, ...) "
            "or detectron2 (mask_rcnn_R_50_FPN) calls it; a folder of save_pretrained says it "
            "itself."
        ),
    ] = "",
    encoder: Annotated[
        str,
        typer.Option(help="As smp calls it: resnet34, mobilenet_v2, tu-NAME of any timm network."),
    ] = "",
    classes: Annotated[
        str,
        typer.Option(
            help="Names in the order of the training, with commas; or how many, if unknown. A .h5 "
            "file of eighty classes has COCO's by itself."
        ),
    ] = "",
    image_size: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Side (px) that the network was trained for; by default 512. Of a .h5 file "
            "IMAGE_MAX_DIM, by default 1024.",
            show_default=False,
        ),
    ] = None,
    min_side: Annotated[
        int, typer.Option(min=16, help="Of a .h5 file alone: IMAGE_MIN_DIM, px.")
    ] = 800,
    anchor_sizes: Annotated[
        str, typer.Option(help="Of a .h5 file alone: RPN_ANCHOR_SCALES, px.")
    ] = "32,64,128,256,512",
    resize: Annotated[
        str, typer.Option(help="Which side becomes that: long-side, short-side, or stretch (both).")
    ] = "long-side",
    mean: Annotated[
        str, typer.Option(help="Per band, of values in 0..1; default for RGB: ImageNet's.")
    ] = "",
    std: Annotated[str, typer.Option(help="Likewise.")] = "",
) -> None:
    """Make a checkpoint of smp, torchvision, detectron2 or matterport one of vitrail's.

    Only tensors are read: a pickle that asks for more is refused, and no code in it runs.
    """
    from vitrail.errors import ParameterError
    from vitrail.weights.importers.adopt import NOT_RGB, import_checkpoint
    from vitrail.weights.importers.adopt_detector import DETECTORS, import_detector
    from vitrail.weights.importers.adopt_matterport import SUFFIXES, import_matterport
    from vitrail.weights.importers.adopted import ClassNames

    if out.suffix != ".safetensors":
        raise ParameterError(f"--out {out}: expected a name that ends in .safetensors")
    if bool(mean) != bool(std):
        raise ParameterError("--mean and --std: give both, or neither")
    if file.suffix.lower() in SUFFIXES:
        if architecture or encoder:
            raise ParameterError(f"{file}: a .h5 file says itself what it is; leave out the names")
        card = import_matterport(
            file,
            out,
            ClassNames.parse(classes),
            image_size=image_size or 1024,
            min_side=min_side,
            anchor_sizes=_numbers("--anchor-sizes", anchor_sizes) or (),
            mean=_numbers("--mean", mean),
            std=_numbers("--std", std),
        )
    elif architecture in DETECTORS:
        if encoder:
            raise ParameterError(f"--encoder {encoder}: {architecture} says it already")
        if resize != "long-side":
            raise ParameterError(f"--resize {resize}: a detector is fed by its short side")
        card = import_detector(
            file,
            out,
            ClassNames.parse(classes),
            architecture,
            image_size=image_size,
            mean=_numbers("--mean", mean),
            std=_numbers("--std", std),
        )
    else:
        card = import_checkpoint(
            file,
            out,
            ClassNames.parse(classes),
            architecture=architecture,
            encoder=encoder,
            image_size=image_size or 512,
            resize=resize,
            mean=_numbers("--mean", mean),
            std=_numbers("--std", std),
        )
    used = card.preprocessing
    print(f"{file} -> {out}: {card.architecture}, classes {', '.join(card.classes)}")
    print(
        f"fed with {used.resize} {used.image_size} px, mean {_text(used.mean)}, std "
        f"{_text(used.std)}"
        + ("" if mean else " (assumed; --mean and --std if it was trained with others)"),
        file=sys.stderr,
    )
    if len(used.mean) != 3:
        print(f"{out}: {NOT_RGB.format(bands=len(used.mean))}", file=sys.stderr)


def _numbers(option: str, text: str) -> tuple[float, ...] | None:
    """Numbers with commas between; None of nothing."""
    from vitrail.errors import ParameterError

    try:
        return tuple(float(part) for part in text.split(",")) if text else None
    except ValueError:
        raise ParameterError(f"{option} {text}: expected numbers with commas between") from None


def _text(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)

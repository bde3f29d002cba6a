"""The one path: a name, its parameters, an image in, a result out."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from vitrail.classical import METHODS
from vitrail.errors import ParameterError, UnknownNameError, VitrailError, WeightsError
from vitrail.image import Image, ImageSource, find_sources, read_image
from vitrail.predict.faults import fault_of
from vitrail.predict.names import check_names
from vitrail.predict.network_params import parse_params
from vitrail.result import Result
from vitrail.weights.card import Card
from vitrail.weights.catalog import ALIASES, catalog, find
from vitrail.weights.store import is_stored

if TYPE_CHECKING:
    import numpy as np

OnError: TypeAlias = Callable[[str, VitrailError], None]
"""Called with an image's name and what was wrong with it."""

OnLogits: TypeAlias = "Callable[[Image, np.ndarray], None]"
"""Called with an image and its logits, ``(classes, h, w)`` float32 at the size the network saw."""


class Engine(Protocol):
    """What does the work behind a segmenter: a classical method or a network."""

    def __call__(self, image: Image) -> Result: ...


@runtime_checkable
class BatchEngine(Engine, Protocol):
    """One that takes several images at a time: a network."""

    def batch(
        self, images: Sequence[Image], on_logits: OnLogits | None = None
    ) -> Sequence[Result]: ...


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A line of ``list_models``."""

    name: str
    kind: Literal["classical", "network"]
    summary: str
    classes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    download: int = 0
    """Bytes to fetch before its first use; 0 where the weights ship in the package."""
    stored: bool = True
    """Whether it can be used without fetching anything."""
    licence: str = ""
    """Of its weights."""


class Segmenter:
    """Any method or network behind one call; made by :func:`load`.

    Attributes
    ----------
    name:
        What it was loaded as.
    engine:
        The method with its parameters, or the network.
    card:
        The network's card; None for a classical method.
    """

    def __init__(self, name: str, engine: Engine, card: Card | None = None) -> None:
        self.name, self.engine, self.card = name, engine, card

    def __repr__(self) -> str:
        return f"Segmenter({self.name!r})"

    def __call__(self, image: ImageSource) -> Result:
        """Segment one image: a path, URL, PIL image, array ``(H, W[, C])``, tensor ``(C, H, W)``.

        The result has the image's own size.

        Raises
        ------
        SourceError, ImageError
            the image cannot be found or read.
        ParameterError
            a parameter does not fit this image (a prompt outside it, say).
        """
        return self.engine(read_image(image))

    def predict(
        self,
        sources: ImageSource | Iterable[ImageSource],
        *,
        batch_size: int = 1,
        on_error: OnError | None = None,
        on_logits: OnLogits | None = None,
    ) -> Iterator[Result]:
        """Segment many images, one result each, in order, holding ``batch_size`` at a time.

        Parameters
        ----------
        sources:
            One source or several; folders and patterns among them stand for the images inside.
        batch_size:
            Images that go through a network together; a result never depends on it.
        on_error:
            Called for an image that cannot be read or segmented, which is then left out; without
            it, the first such image raises.
        on_logits:
            Called by a network with what an image's result is decoded from, before the result;
            classical methods and networks that find objects have none.

        Raises
        ------
        SourceError
            at once, when a path does not exist, or a folder or pattern holds no image (unless
            ``on_error`` takes it).
        """
        if batch_size < 1:
            raise ParameterError(f"batch_size={batch_size}: expected at least 1")
        return self._predict(_expand(sources, on_error), batch_size, on_error, on_logits)

    def _predict(
        self,
        sources: Iterable[ImageSource],
        size: int,
        on_error: OnError | None,
        on_logits: OnLogits | None,
    ) -> Iterator[Result]:
        pending = iter(sources)
        while chunk := list(itertools.islice(pending, size)):
            images: list[Image] = []
            for source in chunk:
                try:
                    images.append(read_image(source))
                except Exception as error:
                    _report(source, error, on_error)
            if isinstance(self.engine, BatchEngine):
                yield from self._together(images, on_error, on_logits)
            else:
                yield from self._alone(images, on_error)

    def _alone(self, images: Sequence[Image], on_error: OnError | None) -> Iterator[Result]:
        for image in images:
            try:
                result = self.engine(image)
            except Exception as error:
                _report(image, error, on_error)
            else:
                yield result

    def _together(
        self, images: Sequence[Image], on_error: OnError | None, on_logits: OnLogits | None
    ) -> Iterator[Result]:
        assert isinstance(self.engine, BatchEngine)
        results: Sequence[Result] = ()
        try:
            results = self.engine.batch(images, on_logits)
            parts: Sequence[Sequence[Image]] = ()
        except Exception as error:
            if len(images) == 1 or fault_of(error) is None:
                _report(images[0], error, on_error)
                parts = ()
            else:  # one image's fault is not the others'
                parts = [[image] for image in images]
        yield from results
        for part in parts:
            yield from self._together(part, on_error, on_logits)


def load(
    name: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    **params: object,
) -> Segmenter:
    """A segmenter by name, or from a ``.safetensors`` file that holds its card.

    Parameters
    ----------
    name:
        A classical method (``"kmeans"``), a packaged model (``"subjects"``), a published one
        (``"deeplabv3-resnet50-coco"``), or the path of a checkpoint. :func:`list_models` lists the
        names. Published weights are downloaded when they are first loaded, which a line on stderr
        says, unless the environment has ``VITRAIL_OFFLINE=1``.
    weights:
        A local checkpoint whose tensors replace those of the named network; for a published
        model also the file as it is published. Nothing is downloaded then.
    device:
        ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``. Classical
        methods run on the CPU.
    precision:
        ``float32`` for exact parity, ``bfloat16``, ``float16``, or ``auto``: the fastest that
        the device does well.
    params:
        The method's own parameters, such as ``k=3``; for networks ``image_size`` and ``flip``, and
        either ``scales`` and ``refine="crf"`` with ``crf={"theta_beta": 5}`` or, where they find
        objects, ``score_threshold``, ``nms``, ``max_detections`` and ``mask_threshold``
        (:mod:`vitrail.predict.network_params`).

    Raises
    ------
    UnknownNameError
        nothing has that name; the message offers the nearest.
    ParameterError
        a parameter is unknown, of the wrong type or out of range.
    WeightsError
        the checkpoint is damaged, is a pickle, or does not fit.
    SourceError
        published weights are not here and cannot be downloaded.
    """
    text = os.fspath(name)
    if text in METHODS:
        if weights is not None:
            raise ParameterError(f"{text} is a classical method and takes no weights")
        check_names(device, precision)
        return Segmenter(text, METHODS[text].from_params(params))
    entry = find(text)
    if entry is not None:
        from vitrail.predict.engines import params_of

        parse_params(text, params_of(entry.card), params)  # before anything is downloaded
        # With weights of the user's own, only the card is needed.
        checkpoint = entry.card if weights is not None else entry.obtain()
        return _load_network(text, checkpoint, weights, device, precision, params)
    path = Path(text)
    if path.suffix or path.parent != Path():  # a path: names have neither dot nor folder
        return _load_network(path.name, path, weights, device, precision, params)
    raise UnknownNameError("model", text, known_names())


def list_models() -> list[ModelInfo]:
    """Everything that :func:`load` takes by name: networks, then classical methods."""
    networks = [
        ModelInfo(
            name,
            "network",
            entry.card.summary,
            entry.card.classes,
            tuple(alias for alias, target in ALIASES.items() if target == name),
            entry.card.download.size if entry.card.download else 0,
            entry.packaged is not None or is_stored(entry.card),
            entry.card.licences.weights,
        )
        for name, entry in catalog().items()
    ]
    return networks + [
        ModelInfo(name, "classical", method.summary) for name, method in METHODS.items()
    ]


def known_names() -> list[str]:
    """All names and aliases that :func:`load` takes."""
    return [*METHODS, *catalog(), *ALIASES]


def _load_network(
    name: str,
    checkpoint: Path | Card,
    weights: str | os.PathLike[str] | None,
    device: str,
    precision: str,
    params: dict[str, object],
) -> Segmenter:
    # Here and not above: classical methods must not wait for torch and timm.
    from vitrail.models.registry import build
    from vitrail.predict.device import pick_device, pick_precision
    from vitrail.predict.engines import engine_for, params_of
    from vitrail.weights.files import load_state
    from vitrail.weights.header import read_card
    from vitrail.weights.importers import tensors_for

    where = pick_device(device)
    number_format = pick_precision(precision, where)
    card = checkpoint if isinstance(checkpoint, Card) else read_card(checkpoint)
    settings = parse_params(name, params_of(card), params)
    told = name if isinstance(checkpoint, Card) else checkpoint
    source = Path(weights) if weights is not None else checkpoint
    assert isinstance(source, Path)  # a card alone comes with weights
    try:
        tensors = tensors_for(card, source)  # nothing is allocated for a card that asks too much
        model = build(card.architecture, card.arguments)
    except WeightsError:
        raise
    except VitrailError as error:
        raise WeightsError(f"{told}: its card describes no network we know: {error}") from None
    bands = len(card.preprocessing.mean)
    if model.classes != len(card.classes) or bands != card.arguments.get("in_channels", 3):
        raise WeightsError(
            f"{told}: its card contradicts itself: {len(card.classes)} class names for "
            f"{model.classes} classes, {bands} bands of preprocessing for "
            f"{card.arguments.get('in_channels', 3)}"
        )
    load_state(model, tensors, source)
    del tensors  # the network has its own, and is copied now
    engine = engine_for(model, card, device=where, precision=number_format, params=settings)
    return Segmenter(name, engine, card)


def _expand(
    sources: ImageSource | Iterable[ImageSource], on_error: OnError | None
) -> Iterable[ImageSource]:
    """One flat sequence of sources. Paths are checked and folders opened now, not later, unless
    they come out of an iterator, which is read only as far as results are asked for.
    """
    if not _is_many(sources):
        sources = [sources]  # pyright: ignore[reportAssignmentType]
    if isinstance(sources, Iterator):
        return _flatten(sources, on_error)
    items = list(sources)  # pyright: ignore[reportArgumentType]
    flat = list(_flatten(items, on_error))
    if flat and all(isinstance(item, str | os.PathLike) for item in items):
        # Seen together, a file named twice counts once, and our own outputs are not inputs.
        return list(find_sources(flat))  # pyright: ignore[reportArgumentType]
    return flat


def _flatten(sources: Iterable[ImageSource], on_error: OnError | None) -> Iterator[ImageSource]:
    for source in sources:
        if not isinstance(source, str | os.PathLike):
            yield source
            continue
        try:
            yield from find_sources([source])
        except VitrailError as error:
            _report(source, error, on_error)


def _is_many(sources: object) -> bool:
    """Whether it is a collection of sources rather than one: arrays can be iterated over too."""
    one = isinstance(sources, str | bytes | os.PathLike | Image) or hasattr(sources, "read")
    return isinstance(sources, Iterable) and not one and not hasattr(sources, "shape")


def _report(source: object, error: Exception, on_error: OnError | None) -> None:
    """Tell of an image that did not work out, or raise where nobody listens or another thing
    than the image is at fault."""
    fault = fault_of(error)
    if fault is None:
        raise error
    if on_error is None:
        raise fault
    if isinstance(source, Image):
        name = source.source or "image"
    else:
        name = os.fspath(source) if isinstance(source, str | os.PathLike) else "image"
    on_error(name, fault)

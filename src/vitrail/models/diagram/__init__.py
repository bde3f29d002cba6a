"""Drawings of networks: the modules as they ran, with shapes on the arrows between them."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from vitrail.atomic import write_atomically
from vitrail.errors import ParameterError
from vitrail.models.diagram.draw import to_image, to_svg
from vitrail.models.diagram.layout import lay_out
from vitrail.models.diagram.modules import graph_of
from vitrail.models.summary import check_depth
from vitrail.models.trace import trace

__all__ = ["check_drawing", "draw_model"]

_SUFFIXES = (".svg", ".png")


def draw_model(
    model: nn.Module, path: Path, image_size: int = 512, *, bands: int = 3, depth: int = 2
) -> Path:
    """Draw a network as a diagram of its modules, from the image at the top to its outputs.

    A box is a module, with its class, parameters and multiply-adds, or an operation between
    modules; an arrow carries the shapes that are handed over, without the batch. The graph is that
    of one forward pass in evaluation mode: nothing is computed, and the network stays as it is.

    Parameters
    ----------
    model:
        Takes ``(B, bands, image_size, image_size)``.
    path:
        To write, ``.svg`` or ``.png``; its folder exists.
    image_size:
        Side of the image, px.
    bands:
        Of the image.
    depth:
        How far modules are taken apart, 1 for the parts of the network.

    Returns
    -------
    ``path``.

    Raises
    ------
    ParameterError
        suffix, size or depth is none that is possible, or a PNG would be too large.
    ConfigError
        the network cannot run at this size, or depends on the values in the image.
    OutputError
        the file cannot be written.
    """
    check_drawing(path)
    check_depth(depth)
    layout = lay_out(graph_of(trace(model, image_size, bands), depth))
    if path.suffix.lower() == ".svg":
        text = to_svg(layout).encode()
        return write_atomically(path, lambda file: file.write(text))
    image = to_image(layout)
    return write_atomically(path, lambda file: image.save(file, "PNG"))


def check_drawing(path: Path) -> None:
    """Refuse what cannot be drawn to, before any work.

    Raises
    ------
    ParameterError
        the suffix says neither SVG nor PNG.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise ParameterError(f"{path}: expected a name that ends in {' or '.join(_SUFFIXES)}")

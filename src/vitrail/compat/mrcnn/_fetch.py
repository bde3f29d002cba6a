"""Weight files as the original downloads them."""

from __future__ import annotations

import os
from pathlib import Path

from vitrail.download_file import download_file
from vitrail.errors import SourceError
from vitrail.weights.catalog import find
from vitrail.weights.store import OFFLINE_VARIABLE, cache_folder, is_offline, say

COCO_CARD = "maskrcnn-resnet101-matterport-coco"
"""vitrail's name of the published COCO weights."""

_IMAGENET_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
_IMAGENET_URL = (
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.2/" + _IMAGENET_FILE
)
_IMAGENET_MD5 = "a268eb855778b3df3c7506639542a6af"
"""As Keras 2.1 names it beside the URL."""
_IMAGENET_MOST = 100_000_000
"""Bytes; the file has about 94.7 million."""


def download_trained_weights(coco_model_path: str | os.PathLike[str], verbose: int = 1) -> None:
    """Put the published COCO weights at a path, ``mask_rcnn_coco.h5`` by custom.

    A file that was put into vitrail's cache by hand is verified and copied instead.

    Parameters
    ----------
    coco_model_path:
        Where to; a file that is there is verified and kept.
    verbose:
        0: say nothing.

    Raises
    ------
    SourceError
        it cannot be downloaded, or what is there is another file; says what to do.
    OutputError
        it cannot be written.
    """
    entry = find(COCO_CARD)
    assert entry is not None and entry.card.download is not None  # it is one of the published ones
    download, path = entry.card.download, Path(coco_model_path)
    _refuse_offline(path, download.url)
    if verbose and not path.exists():
        say(f"downloading {download.size / 1e6:,.1f} MB from {download.url} to {path}")
    download_file(
        download.url,
        path,
        size=None if download.size_within else download.size,
        checksums=download.checksums,
        max_bytes=download.size + download.size_within,
    )


def imagenet_weights() -> Path:
    """Keras's ImageNet weights of ResNet-50 without its last layer, fetched if they are not here.

    Raises
    ------
    SourceError, OutputError
        as :func:`download_trained_weights`.
    """
    path = cache_folder() / "models" / _IMAGENET_FILE
    _refuse_offline(path, _IMAGENET_URL)
    if not path.exists():
        say(f"downloading about 95 MB from {_IMAGENET_URL} to {path}")
    download_file(_IMAGENET_URL, path, checksums={"md5": _IMAGENET_MD5}, max_bytes=_IMAGENET_MOST)
    return path


def _refuse_offline(path: Path, url: str) -> None:
    if is_offline() and not path.exists():
        raise SourceError(
            f"{path} is not there, and {OFFLINE_VARIABLE} forbids downloads; get {url} elsewhere "
            f"and put it at {path}, or unset {OFFLINE_VARIABLE}"
        )

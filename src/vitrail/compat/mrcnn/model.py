"""``mrcnn.model``: the network, with the original's way of loading, detecting and training."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vitrail.compat.mrcnn._boxes import generate_pyramid_anchors, norm_boxes
from vitrail.compat.mrcnn._dataset import Dataset
from vitrail.compat.mrcnn._detections import Detected, prepared, told
from vitrail.compat.mrcnn._fetch import imagenet_weights
from vitrail.compat.mrcnn._instead import OF_CLASS, OF_MODULE
from vitrail.compat.mrcnn._logs import LogFolder
from vitrail.compat.mrcnn._missing import NotOfferedError, missing
from vitrail.compat.mrcnn._molding import (
    compose_image_meta,
    compute_backbone_shapes,
    load_image_gt,
    log,
    mold_image,
    mold_inputs,
    parse_image_meta,
    unmold_detections,
    unmold_image,
)
from vitrail.compat.mrcnn._network import card_of, network_of
from vitrail.compat.mrcnn._weights import fill, read_weights
from vitrail.compat.mrcnn.config import Config
from vitrail.errors import ParameterError
from vitrail.models.base import Frame
from vitrail.models.instances import InstanceModel
from vitrail.predict.names import check_names
from vitrail.weights.files import write_checkpoint

if TYPE_CHECKING:
    from vitrail.training.records import Callback

__all__ = [
    "MaskRCNN",
    "compose_image_meta",
    "compute_backbone_shapes",
    "load_image_gt",
    "log",
    "mold_image",
    "parse_image_meta",
    "unmold_image",
]


class MaskRCNN:
    """Mask R-CNN with the original's methods, over vitrail's network.

    Parameters
    ----------
    mode:
        ``"inference"`` or ``"training"``.
    model_dir:
        Folder in which each training makes a folder for its weights; nothing is made before.
    config:
        Its settings.
    device:
        As ``vitrail.load`` takes it: ``auto``, ``cpu``, ``cuda`` ...
    precision:
        Of :meth:`detect`: ``float32``, or as ``vitrail.load`` takes it.

    Attributes
    ----------
    network:
        vitrail's own network (:mod:`vitrail.models.maskrcnn`), with its weights.
    epoch:
        How many epochs were trained, as far as the name of the weights tells.
    log_dir:
        Folder of this model's training.

    Raises
    ------
    ParameterError
        a setting that vitrail's network cannot follow.
    """

    def __init__(
        self,
        mode: str,
        model_dir: str | os.PathLike[str],
        config: Config,
        *,
        device: str = "auto",
        precision: str = "float32",
    ) -> None:
        if mode not in ("training", "inference"):
            raise ParameterError(f"mode={mode!r}: expected 'training' or 'inference'")
        check_names(device, precision)
        self.mode, self.config, self.model_dir = mode, config, model_dir
        self._device, self._precision = device, precision
        self.network: InstanceModel = network_of(config)
        self._ready: InstanceModel | None = None
        self._anchors: dict[tuple[int, ...], np.ndarray] = {}
        self._classes = tuple(f"class {number}" for number in range(1, config.NUM_CLASSES))
        self.set_log_dir()

    @property
    def epoch(self) -> int:
        return self._logs.epoch

    @property
    def log_dir(self) -> str:
        return str(self._logs.path)

    def set_log_dir(self, model_path: str | os.PathLike[str] | None = None) -> None:
        """Choose the folder of a training: a new one, or that of weights that one wrote."""
        self._logs = LogFolder.of(Path(self.model_dir), self.config.NAME, model_path)

    def find_last(self) -> str:
        """The newest weights that a training of this configuration's name left in ``model_dir``.

        Raises
        ------
        SourceError
            there are none.
        """
        return str(LogFolder.find_last(Path(self.model_dir), self.config.NAME))

    def load_weights(
        self,
        filepath: str | os.PathLike[str],
        by_name: bool = False,
        exclude: Collection[str] | None = None,
    ) -> None:
        """Fill the network from a file.

        Parameters
        ----------
        filepath:
            ``.h5`` that the original wrote (or Keras's ImageNet weights of ResNet-50), or
            ``.safetensors`` of vitrail's.
        by_name:
            Take what the file and the network have in common; otherwise they must fit exactly.
        exclude:
            The original's names of layers to leave as they are, such as ``mrcnn_class_logits``;
            ``by_name`` is implied.

        Raises
        ------
        WeightsError
            the file is missing or damaged, or does not fit; says what to leave out.
        UnknownNameError
            ``exclude`` has a name that is no layer's.

        Warns
        -----
        UserWarning
            of layers that were skipped, and in mode ``inference`` of layers that the file lacks.
        """
        found = read_weights(Path(filepath), exclude or ())
        partly = by_name or bool(exclude)
        fill(self.network, found, partly=partly, complete=self.mode == "inference")
        if found.card is not None and len(found.card.classes) == len(self._classes):
            self._classes = found.card.classes
        self._ready = None
        self.set_log_dir(filepath)

    def save(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Write the weights with their card: ``vitrail.load(path)`` needs nothing else.

        Not in the original, whose ``keras_model.save_weights`` this replaces.

        Parameters
        ----------
        path:
            Ends in ``.safetensors``.
        name:
            Of the model, in lower case; by default the file's.

        Raises
        ------
        ParameterError
            another suffix.
        OutputError
            the file cannot be written.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise ParameterError(f"{path}: expected a name that ends in .safetensors")
        card = card_of(self.config, name or path.stem, self._classes)
        write_checkpoint(path, self.network, card)

    def get_imagenet_weights(self) -> str:
        """The path of Keras's ImageNet weights of ResNet-50, downloaded if they are not here.

        Raises
        ------
        SourceError
            they cannot be downloaded; says where to get them and where to put them.
        """
        return str(imagenet_weights())

    def mold_inputs(
        self, images: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images resized, padded and without the mean colour; their metas; their windows."""
        return mold_inputs(images, self.config)

    def unmold_detections(
        self,
        detections: np.ndarray,
        mrcnn_mask: np.ndarray,
        original_image_shape: Sequence[int],
        image_shape: Sequence[int],
        window: Sequence[int] | np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Raw detections ``(N, 6)`` and masks ``(N, h, w, classes)`` in px of the image: boxes,
        class ids, scores, ``(H, W, M)`` masks."""
        return unmold_detections(detections, mrcnn_mask, original_image_shape, image_shape, window)

    def detect(self, images: Sequence[np.ndarray], verbose: int = 0) -> list[Detected]:
        """Find the objects of images.

        Parameters
        ----------
        images:
            ``(H, W, 3)`` RGB each, any number of them; they go through the network
            ``config.BATCH_SIZE`` at a time.
        verbose:
            1: print shape, least and greatest value and type of what goes into the network.

        Returns
        -------
        For each image a dictionary: ``rois`` (N, 4) int32 y1 x1 y2 x2 in px, ``class_ids`` (N,)
        int32 from 1, ``scores`` (N,) float32, ``masks`` (H, W, N) bool; best first.

        Raises
        ------
        ParameterError
            the mode is ``training``, or an image has another number of bands.
        """
        self._check_mode("inference")
        if verbose:
            log(f"Processing {len(images)} images")
            for image in images:
                log("image", image)
        found: list[Detected] = []
        for start in range(0, len(images), self.config.BATCH_SIZE):
            part = images[start : start + self.config.BATCH_SIZE]
            molded, metas, windows = self.mold_inputs(part)
            frames = [
                Frame(image.shape[:2], (int(y2 - y1), int(x2 - x1)), (int(y1), int(x1)))
                for image, (y1, x1, y2, x2) in zip(part, windows, strict=True)
            ]
            found += self._run(molded, metas, frames, verbose)
        return found

    def detect_molded(
        self, molded_images: np.ndarray, image_metas: np.ndarray, verbose: int = 0
    ) -> list[Detected]:
        """As :meth:`detect`, of images that are molded already, ``(B, h, w, 3)``; boxes and masks
        are in px of those."""
        self._check_mode("inference")
        if verbose:
            log(f"Processing {len(molded_images)} images")
            for image in molded_images:
                log("image", image)
        size = (molded_images.shape[1], molded_images.shape[2])
        return self._run(
            molded_images, image_metas, [Frame(size, size)] * len(molded_images), verbose
        )

    def train(
        self,
        train_dataset: Dataset,
        val_dataset: Dataset,
        learning_rate: float,
        epochs: int,
        layers: str,
        augmentation: Mapping[str, object] | None = None,
        custom_callbacks: Sequence[Callback] | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        """Train the network with vitrail's engine.

        After each epoch of ``config.STEPS_PER_EPOCH`` steps the weights are written as
        ``mask_rcnn_NAME_0001.safetensors`` to :attr:`log_dir`, where :meth:`find_last` finds them;
        beside them a folder has the report, curves and pictures of the training.

        Parameters
        ----------
        train_dataset, val_dataset:
            Prepared; with ``config.NUM_CLASSES`` classes, the background among them.
        learning_rate:
            Constant.
        epochs:
            In all, with those that :attr:`epoch` counts already.
        layers:
            ``"heads"``: all but the encoder; ``"3+"``, ``"4+"``, ``"5+"``: that and the encoder
            from that stage on; ``"all"``.
        augmentation:
            None, or settings of :class:`vitrail.data.augment.AugmentConfig`: ``{"flip": 0.5}``.
        custom_callbacks:
            Of :class:`vitrail.training.records.Callback`.
        quiet:
            Print nothing.

        Raises
        ------
        ParameterError
            the mode is ``inference``, or settings, data and network do not fit together.
        DataError
            an image or its masks are damaged.
        TrainingStopped
            after Ctrl-C; a ``KeyboardInterrupt``. The epochs before are written.
        VitrailError
            the loss is no number any more, or the memory does not suffice; says what to change.
        """
        # Here and not above: who only detects need not wait for the training engine.
        from vitrail.compat.mrcnn._training import Job

        self._check_mode("training")
        job = Job(
            self.network,
            self.config,
            self._logs,
            epochs,
            learning_rate,
            layers,
            self._device,
            augmentation,
            tuple(custom_callbacks or ()),
            quiet,
        )
        if not quiet:
            log(f"\nStarting at epoch {self.epoch}. LR={learning_rate}\n")
            log(f"Checkpoint Path: {self._logs.weights(epochs)}")
        job.run(train_dataset, val_dataset)
        self._logs, self._ready = self._logs.after(epochs), None
        self._classes = tuple(train_dataset.class_names[1:])

    def get_anchors(self, image_shape: Sequence[int]) -> np.ndarray:
        """``(A, 4)`` float32 anchors y1 x1 y2 x2 of all levels for an input ``(H, W, C)``, as
        shares of it (:func:`~vitrail.compat.mrcnn.utils.norm_boxes`)."""
        size = (int(image_shape[0]), int(image_shape[1]))
        if size not in self._anchors:
            anchors = generate_pyramid_anchors(
                self.config.RPN_ANCHOR_SCALES,
                self.config.RPN_ANCHOR_RATIOS,
                compute_backbone_shapes(self.config, size),
                self.config.BACKBONE_STRIDES,
                self.config.RPN_ANCHOR_STRIDE,
            )
            self._anchors[size] = norm_boxes(anchors, size)
        return self._anchors[size]

    def _run(
        self, molded: np.ndarray, metas: np.ndarray, frames: Sequence[Frame], verbose: int
    ) -> list[Detected]:
        if verbose:
            anchors = self.get_anchors(molded.shape[1:3])
            log("molded_images", molded)
            log("image_metas", metas)
            log("anchors", np.broadcast_to(anchors, (len(molded), *anchors.shape)))
        network = self._network()
        device = next(network.parameters()).device
        pixels = torch.from_numpy(molded.astype(np.float32)).permute(0, 3, 1, 2)
        pixels = pixels.contiguous().to(device)
        with torch.inference_mode():
            return [told(one) for one in network.decode(network(pixels), frames)]

    def _network(self) -> InstanceModel:
        """The network as it detects; made anew after weights were loaded."""
        if self._ready is None:
            self._ready = prepared(self.network, self.config, self._device, self._precision)
        return self._ready

    def _check_mode(self, wanted: str) -> None:
        if self.mode != wanted:
            raise ParameterError(
                f"this model was made with mode={self.mode!r}; make one with mode={wanted!r} and "
                "load_weights(model.find_last(), by_name=True)"
            )

    def __getattr__(self, name: str) -> Any:
        if name in OF_CLASS:
            raise NotOfferedError(
                f"MaskRCNN.{name} is not offered by vitrail.compat; use {OF_CLASS[name]}"
            )
        raise AttributeError(f"'MaskRCNN' object has no attribute {name!r}")


__getattr__ = missing("mrcnn.model", OF_MODULE)

"""Names of ``mrcnn.model`` that are TensorFlow's own, and what to use in their place."""

from __future__ import annotations

from collections.abc import Mapping

OF_CLASS: Mapping[str, str] = {
    "ancestor": "model.network.named_modules()",
    "build": "vitrail.models.registry.build('mask-rcnn', {...})",
    "checkpoint_path": "model.log_dir and model.find_last()",
    "compile": "model.train(...), which needs no compiling",
    "find_trainable_layer": "model.network.named_parameters()",
    "get_trainable_layers": "model.network.named_parameters()",
    "keras_model": "model.network, a torch.nn.Module, or model.save('FILE.safetensors') for its "
    "weights",
    "run_graph": "model.network(images), which returns pyramid, objectness and deltas by name",
    "set_trainable": "model.train(..., layers=...)",
}
"""Of ``MaskRCNN``."""

_GRAPH = "vitrail.models.registry.build('mask-rcnn', {...}), a torch.nn.Module"

OF_MODULE: Mapping[str, str] = {
    "BatchNorm": "torch.nn.BatchNorm2d",
    "DataGenerator": "model.train(...), which loads in its own way",
    "DetectionLayer": "vitrail.models.maskrcnn.detections.detect",
    "DetectionTargetLayer": "vitrail.models.maskrcnn.sampling",
    "ProposalLayer": "vitrail.models.maskrcnn.proposals.propose",
    "PyramidROIAlign": "vitrail.models.maskrcnn.regions.pool_regions",
    "build_detection_targets": "vitrail.models.maskrcnn.sampling",
    "build_fpn_mask_graph": _GRAPH,
    "build_rpn_model": _GRAPH,
    "build_rpn_targets": "vitrail.models.maskrcnn.matching",
    "conv_block": _GRAPH,
    "data_generator": "model.train(...), which loads in its own way",
    "fpn_classifier_graph": _GRAPH,
    "generate_random_rois": "model.train(...), which trains both stages together",
    "identity_block": _GRAPH,
    "mrcnn_bbox_loss_graph": "model.network.loss(raw, targets)",
    "mrcnn_class_loss_graph": "model.network.loss(raw, targets)",
    "mrcnn_mask_loss_graph": "model.network.loss(raw, targets)",
    "parse_image_meta_graph": "parse_image_meta, which works on arrays",
    "resnet_graph": _GRAPH,
    "rpn_bbox_loss_graph": "model.network.loss(raw, targets)",
    "rpn_class_loss_graph": "model.network.loss(raw, targets)",
}
"""Of the module."""

"""Work and parameters as torchvision 0.29.2 publishes them with its segmentation weights.

``_ops`` in the weights' metadata: billions of multiply-adds at 520 px (the auxiliary head, which
torchvision's networks run in evaluation too, included), and ``num_params``.
"""

import pytest
from torchvision.models import segmentation

from vitrail.models.registry import build
from vitrail.models.summary import summarise

PUBLISHED = {
    "fcn_resnet50": segmentation.FCN_ResNet50_Weights,
    "fcn_resnet101": segmentation.FCN_ResNet101_Weights,
    "deeplabv3_resnet50": segmentation.DeepLabV3_ResNet50_Weights,
    "deeplabv3_resnet101": segmentation.DeepLabV3_ResNet101_Weights,
    "deeplabv3_mobilenet_v3_large": segmentation.DeepLabV3_MobileNet_V3_Large_Weights,
    "lraspp_mobilenet_v3_large": segmentation.LRASPP_MobileNet_V3_Large_Weights,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_torchvisions_networks_cost_what_it_publishes(name: str) -> None:
    auxiliary = {} if name.startswith("lraspp") else {"aux_loss": True}
    network = getattr(segmentation, name)(weights=None, weights_backbone=None, **auxiliary)
    meta = PUBLISHED[name].DEFAULT.value.meta
    summary = summarise(network, 520)
    assert round(summary.macs / 1e9, 3) == meta["_ops"]
    assert summary.parameters == meta["num_params"]


def test_our_lraspp_costs_what_torchvision_publishes_for_its_own() -> None:
    summary = summarise(build("lraspp", {"classes": 21, "torchvision": True}), 520)
    meta = segmentation.LRASPP_MobileNet_V3_Large_Weights.DEFAULT.value.meta
    assert round(summary.macs / 1e9, 3) == meta["_ops"]
    assert summary.parameters == meta["num_params"]

"""PSPNet: the paper's form and the lighter one."""

import pytest
import torch
from torch import nn

from vitrail.errors import ConfigError
from vitrail.models.pspnet import PSPNet
from vitrail.models.registry import build


def pspnet(**arguments: object) -> PSPNet:
    model = build("pspnet", {"classes": 3, "encoder": "resnet18", "width": 32} | arguments)
    assert isinstance(model, PSPNet)
    return model


def test_the_papers_form() -> None:
    """arXiv:1612.01105, figure 3 and section 3.3: feature maps at an eighth of the image, pooled
    to 1, 2, 3 and 6 squared, and a second classifier on the stage before the last."""
    with torch.device("meta"):
        model = pspnet(encoder="resnet101", width=512)
    assert model.encoder.strides[-1] == 8
    assert model.encoder.channels[-2:] == [1024, 2048]
    assert model.pyramid.out_channels == 4096
    convolution = model.fuse[0]
    assert isinstance(convolution, nn.Conv2d)
    assert (convolution.kernel_size, convolution.out_channels) == ((3, 3), 512)
    assert model.head.kernel_size == (1, 1)
    assert model.auxiliary is not None and model.auxiliary_weight == 0.4


def test_the_lighter_form_has_three_stages() -> None:
    model = pspnet(form="smp")
    assert (model.encoder.strides, model.auxiliary) == ([2, 4, 8], None)
    assert pspnet(form="smp", auxiliary=True).auxiliary is not None
    assert pspnet(auxiliary=False).auxiliary is None


@pytest.mark.parametrize("form", ["paper", "smp"])
def test_a_batch_of_one_trains(form: str) -> None:
    model = pspnet(form=form)
    raw = model(torch.randn(1, 3, 48, 40))
    assert raw.logits.isfinite().all()
    assert len(raw.auxiliary) == (form == "paper")
    assert model.eval()(torch.randn(1, 3, 48, 40)).auxiliary == ()


def test_depth_and_stride_must_fit() -> None:
    with pytest.raises(ConfigError, match="not output_stride=16"):
        pspnet(form="smp", output_stride=16)
    with pytest.raises(ConfigError, match="depth=6"):
        pspnet(depth=6)
    assert pspnet(form="smp", depth=4, output_stride=16).encoder.strides == [2, 4, 8, 16]
    assert pspnet(output_stride=16).encoder.strides == [2, 4, 8, 16, 16]

"""Variants of networks: the class's signature with other defaults, and the class's own network."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_type_hints

import pytest
import torch

from models import DDPMpp, NCSNpp, NCSNv2, register_model
from models.networks.ncsnv2 import NCSNv2For128

SMALL: dict[str, Any] = {"image_size": 8, "channels": 8, "channel_mult": (1, 2), "num_res_blocks": 1}


def test_the_signature_is_the_classs_with_other_defaults_and_without_what_is_fixed() -> None:
    """Written out: what DDPM++ takes."""
    assert {name: p.default for name, p in inspect.signature(DDPMpp).parameters.items()} == {
        "in_channels": 3,
        "out_channels": None,
        "image_size": 32,
        "channels": 128,
        "channel_mult": (1, 2, 2, 2),
        "num_res_blocks": 4,
        "attention_resolutions": (16,),
        "dropout": 0.1,
        "nonlinearity": "swish",
        "conditional": True,
        "centered": True,
        "use_checkpoint": False,
        "num_classes": None,
        "augment_labels": 0,
    }
    assert get_type_hints(DDPMpp)["num_res_blocks"] is int


def test_it_builds_the_classs_network_with_the_settings_it_stands_for() -> None:
    torch.manual_seed(0)
    network = DDPMpp(**SMALL).eval()
    torch.manual_seed(0)
    written_out = NCSNpp(
        **SMALL,
        centered=True,
        embedding="positional",
        fir_kernel=None,
        progressive_input="none",
        scale_by_sigma=False,
    ).eval()
    assert type(network) is NCSNpp
    x, labels = torch.ones(1, 3, 8, 8), torch.tensor([7.0])
    output = network(x, labels)
    assert output.abs().max() > 0
    assert torch.equal(output, written_out(x, labels))


def test_what_makes_the_variant_cannot_be_chosen() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'resblock'"):
        DDPMpp(resblock="ddpm")


def test_it_says_of_its_networks_what_the_class_says() -> None:
    """A builder asks a registered network before it is built, whether class or variant."""
    assert NCSNv2For128.output_kind == NCSNv2.output_kind == "score"
    with pytest.raises(AttributeError, match="nothing"):
        NCSNv2For128.nothing  # noqa: B018


@pytest.mark.parametrize("name", list(register_model))
def test_every_setting_of_a_network_is_documented(name: str) -> None:
    """In the ``Args`` section of its own docstring, or of the class that has its constructor."""
    factory = register_model[name]
    sources = factory.__mro__ if inspect.isclass(factory) else [factory]
    texts = [inspect.cleandoc(source.__doc__ or "") for source in sources]
    entries = [entry for text in texts for entry in re.findall(r"^    (\w+(?:, \w+)*): ", text, re.M)]
    documented = {one for entry in entries for one in entry.split(", ")}
    assert inspect.signature(factory).parameters.keys() <= documented


def test_the_documentation_of_a_variant_leaves_out_what_is_fixed() -> None:
    documentation = inspect.getdoc(DDPMpp) or ""
    assert "\n    dropout: probability, before the last convolution" in documentation
    assert "fir_kernel:" not in documentation
    assert "taps of the filter" not in documentation

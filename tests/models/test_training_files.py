"""Files that DiT's and SiT's training leaves, ``{"model", "ema", "opt", "args"}``: read, and nothing of them runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from models.checkpoints.loader import load_weights
from models.checkpoints.reader import read_payload
from models.networks.dit import DiT
from tests.fixtures.weights import Fixture
from tests.fuzz.canary import Executes
from tests.models.test_dit import settings

ARGUMENTS = argparse.Namespace(
    data_path="/data", model="DiT-XL/2", image_size=256, num_classes=1000, epochs=1400, vae="ema", seed=0,
    betas=[0.9, 0.999], sub=argparse.Namespace(cfg_scale=4.0),
)  # fmt: skip


def network_of(fixture: Fixture) -> DiT:
    return DiT(**settings(fixture.meta["kwargs"], variances=True)).eval()


def content(fixture: Fixture, **changes: Any) -> dict[str, Any]:
    """As train.py of DiT saves it: raw weights, averages, the optimizer's state and the flags."""
    network = network_of(fixture)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0)
    sum(parameter.sum() for parameter in network.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()
    averages = {**fixture.weights, "pos_embed": fixture["pos_embed"]}
    raw = {name: weight + 1 if name != "pos_embed" else weight for name, weight in averages.items()}
    return {"model": raw, "ema": averages, "opt": optimizer.state_dict(), "args": ARGUMENTS, **changes}


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize("ema", [True, False])
def test_the_averages_are_read(ema: bool, options: dict[str, Any], tmp_path: Path) -> None:
    """The raw weights are one more; what lay around is said."""
    fixture, path = Fixture("dit/a.npz"), tmp_path / "0400000.pt"
    torch.save(content(fixture), path, **options)
    network = network_of(fixture)
    report = load_weights(network, path, ema=ema)
    table = network.get_parameter("class_embedding.table.weight")
    expected = fixture.weights["y_embedder.embedding_table.weight"] + (0 if ema else 1)
    torch.testing.assert_close(table, expected, rtol=0, atol=1e-6)
    used = "ema" if ema else "model"
    for name in {"model", "ema", "opt", "args"} - {used}:
        assert f"{name}: beside '{used}', which is used" in report.ignored


def test_nothing_of_the_flags_is_kept(tmp_path: Path) -> None:
    """In their place there is something of no attributes, of a class of ours."""
    torch.save({"w": torch.ones(2), "args": ARGUMENTS}, tmp_path / "a.pt")
    held = read_payload(tmp_path / "a.pt")["args"]
    assert type(held) is not argparse.Namespace
    assert not hasattr(held, "model") and not hasattr(held, "__dict__")


@pytest.mark.parametrize("place", ["flags", "beside", "class"])
def test_what_would_run_is_refused(place: str, tmp_path: Path) -> None:
    """Within the flags, beside them, or another class of the same module."""
    fixture, path = Fixture("dit/a.npz"), tmp_path / "0400000.pt"
    changes: dict[str, Any] = {
        "flags": {"args": argparse.Namespace(model="DiT-XL/2", hook=Executes(0))},
        "beside": {"opt": Executes(1)},
        "class": {"args": argparse.FileType("w")},
    }[place]
    torch.save(content(fixture, **changes), path)
    network = network_of(fixture)
    before = network.get_parameter("class_embedding.table.weight").clone()
    with pytest.raises(
        ValueError, match=r"refused: it needs arbitrary unpickling.*Nothing of it was executed"
    ) as found:
        load_weights(network, path)
    assert "\n" not in str(found.value)
    assert torch.equal(network.get_parameter("class_embedding.table.weight"), before)


def test_flags_where_weights_should_be_are_refused(tmp_path: Path) -> None:
    fixture, path = Fixture("dit/a.npz"), tmp_path / "0400000.pt"
    held = content(fixture)
    name = "y_embedder.embedding_table.weight"
    torch.save({**held, "ema": {**held["ema"], name: ARGUMENTS}}, path)
    with pytest.raises(ValueError, match=r"no floating-point tensors|of another kind"):
        load_weights(network_of(fixture), path)
    held["ema"].pop(name)
    torch.save({**held, "ema": ARGUMENTS, "model": ARGUMENTS}, path)
    with pytest.raises(ValueError, match="is of no known family"):
        load_weights(network_of(fixture), path)

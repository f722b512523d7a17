"""A small checkpoint of every family, as its program writes it, for tests of the forms that files have."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.base import Network
from models.networks.ddpm import DDPM
from models.networks.dit import DiT
from run_lib.training.state import TrainState, Weights
from tests.fixtures import score_sde_files
from tests.fixtures.weights import Fixture
from tests.models import test_dit
from tests.models import test_ncsn as ncsn
from tests.models.test_diffusers_checkpoint import DDPM_SMALL, built, random_unet, read_unet
from tests.models.test_guided_diffusion_checkpoint import reference

State = dict[str, Tensor]
BIN = "diffusion_pytorch_model.bin"


@dataclass(frozen=True)
class Example:
    """A checkpoint of a family.

    Attributes:
        network: builds the network that it is of.
        state: the weights that are to be loaded, by the names of the file.
        content: of the file; of a folder, that of its file of weights.
        config: of the network, where files lie in a folder with one.
    """

    network: Callable[[], Network]
    state: State
    content: Any
    config: dict[str, Any] | None = None

    def write(self, folder: Path, content: Any = None, **options: Any) -> Path:
        """The file or folder to load, pickled; ``content`` in place of its own."""
        folder.mkdir(parents=True)
        torch.save(self.content if content is None else content, self.weights(folder), **options)
        return self.finish(folder)

    def weights(self, folder: Path) -> Path:
        """The file of weights in a folder."""
        return folder / ("model.pt" if self.config is None else BIN)

    def finish(self, folder: Path) -> Path:
        """What is to be loaded, once its file of weights is there."""
        if self.config is None:
            return folder / "model.pt"
        (folder / "config.json").write_text(json.dumps(self.config))
        return folder


def _of_ours() -> Network:
    return DDPM(channels=8, channel_mult=(1,), num_res_blocks=1, image_size=4, in_channels=1)


def _ours() -> Example:
    """Its raw weights are its averages and one."""
    torch.manual_seed(0)
    weights = Weights.fresh(_of_ours(), 0.99, (), False)
    with torch.no_grad():
        for p in weights.network.parameters():
            p.add_(1.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step_1.pt"
        TrainState(weights, torch.optim.Adam(weights.network.parameters())).save(path, {})
        content = torch.load(path, weights_only=True)
    return Example(_of_ours, content["ema"]["shadow"], content)


def _score_sde() -> Example:
    fixture = Fixture("score_sde/ddpm.npz")
    content = score_sde_files.payload_of(fixture)
    return Example(lambda: score_sde_files.network_of(fixture), fixture.weights, content)


def _ncsn() -> Example:
    fixture = Fixture("ncsn/ncsn_v2.npz")
    content = ncsn.payload_of(fixture, "original, averaged")
    return Example(lambda: ncsn.network_of(fixture), fixture.weights, content)


def _guided_diffusion() -> Example:
    weights = Fixture("improved_diffusion/superres.npz").weights
    return Example(lambda: reference("improved_diffusion/superres").network, weights, weights)


def _dit() -> Example:
    fixture = Fixture("dit/a.npz")
    settings = test_dit.settings(fixture.meta["kwargs"], variances=True)
    return Example(lambda: DiT(**settings), fixture.weights, fixture.weights)


def _diffusers() -> Example:
    unet = random_unet(DDPM_SMALL)
    config = {"_class_name": "UNet2DModel", **DDPM_SMALL}
    architecture = read_unet(config).architecture()
    return Example(lambda: built(architecture), unet.state_dict(), unet.state_dict(), config)


EXAMPLES: dict[str, Callable[[], Example]] = {
    "ours": functools.cache(_ours),
    "score_sde": functools.cache(_score_sde),
    "ncsn": functools.cache(_ncsn),
    "guided_diffusion": functools.cache(_guided_diffusion),
    "diffusers": functools.cache(_diffusers),
    "dit": functools.cache(_dit),
}

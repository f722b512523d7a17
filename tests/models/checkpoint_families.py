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
from models.checkpoints.diffusers_dit import read_transformer
from models.checkpoints.loader import load_weights
from models.checkpoints.nvlabs import build
from models.checkpoints.nvlabs_config import read_arguments
from models.networks.ddpm import DDPM
from models.networks.dit import DiT
from run_lib.training.state import TrainState, Weights
from tests.fixtures import nvlabs_files, score_sde_files
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
        loaded: what the network then holds; None: the weights of ``state``, one for one.
        snapshot: writes the file of some weights, where it is none of torch's.
    """

    network: Callable[[], Network]
    state: State
    content: Any
    config: dict[str, Any] | None = None
    loaded: State | None = None
    snapshot: Callable[[State, Path], object] | None = None

    @property
    def expected(self) -> State:
        """What the network holds when it is loaded."""
        return self.state if self.loaded is None else self.loaded

    def write(self, folder: Path, content: Any = None, **options: Any) -> Path:
        """The file or folder to load, pickled; ``content`` in place of its own."""
        folder.mkdir(parents=True)
        content = self.content if content is None else content
        if self.snapshot is not None and not options:
            self.snapshot(content, self.weights(folder))
        else:
            torch.save(content, self.weights(folder), **options)
        return self.finish(folder)

    def weights(self, folder: Path) -> Path:
        """The file of weights in a folder."""
        if self.config is not None:
            return folder / BIN
        return folder / ("model.pt" if self.snapshot is None else "model.pkl")

    def finish(self, folder: Path) -> Path:
        """What is to be loaded, once its file of weights is there."""
        if self.config is None:
            return self.weights(folder)
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


def _nvlabs() -> Example:
    fixture = Fixture("edm2/small.npz")
    meta = fixture.meta
    weights = {name: weight.clone() for name, weight in fixture.weights.items()}

    def snapshot(content: dict[str, Any], path: Path) -> None:
        """What is no tensor becomes an attribute of the network."""
        held = nvlabs_files.network(
            meta["class"],
            meta["kwargs"],
            {n: w if w.ndim else w.float() for n, w in content.items() if isinstance(w, Tensor)},
        )
        held.state |= {name: value for name, value in content.items() if not isinstance(value, Tensor)}
        nvlabs_files.snapshot(held, path, new=True)

    def network() -> Network:
        arguments = {n: tuple(v) if isinstance(v, list) else v for n, v in meta["kwargs"].items()}
        return build(read_arguments(meta["class"], arguments).architecture)

    loaded = network()
    with tempfile.TemporaryDirectory() as folder:
        snapshot(weights, Path(folder) / "model.pkl")
        load_weights(loaded, Path(folder) / "model.pkl")
    held = {name: weight.detach().clone() for name, weight in loaded.named_parameters()}
    return Example(network, weights, weights, loaded=held, snapshot=snapshot)


def _diffusers_dit() -> Example:
    made = test_dit.theirs(num_attention_heads=6, attention_head_dim=16)
    config = {"_class_name": "DiTTransformer2DModel", **dict(made.config)}
    config = {name: value for name, value in config.items() if name == "_class_name" or name[0] != "_"}
    architecture = read_transformer(config)
    state = {name: weight for name, weight in made.state_dict().items() if "pos_embed.pos_embed" not in name}
    held = {n: w for n, w in state.items() if ".to_q." not in n and ".to_k." not in n and ".to_v." not in n}
    held = {n: w for n, w in held.items() if ".norm1.emb." not in n or ".0.norm1." in n}
    for name in state:
        if ".to_q." in name:
            held[name] = torch.cat([state[name.replace("to_q", f"to_{part}")] for part in "qkv"])
    return Example(lambda: built(architecture), state, state, config, loaded=held)


EXAMPLES: dict[str, Callable[[], Example]] = {
    "ours": functools.cache(_ours),
    "score_sde": functools.cache(_score_sde),
    "ncsn": functools.cache(_ncsn),
    "guided_diffusion": functools.cache(_guided_diffusion),
    "diffusers": functools.cache(_diffusers),
    "dit": functools.cache(_dit),
    "nvlabs": functools.cache(_nvlabs),
    "diffusers_dit": functools.cache(_diffusers_dit),
}

"""What the reader of a page has beside him: shipped configurations, at toy size, and files of the forms in question."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models import DDPM, export_diffusers
from run_lib.config.files import SHIPPED
from tests.docs.pages import ROOT, files
from tests.fixtures.nvlabs_files import of_fixture
from tests.fixtures.score_sde_files import payload_of, save, with_moments
from tests.fixtures.weights import Fixture
from tests.run_lib.cifar import write_cifar10
from tests.run_lib.test_data_forms import write_idx

SMALL = "from tests.docs.small import small\n\n\ndef get_config():\n    return small({name!r})\n"


def configurations(folder: Path, names: Iterable[str]) -> None:
    """Found before the shipped ones by path, ``configs/ddpm/digits.py``, and by name, ``ddpm/digits``."""
    for name in names:
        for place in (folder / "configs", folder):
            file = place / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(SMALL.format(name=name))


OWN = {
    "docs/data.md": {
        "imagenet.py": """
            config.data.dataset, config.data.root = "folder", "photos"
            config.data.image_size, config.data.num_channels, config.data.levels = 16, 3, 256
        """,
        "mine.py": """
            config.plugins = "examples/plugins/codec.py"
            config.data.codec, config.data.levels, config.data.uniform_dequantization = "haar", 0, False
            config.data.image_size, config.data.num_channels = 8, 12
            config.data.latent_mean = config.data.latent_std = "auto"
        """,
    },
    "docs/flow.md": {"mine.py": ""},
}
"""Configurations of the reader's own, in what differs from ddpm/digits."""


def photographs(folder: Path, side: int = 64, count: int = 24) -> None:
    """Noise in colour, in folders of two classes."""
    for number in range(count):
        path = folder / ("cats", "dogs")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)


def give(folder: Path, page: str, checksums: Callable[..., Any]) -> None:
    """All that ``page`` takes for granted, in ``folder``."""
    configurations(folder, (str(p.relative_to(SHIPPED).with_suffix("")) for p in SHIPPED.glob("*/*.py")))
    (folder / "examples").symlink_to(ROOT / "examples")
    for name, content in files(page).items():
        (folder / name).write_text(content)
    for name, differences in OWN.get(page, {}).items():
        body = f"config = small('ddpm/digits')\n{textwrap.dedent(differences).strip()}\nreturn config\n"
        head = "from tests.docs.small import small\n\n\ndef get_config():\n"
        (folder / name).write_text(head + textwrap.indent(body, "    "))
    for name in ("photographs", "photos", "data/imagenet/train"):
        photographs(folder / name)
    write_cifar10(folder / "data", checksums)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 28, 28))
    write_idx(
        folder / "data/FashionMNIST/raw", False,
        train_images_idx3_ubyte=pixels, train_labels_idx1_ubyte=np.arange(40) % 10,
        t10k_images_idx3_ubyte=pixels[:10], t10k_labels_idx1_ubyte=np.arange(10),
    )  # fmt: skip
    save(with_moments(payload_of(Fixture("score_sde/ncsnpp_ve_continuous.npz"))), folder, "checkpoint_24.pth")
    of_fixture(Fixture("edm/ncsnpp_ve.npz"), folder / "network-snapshot-200000.pkl")
    network = DDPM(
        image_size=32, channels=32, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(16,),
        attention_after_every_up_block=True,
    )  # fmt: skip
    export_diffusers(network, folder / "google/ddpm-cifar10-32", sample_size=32)

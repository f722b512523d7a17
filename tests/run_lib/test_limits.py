"""The largest sizes: which number is the last that is taken. 2^31 values of an array are 8 GiB of float32."""

from __future__ import annotations

import zipfile
from typing import Any

import pytest

from configs.base import get_config as base
from run_lib.config.parsing import set_field
from run_lib.config.sizes import check_sizes
from run_lib.data import packed
from run_lib.data.packed import PackedError


def check(shape: tuple[int, ...] = (2,), /, **fields: Any) -> None:
    """Check the sizes of the basic configuration with fields, written with ``__`` for the dot."""
    config = base()
    config.sampling.num_samples = config.sampling.batch_size = config.sampling.grid_size = 1
    config.training.batch_size = config.tune.num_samples = config.tune.pilot_samples = 2
    for field, value in fields.items():
        set_field(config, field.replace("__", "."), value)
    check_sizes(config, shape)


NOTHING = {"sampling__num_samples": 0, "training__batch_size": 0, "tune__pilot_samples": 0}
ENDS: list[tuple[str, tuple[int, ...], dict[str, Any], tuple[int, ...], dict[str, Any], str]] = [
    ("sample", (2**31,), NOTHING, (2**31 + 1,), NOTHING, "has 2147483649 values"),
    *(
        (path, (32,), {path.replace(".", "__"): 2**24}, (32,), {path.replace(".", "__"): 2**24 + 1},
         rf"config\.{path}=16777217 asks for .* at most 536870912 are allowed: take at most 16777216\.")
        for path in ("training.batch_size", "tune.pilot_samples", "data.num_draws", "control.measurements")
    ),
    ("microbatch", (32,), {"training__batch_size": 2**25, "training__microbatch": 2**24},
     (32,), {"training__batch_size": 2**25, "training__microbatch": 2**24 + 1}, r"config\.training\.batch_size="),
    ("batch", (32,), {"training__batch_size": 2**24, "training__microbatch": 2**25},
     (32,), {"training__batch_size": 2**24 + 1, "training__microbatch": 2**25}, r"config\.training\.batch_size="),
    ("samples at once", (32,), {"sampling__batch_size": 2**25, "sampling__num_samples": 2**24},
     (32,), {"sampling__batch_size": 2**25, "sampling__num_samples": 2**24 + 1}, r"config\.sampling\.batch_size="),
    ("samples of a grid", (1024,), {"sampling__grid_size": 2**19, "sampling__num_samples": 2**20},
     (1024,), {"sampling__grid_size": 2**19 + 1, "sampling__num_samples": 2**20}, r"config\.sampling\.grid_size="),
    ("a sweep's set", (4096,), {"tune__num_samples": 2**26}, (4096,), {"tune__num_samples": 2**26 + 1},
     r"config\.tune\.num_samples=67108865 keeps .* at most 274877906944 are allowed: take at most 67108864\."),
    ("an evaluation's samples", (4096,), {"eval__num_samples": 2**26}, (4096,), {"eval__num_samples": 2**26 + 1},
     r"config\.eval\.num_samples=67108865 keeps"),
    ("resolutions", (2,), {"model__nf": 1, "model__ch_mult": (1,) * 32},
     (2,), {"model__nf": 1, "model__ch_mult": (1,) * 33}, "ch_mult has 33 resolutions, and at most 32"),
    ("width", (2,), {"model__nf": 256, "model__ch_mult": (16, 1)},
     (2,), {"model__nf": 241, "model__ch_mult": (17, 1)}, "layers of 4097 channels, and at most 4096"),
    ("classes", (2,), {"model__nf": 512, "model__num_classes": 2**20},
     (2,), {"model__nf": 512, "model__num_classes": 2**20 + 1}, "a table of 1048577 x 2048 weights"),
    ("blocks", (2,), {"model__nf": 1024, "model__num_res_blocks": 227},  # 18 * 1024^2 * 227 < 2^32
     (2,), {"model__nf": 1024, "model__num_res_blocks": 228}, "at least 4303355904 weights, and at most 4294967296"),
    ("widths of one block", (2,), {"model__nf": 4096, "model__ch_mult": (1,) * 14},
     (2,), {"model__nf": 4096, "model__ch_mult": (1,) * 15}, "at least 4529848320 weights"),
    ("points", (2,), {"sampling__grid_size": 10**6}, (2,), {"sampling__grid_size": 10**6 + 1},
     "at most 1000000 points"),
    # 189 cells of 48 + 2 pixels and a margin of 2, squared: 89,340,304; a column more is beyond 89,478,485.
    ("pixels", (1, 48, 48), {"sampling__grid_size": 189**2}, (1, 48, 48), {"sampling__grid_size": 189**2 + 1},
     "has 89812904 pixels, and at most 89478485"),
    ("frames", (1, 48, 48), {"sampling__grid_size": 189**2, "sampling__trajectory": 24},
     (1, 48, 48), {"sampling__grid_size": 189**2, "sampling__trajectory": 25},
     "take 2233507600, and at most 2147483648"),
]  # fmt: skip
"""Shape and fields that are taken, shape and fields that are not, and what is then said."""


@pytest.mark.parametrize(
    ("shape", "fields", "larger", "more", "message"), [pytest.param(*rest, id=name) for name, *rest in ENDS]
)
def test_ends(
    shape: tuple[int, ...],
    fields: dict[str, Any],
    larger: tuple[int, ...],
    more: dict[str, Any],
    message: str,
) -> None:
    check(shape, **fields)
    with pytest.raises(ValueError, match=message):
        check(larger, **more)


def test_networks_of_other_settings_are_left_to_themselves() -> None:
    check(model__nf=4096, model__ch_mult=(1.5, 4.0))
    check(model__ch_mult=(1,) * 40)


@pytest.mark.parametrize(("size", "most"), [(1, 2**26), (2**20, 100 * 2**20)])
def test_growth_of_archives(size: int, most: int) -> None:
    """64 MiB of arrays are always taken, and a hundred times the archive's own bytes; of all its arrays together."""
    one, other = zipfile.ZipInfo("a"), zipfile.ZipInfo("b")
    one.file_size, other.file_size = most - 5, 5
    packed._check_growth(size, [one, other])
    other.file_size = 6
    with pytest.raises(PackedError, match=f"would take {most + 1}, more than 100 times"):
        packed._check_growth(size, [one, other])

"""The setup chosen from the size of the images and the machine, against counts, measurements and publications."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from models import register_model
from models.describe import Description, describe
from run_lib.automatic import machine as machines
from run_lib.automatic.machine import GIB, Machine, this_machine
from run_lib.automatic.memory import Step, UNet, usable
from run_lib.automatic.setup import FIELDS, ROWS, choose_setup
from run_lib.computing.limits import main_memory
from tests.run_lib.program import ROOT


def network_of(size: int, width: int, blocks: int = 2) -> UNet:
    found = values(size, gpu(24), {"model.nf": width})
    return UNet((size, size), width, found["model.ch_mult"], blocks, found["model.attn_resolutions"])


def described(network: UNet, *, checkpointed: bool = False) -> Description:
    """Counted layer by layer, on the meta device."""
    with torch.device("meta"):
        built = register_model["adm"](
            image_size=network.size,
            channels=network.width,
            channel_mult=network.multiples,
            num_res_blocks=network.blocks,
            attention_resolutions=network.attention,
            num_head_channels=32,
            use_checkpoint=checkpointed,
        )
    return describe(built, (3, *network.size))


def gpu(memory: int, processes: int = 1) -> Machine:
    return Machine("cuda", memory * GIB, "bfloat16", processes)


def values(size: int, machine: Machine, given: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    more.setdefault("half", machine.precision != "float32")
    found = choose_setup((size, size), machine, given or {}, **more)
    return {path: choice.value for path, choice in found.items()}


# Memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "width", "blocks"), [(32, 128, 2), (64, 192, 3), (96, 64, 2), (128, 256, 2), (256, 32, 1)]
)
def test_parameters_and_activations_are_those_that_are_counted(size: int, width: int, blocks: int) -> None:
    network = network_of(size, width, blocks)
    counted = described(network)
    assert network.parameters == pytest.approx(counted.parameters, rel=0.05)
    assert network.kept == pytest.approx(counted.activation_mib * 2**20, rel=0.06)


def test_checkpoints_keep_the_inputs_of_blocks() -> None:
    """What is counted are the inputs alone; while a block runs again, what it keeps is there as well."""
    network = network_of(64, 128)
    inputs = described(network, checkpointed=True).activation_mib * 2**20
    block = 11 * 4 * 64 * 64 * 128 * 4  # the last level's, of 3 and 1 times the width
    assert network.kept_by_checkpoints == pytest.approx(inputs + block, rel=0.1)
    assert network.kept_by_checkpoints < network.kept


MEASURED = """
import torch
from pathlib import Path
from models import register_model

torch.set_num_threads(1)

def line(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0]) * 1024

def steps(width, batch, count):
    network = register_model["adm"](image_size=(32, 32), channels=width, channel_mult=(1, 2, 2, 2), norm_groups=8,
        num_res_blocks=2, attention_resolutions=(16, 8), num_head_channels=8)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    average = [p.detach().clone() for p in network.parameters()]
    for _ in range(count):
        network(torch.randn(batch, 3, 32, 32), torch.ones(batch)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

steps(8, 1, 1)  # what libraries load at their first use
Path("/proc/self/clear_refs").write_text("5")
before = line("VmRSS")
steps(32, 24, 2)
print(line("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells a process's peak")
def test_the_memory_of_a_step_is_that_which_is_measured() -> None:
    """Within 30 %: what two steps of 24 images take at their peak, weights included, of a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", MEASURED]
    measured = float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    step = Step(network_of(32, 32), checkpointed=False, half=False)
    assert step.bytes(24, "cpu") == pytest.approx(measured, rel=0.3)


def test_the_state_is_weights_gradient_moments_and_averages() -> None:
    network = network_of(32, 128)
    weights = 4 * network.parameters
    assert Step(network, False, True).state == pytest.approx(5 * weights)
    assert Step(network, False, True, averages=3).state == pytest.approx(7 * weights)
    assert Step(network, False, True, averages=1, shards=4).state == pytest.approx(5 * weights / 4)


# The choice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [4, 8, 16, 24, 40, 80, 141])
@pytest.mark.parametrize("size", ROWS)
def test_the_step_fits_whatever_the_memory(size: int, memory: int) -> None:
    """By counted activations and parameters; in bfloat16 at most what float32 takes."""
    found, machine = values(size, gpu(memory)), gpu(memory)
    network = UNet((size, size), found["model.nf"], found["model.ch_mult"], found["model.num_res_blocks"],
                   found["model.attn_resolutions"])  # fmt: skip
    step = Step(network, found["model.use_checkpoint"], half=True)
    at_a_time = found["training.microbatch"] or found["training.batch_size"]
    assert step.bytes(at_a_time, "cuda") <= usable(machine) < machine.memory
    assert set(found) == set(FIELDS)


@pytest.mark.parametrize("size", ROWS)
def test_more_memory_never_makes_a_narrower_network(size: int) -> None:
    widths = [values(size, gpu(memory))["model.nf"] for memory in (4, 8, 12, 16, 24, 32, 48, 80, 141, 192)]
    assert widths == sorted(widths)
    assert values(size, gpu(1))["model.nf"] < widths[-1]


@pytest.mark.parametrize(
    ("size", "machine", "expected"),
    [
        # Ho et al. 2020, appendix B: CIFAR-10, and CelebA-HQ and LSUN of 256 pixels
        (32, gpu(80), {"model.nf": 128, "model.ch_mult": (1, 2, 2, 2), "model.num_res_blocks": 2,
                       "training.batch_size": 128, "optim.lr": 2e-4, "model.dropout": 0.1,
                       "model.ema_rate": 0.9999, "optim.warmup": 5000}),
        (256, gpu(80), {"model.nf": 128, "model.ch_mult": (1, 1, 2, 2, 4, 4), "model.num_res_blocks": 2,
                        "training.batch_size": 64, "optim.lr": 2e-5, "model.dropout": 0.0}),
        # Dhariwal & Nichol 2021, appendix I
        (128, gpu(80, 8), {"model.nf": 256, "model.ch_mult": (1, 1, 2, 3, 4), "model.num_res_blocks": 2,
                           "training.batch_size": 256, "optim.lr": 1e-4, "model.dropout": 0.0}),
        (64, gpu(80), {"model.nf": 192, "model.ch_mult": (1, 2, 3, 4), "model.num_res_blocks": 3,
                       "optim.lr": 1e-4, "model.dropout": 0.1}),
    ],
)  # fmt: skip
def test_where_memory_allows_it_the_setup_is_a_published_one(
    size: int, machine: Machine, expected: dict[str, Any]
) -> None:
    found = values(size, machine)
    assert {path: found[path] for path in expected} == expected


def test_given_fields_hold_and_the_others_go_with_them() -> None:
    machine = gpu(24)
    free, narrow = values(64, machine), values(64, machine, {"model.nf": 64})
    assert free["model.nf"] == 128
    assert "model.nf" not in narrow
    assert narrow["training.microbatch"] > free["training.microbatch"]  # there is room for more images
    assert narrow["optim.lr"] == pytest.approx(2 * free["optim.lr"])
    quarter = values(64, machine, {"training.batch_size": 64, "model.nf": 128})
    assert quarter["optim.lr"] == pytest.approx(free["optim.lr"] / 2)
    assert quarter["training.n_iters"] == pytest.approx(4 * free["training.n_iters"], rel=0.01)
    tight = gpu(16)
    assert not values(64, tight, {"model.nf": 128})["model.use_checkpoint"]
    assert values(64, tight, {"model.nf": 128}, half=False)["model.use_checkpoint"]
    wide = values(64, machine, {"model.nf": 192, "model.use_checkpoint": False})
    assert 0 < wide["training.microbatch"] < 64
    short = values(64, machine, {"training.n_iters": 2000})
    assert (short["optim.warmup"], short["model.ema_rate"], short["training.snapshot_freq"]) == (
        100,
        0.995,
        100,
    )
    every = ("training.snapshot_freq", "training.snapshot_freq_for_preemption")
    assert [short[name] for name in every] == [100, 20]  # a twentieth, and more than a two-hundredth
    shorter = values(64, machine, {"training.n_iters": 50})
    assert [shorter[name] for name in every] == [50, 20]
    accumulated = values(64, machine, {"model.nf": 128}, accumulate=4)
    assert accumulated["training.batch_size"] * 4 == free["training.batch_size"]
    assert accumulated["optim.lr"] == free["optim.lr"]


def test_processes_share_the_batch_and_shards_the_state() -> None:
    one, eight = values(256, gpu(80)), values(256, gpu(80, 8))
    assert one["model.nf"] < eight["model.nf"] == 256
    given = {"model.nf": 256, "model.use_checkpoint": False}
    whole, shard = (values(256, gpu(24, 8), given, shard=shard) for shard in (False, True))
    assert whole["training.microbatch"] < shard["training.microbatch"]


def test_a_cpu_has_a_small_network() -> None:
    found = values(32, Machine("cpu", 8 * GIB, "float32"))
    assert found["model.nf"] == 32
    assert found["optim.lr"] == pytest.approx(8e-4)


def test_what_fits_nowhere_is_said() -> None:
    found = choose_setup((256, 256), gpu(1), {"model.nf": 256})
    assert "which may be too little" in found["training.microbatch"].reason
    assert found["training.microbatch"].value == 1
    assert found["model.use_checkpoint"].value is True


def test_sizes_between_take_the_levels_that_they_halve_to() -> None:
    found = choose_setup((28, 28), gpu(24), {})
    assert found["model.ch_mult"].value == (1, 2, 2)
    assert found["model.attn_resolutions"].value == (14,)
    assert choose_setup((48, 64), gpu(24), {})["model.ch_mult"].value == (1, 2, 3, 4)
    assert choose_setup((512, 512), gpu(24), {})["model.nf"].value <= values(256, gpu(24))["model.nf"]


# The machine -----------------------------------------------------------------------------------------------------


def test_memory_is_the_least_limit_of_the_control_groups(tmp_path: Path) -> None:
    """The machine's, where there are none; a group's own limit and those above it, of either version."""
    real = main_memory(tmp_path)
    assert real > 2**20
    (tmp_path / "proc/self").mkdir(parents=True)
    groups = tmp_path / "proc/self/cgroup"
    groups.write_text("0::/user/job\n")
    job = tmp_path / "sys/fs/cgroup/user/job"
    job.mkdir(parents=True)
    (job / "memory.max").write_text("max\n")
    assert main_memory(tmp_path) == real
    (job.parent / "memory.max").write_text("2000000\n")
    assert main_memory(tmp_path) == 2000000
    (job / "memory.max").write_text("1000000\n")
    assert main_memory(tmp_path) == 1000000
    old = tmp_path / "sys/fs/cgroup/memory/job"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("500000\n")
    groups.write_text("7:cpu,cpuacct:/job\n5:hugetlb,memory:/job\n")
    assert main_memory(tmp_path) == 500000


def test_processes_of_a_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """And all of them, on every machine, share the batch."""
    monkeypatch.setattr(machines, "main_memory", lambda: 61 * GIB + 5)
    alone = this_machine(torch.device("cpu"))
    assert (alone.kind, alone.memory, alone.processes) == ("cpu", 61 * GIB, 1)
    for name, value in (("WORLD_SIZE", "8"), ("RANK", "3"), ("LOCAL_WORLD_SIZE", "4")):
        monkeypatch.setenv(name, value)
    shared = this_machine(torch.device("cpu"))
    assert (shared.memory, shared.processes) == (15 * GIB, 8)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx512f avx512_bf16 amx_tile", "bfloat16"),
        ("Features : fp asimd bf16 i8mm", "bfloat16"),
        ("flags : fpu avx512f avx512bw", "float32"),
    ],
)
def test_a_processor_without_bfloat16_computes_in_float32(flags: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(flags)
    assert machines._of_processor(tmp_path / "cpuinfo") == expected
    assert machines._of_processor(tmp_path / "none") == "float32"


@pytest.mark.parametrize(
    ("major", "expected"), [(6, "float32"), (7, "float16"), (8, "bfloat16"), (9, "bfloat16")]
)
def test_the_precision_of_a_gpu(major: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        total_memory = 24 * 10**9 + 10**9

    Properties.major = major  # type: ignore[attr-defined]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    found = this_machine(torch.device("cuda:0"))
    assert (found.kind, found.memory, found.precision) == ("cuda", 23 * GIB, expected)


def test_the_table_of_the_documentation_is_what_is_chosen() -> None:
    rows = re.findall(r"^\| (\d+) \| (?:(\d+) x )?(\d+) \|(.*)\|$", (ROOT / "docs/auto.md").read_text(), re.M)
    assert len(rows) == 4 * len(ROWS)
    for size, processes, memory, written in rows:
        found = values(int(size), gpu(int(memory), int(processes or 1)))
        levels = ", ".join(map(str, found["model.ch_mult"]))
        again = "yes" if found["model.use_checkpoint"] else "no"
        cells = [found["model.nf"], levels, found["model.num_res_blocks"], again, found["training.batch_size"],
                 found["training.microbatch"] or "all", f"{found['optim.lr']:g}"]  # fmt: skip
        assert [cell.strip() for cell in written.split("|")] == [*map(str, cells)]

"""``--mode doctor``: what is wrong is said with what to do, and of a sound machine nothing is."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from run_lib.computing.limits import nearest_folder, usable_cores
from run_lib.computing.processor import described, instructions
from run_lib.doctor.diagnosis import GIB, diagnose
from run_lib.doctor.facts import Facts, Graphics, gather
from run_lib.doctor.report import report
from tests.run_lib.program import program

CARD = Graphics("a card", "sm_90", 70 * GIB, 80 * GIB)
SOUND = Facts(
    versions={"torch": "2.9.0+cu130", "torchvision": "0.24.0+cu130"},
    torchvision_error="",
    processor="a processor",
    cores=8,
    threads=8,
    load=0.2,
    memory=30 * GIB,
    total_memory=32 * GIB,
    folder=Path("runs"),
    refused="",
    disk=100 * GIB,
    shared_memory=16 * GIB,
    graphics=(CARD,),
    driver="580.65",
    cuda="13.0",
    kernels=("sm_80", "sm_90", "sm_120"),
)


def test_nothing_is_wrong_with_a_sound_machine() -> None:
    assert diagnose(SOUND) == []
    assert "Nothing is wrong" in report(SOUND)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"torchvision_error": "RuntimeError: operator torchvision::nms does not exist"}, "nms does not.*pip install"),
        ({"versions": {"torch": "2.9.0+cpu", "torchvision": "0.24.0+cu130"}}, "cpu and cu130.*pip install"),
        ({"graphics": (), "cuda": ""}, r"driver \(580.65\).*processors alone.*pip install"),
        ({"graphics": ()}, "sees no GPU.*CUDA_VISIBLE_DEVICES.*CUDA 13.0"),
        ({"graphics": (replace(CARD, capability="sm_61"),)}, "sm_61.*no kernels.*sm_80"),
        ({"cores": 2.0}, "8 threads share 2 cores.*OMP_NUM_THREADS=2"),
        ({"load": 5.1}, "5.1 of 8 cores.*OMP_NUM_THREADS=3"),
        ({"refused": "Permission denied"}, "runs cannot be written: Permission denied.*--workdir"),
        ({"disk": GIB}, "1 GiB of disk"),
        ({"memory": GIB}, "1 GiB of memory"),
        ({"shared_memory": 2**26}, "/dev/shm has 64 MiB.*--shm-size"),
    ],
)  # fmt: skip
def test_each_fault_is_said_alone_with_its_remedy(facts: dict[str, Any], said: str) -> None:
    (found,) = diagnose(replace(SOUND, **facts))
    assert re.search(said, found)
    assert "What is wrong" in report(replace(SOUND, **facts))


def test_a_card_runs_kernels_of_its_major_version() -> None:
    """sm_80 runs on sm_86: of one major version, a later minor one runs what an earlier one does."""
    assert diagnose(replace(SOUND, graphics=(replace(CARD, capability="sm_86"),))) == []


def test_other_work_matters_to_several_threads_alone() -> None:
    """One thread waits for no other; where no load is known, none is judged."""
    assert diagnose(replace(SOUND, load=20.0, threads=1)) == []
    assert diagnose(replace(SOUND, load=None)) == []


def test_cores_are_those_of_the_affinity_mask_or_of_the_least_quota(tmp_path: Path) -> None:
    """cpu.max of version 2 has microseconds of a period; version 1 has two files, and -1 for none."""
    mask = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable_cores(tmp_path) == mask
    (tmp_path / "proc/self").mkdir(parents=True)
    groups = tmp_path / "proc/self/cgroup"
    groups.write_text("0::/job\n")
    job = tmp_path / "sys/fs/cgroup/job"
    job.mkdir(parents=True)
    (job / "cpu.max").write_text("max 100000\n")
    assert usable_cores(tmp_path) == mask
    (job.parent / "cpu.max").write_text("50000 100000\n")
    assert usable_cores(tmp_path) == 0.5
    groups.write_text("3:cpu,cpuacct:/\n")
    old = tmp_path / "sys/fs/cgroup/cpu"
    old.mkdir()
    (old / "cpu.cfs_period_us").write_text("100000\n")
    (old / "cpu.cfs_quota_us").write_text("-1\n")
    assert usable_cores(tmp_path) == mask
    (old / "cpu.cfs_quota_us").write_text("25000\n")
    assert usable_cores(tmp_path) == 0.25


def test_a_processor_has_a_name_and_what_decides_its_speed(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("model name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2 avx512f sse\n" * 2)
    assert described(told) == "Some CPU @ 2 GHz avx2 avx512f"
    assert instructions(told) == {"fpu", "avx2", "avx512f", "sse"}


@pytest.mark.slow
def test_here(tmp_path: Path) -> None:
    """Nothing is made where a run would write, and what is told is this installation's."""
    folder = tmp_path / "a" / "b"
    assert nearest_folder(folder) == tmp_path
    found = gather(folder)
    assert not list(tmp_path.iterdir())
    assert found.versions["torch"] == torch.__version__
    assert found.threads == torch.get_num_threads()
    assert found.memory <= found.total_memory
    assert (found.refused, found.torchvision_error) == ("", "")


def test_the_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The process that imports torchvision takes seconds, and is the test's before.
    monkeypatch.setattr("run_lib.doctor.facts._imported", lambda module: ("1.2.3", ""))
    outcome = program("--mode", "doctor", "--workdir", tmp_path / "none")
    assert outcome.status == 0, outcome.err
    assert str(torch.__version__) in outcome.out and "1.2.3" in outcome.out
    assert f"free at {tmp_path / 'none'}" in outcome.out
    assert not (tmp_path / "none").exists()

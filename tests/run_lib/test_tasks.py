"""Training tasks, objectives and improved-diffusion's training settings, through the program."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from run_lib.config import plans
from run_lib.config.plans import CompletePlan
from run_lib.config.sampling import SamplingPlan
from run_lib.data.levels import Arrays
from run_lib.run import Run
from run_lib.training.steps import backward, make_batches
from tests.run_lib.planned import planned
from tests.run_lib.program import ROOT, TINY, numbers, program, run
from tests.run_lib.tiny import get_config as tiny

CHAIN: dict[str, Any] = {
    "training__sde": "ddpm",
    "training__times": "uniform",
    "model__num_scales": 20,
    "model__beta_schedule": "cosine",
    "data__uniform_dequantization": False,
    "sampling__grid": "uniform",
    "sampling__respacing": "4",
    "sampling__predictor": "ancestral_sampling",
}
BOUND: dict[str, Any] = {**CHAIN, "eval__bpd_method": "vlb"}
SUPERRES: dict[str, Any] = {
    **CHAIN, "training__task": "superres", "model__name": "adm_superres", "data__low_res_size": 4,
}  # fmt: skip
CLASSIFIER: dict[str, Any] = {
    **CHAIN, "training__task": "classifier", "model__name": "adm_encoder", "model__pool": "adaptive",
    "model__num_classes": 10, "model__num_head_channels": 4, "eval__enable_accuracy": True,
    "eval__enable_bpd": False, "eval__enable_sampling": False, "eval__accuracy_levels": 3,
}  # fmt: skip


def complete(**fields: Any) -> CompletePlan:
    plan: CompletePlan = planned(tiny(), plans.complete, fields)
    return plan


def gradient(fields: dict[str, Any], **more: Any) -> torch.Tensor:
    """Of the first training step, all parameters joined."""
    plan = planned(tiny(), plans.training, {**fields, **more})
    torch.manual_seed(0)
    for p in plan.subject.network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    state = Run(Path("unused")).new_state(plan)
    backward(state, plan, make_batches(plan), 0)
    state.scaler.unscale_(state.optimizer)
    return torch.cat([p.grad.flatten() for p in plan.subject.network.parameters() if p.grad is not None])


@pytest.mark.parametrize("times", ["uniform", "stratified", "importance"])
def test_microbatches_give_the_batches_gradient(times: str) -> None:
    """In parts of 3, 3 and 2 of 8: equal but for the order of additions. improved-diffusion's would be 3
    times it."""
    fields = {**CHAIN, "training__times": times, "model__dropout": 0.0}
    whole, parts = gradient(fields), gradient(fields, training__microbatch=3)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6 * float(whole.abs().max()))


def test_half_precision_gradients_are_those_of_single_precision() -> None:
    """float16 keeps 11 bits; scaled by 2^20 nothing of the gradient is lost to underflow."""
    fields = {**CHAIN, "model__dropout": 0.0}
    single, half = (
        gradient(fields),
        gradient(fields, training__precision="float16", training__loss_scale=10.0),
    )
    assert float((half - single).norm() / single.norm()) < 0.01


def test_linear_schedule_and_further_averages(tmp_path: Path) -> None:
    """Two averages that forget at other rates; with rate 0 the average is the weights themselves."""
    settings = {
        **CHAIN,
        "model__ema_rates": "(0.0,)",
        "model__ema_warmup": False,
        "optim__schedule": "linear",
        "optim__lr": 2e-3,
        "optim__warmup": 0,
    }
    run(TINY, "train", tmp_path, **settings)
    held = torch.load(tmp_path / "checkpoints" / "step_00000006.pt", weights_only=True)
    shadow = held["averages"][0.0]["shadow"]
    assert all(torch.equal(shadow[name], held["model"][name]) for name in shadow)
    assert not all(torch.equal(shadow[name], held["ema"]["shadow"][name]) for name in shadow)
    # the sixth of six steps has a sixth of the rate left
    assert held["optimizer"]["param_groups"][0]["lr"] == pytest.approx(2e-3 / 6)
    used = run(TINY, "sample", tmp_path, **settings, model__used_ema_rate=0.0)
    assert "6 samples" in used.out


@pytest.mark.slow
def test_importance_sampling_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Six steps at once, and three and three: the same weights, so the history was in the checkpoint."""
    settings = {**CHAIN, "training__times": "importance", "training__snapshot_freq_for_preemption": 3}
    settings |= {"training__batch_size": 80}  # ten losses of each level after three or four steps
    run(TINY, "train", tmp_path / "whole", **settings)
    run(TINY, "train", tmp_path / "parts", **{**settings, "training__n_iters": 3})
    run(TINY, "train", tmp_path / "parts", **settings)
    files = [
        torch.load(tmp_path / w / "checkpoints/step_00000006.pt", weights_only=True)
        for w in ("whole", "parts")
    ]
    assert int(files[0]["times"]["counts"].sum()) == 6 * 80
    assert torch.equal(files[0]["times"]["losses"], files[1]["times"]["losses"])
    assert all(torch.equal(files[0]["model"][n], files[1]["model"][n]) for n in files[0]["model"])


@pytest.mark.slow
def test_learned_variances_train_and_their_bound_adds_up(tmp_path: Path) -> None:
    settings = {
        **BOUND,
        "model__variance": "learned_range",
        "eval__bpd_num_images": 6,
        "model__num_classes": 10,
    }
    run(TINY, "all", tmp_path, **settings)
    found = numbers(tmp_path)
    parts = [found[f"vlb/test, {part}"]["value"] for part in ("prior", "steps", "reconstruction")]
    assert found["vlb/test"]["value"] == pytest.approx(sum(parts))
    assert found["vlb/test"]["nfe"] == 20
    held = np.load(tmp_path / "eval" / "vlb_test_6.npz")
    assert held["steps"].shape == (1, 6, 19)  # repeats, images, steps
    bits = held["total"] / (64 * math.log(2))
    assert found["vlb/test"]["value"] == pytest.approx(bits.mean())
    assert np.load(tmp_path / "samples" / "samples.npz")["arr_1"].tolist() == [0, 1, 2, 3, 4, 5]


def test_bound_and_flow_in_one_report(tmp_path: Path) -> None:
    """A network of classes trained on the chain and sampled as an SDE has both numbers, of the same images."""
    settings = {
        "model__num_classes": 10,
        "training__continuous": False,
        "eval__bpd_method": "both",
        "model__num_scales": 20,
    }
    settings |= {"training__times": "uniform", "eval__enable_sampling": False, "eval__enable_loss": False}
    run(TINY, "train", tmp_path, **settings)
    run(TINY, "eval", tmp_path, **settings)
    found = numbers(tmp_path)
    assert {found["bpd/test"]["count"], found["vlb/test"]["count"]} == {6}
    assert found["bpd/test"]["unit"] == found["vlb/test"]["unit"] == "bits/dim"


def test_classifier(tmp_path: Path) -> None:
    """Accuracy at the cleanest, a middle and the noisiest level; a network that knows nothing is right one
    time in ten."""
    run(TINY, "all", tmp_path, **CLASSIFIER)
    found = numbers(tmp_path)
    names = [name for name in found if name.startswith("accuracy")]
    assert names == ["accuracy/test, t=0", "accuracy/test, t=10", "accuracy/test, t=19"]
    assert all(found[name]["count"] == 360 and 0 <= found[name]["value"] < 0.5 for name in names)
    assert not (tmp_path / "samples").exists()
    assert (
        "a classifier has no samples"
        in program("--config", TINY, "--mode", "sample", "--workdir", tmp_path, **CLASSIFIER).error
    )


def test_super_resolution_conditions_on_the_images_own_means() -> None:
    """In training, areas of 2x2 of the data; in sampling, without base samples, the same of the test
    images."""
    plan = planned(tiny(), plans.sampling, SUPERRES)
    x0 = torch.arange(64.0).reshape(1, 1, 8, 8)
    low = plan.task.conditions(x0, torch.zeros(1))["low_res"]
    assert low[0, 0, 0].tolist() == [4.5, 6.5, 8.5, 10.5]
    test = plan.data.load("test")
    base = plan.task.sampling_conditions([3, 363], plan.device)["low_res"]
    expected = (2 * test.images[3].double() / 16 - 1).reshape(4, 2, 4, 2).mean((1, 3))
    torch.testing.assert_close(base[0, 0].double(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(base[0], base[1])  # 360 test images, so they repeat


def test_super_resolution_from_an_npz_of_another_model(tmp_path: Path) -> None:
    """arr_0 as improved-diffusion writes it, channels last, and labels."""
    run(TINY, "train", tmp_path, **SUPERRES, model__num_classes=10)
    base = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4, 1) % 17
    np.savez(tmp_path / "base.npz", base, np.array([7, 2, 9]))
    settings = {**SUPERRES, "model__num_classes": 10, "sampling__base_samples": tmp_path / "base.npz"}
    run(TINY, "sample", tmp_path, **settings)
    with np.load(tmp_path / "samples" / "samples.npz") as found:
        assert found["arr_0"].shape == (6, 8, 8, 1)
        assert found["arr_1"].tolist() == [7, 2, 9, 7, 2, 9]


@pytest.mark.slow
def test_base_samples_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    run(TINY, "train", tmp_path, **SUPERRES, model__num_classes=10)

    def error(*arrays: np.ndarray) -> str:
        np.savez(tmp_path / "base.npz", *arrays)
        settings = {**SUPERRES, "model__num_classes": 10, "sampling__base_samples": tmp_path / "base.npz"}
        return program("--config", TINY, "--mode", "sample", "--workdir", tmp_path, **settings).error

    small = np.zeros((2, 1, 4, 4), np.uint8)
    assert "images of (1, 5, 5) but the network was trained on (1, 4, 4)" in error(
        np.zeros((2, 1, 5, 5), np.uint8)
    )
    assert "has no class labels" in error(small)
    assert "class labels up to 10, out of range for model.num_classes=10" in error(small, np.array([3, 10]))
    assert "2 images and 1 labels" in error(small, np.array([3]))
    assert "values up to 99" in error(small + 99, np.array([3, 3]))


def test_labels_that_the_network_cannot_be_told_are_refused() -> None:
    task = planned(tiny(), plans.sampling, {**CHAIN, "model__num_classes": 5}).task
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(
        ValueError, match=r"labels up to 9, out of range for model\.num_classes=5; set it to at least 10"
    ):
        task.check(Arrays(images, torch.tensor([0, 9])), "the split")
    with pytest.raises(ValueError, match="the split has no class labels"):
        task.check(Arrays(images, torch.tensor([-1, -1])), "the split")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampling__respacing": "ddim8"}, "no stride keeps exactly 8 of 20 levels"),
        (
            {"model__variance": "learned_range", "model__out_channels": 1},
            "needs a network with 2 output channels",
        ),
        (
            {"model__variance": "learned"} | {"training__objective": "simple"},
            "leaves learned variances untrained",
        ),
        ({"training__objective": "hybrid"}, "set model.variance='learned_range'"),
        (
            {"training__objective": "kl", "data__uniform_dequantization": True},
            "set data.uniform_dequantization=False",
        ),
        ({"training__objective": "kll"}, "Did you mean 'kl'"),
        ({"training__objective": "mse", "training__weighting": "v"}, "has its own weights"),
        ({"training__task": "superres"}, "needs a network that sees the small image"),
        ({"training__task": "superres", "model__name": "adm_superres"}, "set data.low_res_size"),
        ({"data__low_res_size": 4}, "or set training.task='superres'"),
        ({"training__task": "classifier"}, "does not classify"),
        ({"sampling__clip_denoised": True, "sampling__dynamic_threshold": 0.9}, "set one"),
        ({"model__betas": (0.1, 0.2)}, "of 2 levels but the chain has config.model.num_scales=20"),
        ({"model__ema_rates": (0.995,)}, "each of another rate"),
        (
            {"training__precision": "fp16"},
            "config.training.precision is one of float32, tf32, bfloat16, float16; got 'fp16'",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        complete(**{**CHAIN, **fields})


def test_a_chain_is_needed_where_levels_are_counted() -> None:
    for fields in (
        {"training__times": "importance"},
        {"training__objective": "kl"},
        {"sampling__respacing": "4"},
    ):
        with pytest.raises(ValueError, match=r"chain|DiscreteDiffusion"):
            complete(data__uniform_dequantization=False, **fields)


@pytest.mark.slow
def test_enlarged_test_images_are_compared_with_the_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples one level too bright everywhere: PSNR 20 log10(16), and small images one level too bright."""
    import run_lib.evaluation.restoration as restoration
    from run_lib.sample import Batch

    plan = planned(tiny(), plans.sampling, SUPERRES)
    truth = plan.data.load("test").images

    def one_level_brighter(plan: SamplingPlan, rows: range) -> Batch:
        return Batch(truth[list(rows)].int() + 1, None, 7)

    monkeypatch.setattr(restoration, "draw", one_level_brighter)
    run(TINY, "train", tmp_path, **SUPERRES)
    only = {"eval__enable_bpd": False, "eval__enable_sampling": False, "eval__enable_restoration": True}
    run(TINY, "eval", tmp_path, **SUPERRES, **only)
    found = numbers(tmp_path)
    assert found["psnr/test images"]["value"] == pytest.approx(20 * math.log10(16), rel=1e-12)
    assert found["error of small images"]["value"] == pytest.approx(1, rel=1e-5)
    assert found["psnr/bicubic enlargement"]["value"] < 20 * math.log10(16)


@pytest.mark.parametrize(
    "name",
    [
        "digits_learned",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("digits", "digits_classifier", "digits_superres")
        ),
    ],
)
def test_configurations_of_the_digits_run(name: str, tmp_path: Path) -> None:
    """Whole, in miniature."""
    small = {
        "training__n_iters": 2,
        "training__batch_size": 4,
        "training__snapshot_sampling": False,
        "model__nf": 8,
        "model__num_groups": 4,
        "model__num_scales": 10,
        "sampling__respacing": "3",
        "sampling__num_samples": 4,
        "device": "cpu",
    }
    if name in ("digits", "digits_learned"):
        small |= {"eval__bpd_respacing": "3", "eval__num_samples": 70, "eval__bpd_num_images": 3}
    if "classifier" in name:
        small["model__num_head_channels"] = 8
    run(ROOT / f"configs/adm/{name}.py", "all", tmp_path, **small)
    assert numbers(tmp_path)

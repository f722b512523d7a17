"""EDM's augmentation: what it does to an image, what it says of it, and who is told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models import register_model
from run_lib.config import plans
from run_lib.data.non_leaky import NonLeaky
from run_lib.data.warping import SYM6, warp
from run_lib.training import steps
from sde_lib.noise import Noise
from tests.run_lib.planned import planned
from tests.run_lib.program import TINY, program, run
from tests.run_lib.tiny import get_config as tiny

EYE = torch.eye(2, 3)


def affine(*rows: tuple[float, float, float]) -> Tensor:
    """A and b of one image."""
    return torch.tensor(rows)[None]


def test_the_filter_is_an_orthogonal_wavelets() -> None:
    """Daubechies' conditions: orthonormal to its even shifts, and six vanishing moments of its mirror."""
    for shift in range(6):
        found = sum(SYM6[n] * SYM6[n + 2 * shift] for n in range(12 - 2 * shift))
        assert found == pytest.approx(float(shift == 0), abs=1e-12)
    for moment in range(6):
        assert sum((-1) ** n * n**moment * h for n, h in enumerate(SYM6)) == pytest.approx(0, abs=1e-6)


def test_moves_by_whole_pixels_are_exact() -> None:
    """The pixel at u comes from u + b; next to the border, where the filter reaches over it, as well."""
    x = torch.randn(1, 2, 24, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(warp(x, EYE[None]), x, atol=1e-5, rtol=0)
    found = warp(x, affine((1, 0, 3.0), (0, 1, -2.0)))
    torch.testing.assert_close(found[..., :21, 2:], x[..., 3:, :18], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[..., :21, :2], x[..., 3:, 1:3].flip(-1), atol=1e-5, rtol=0)  # reflected


def test_borders_are_reflected() -> None:
    """Far outside, too: an image that is linear from edge to edge is a zigzag."""
    x = torch.arange(16.0).expand(1, 1, 4, 16)
    found = warp(x, affine((1, 0, 0.0), (0, 1, -45.0)))  # from 45 to 30 pixels before the first
    torch.testing.assert_close(found[0, 0, 1], 15 - torch.arange(16.0), atol=0.2, rtol=0)


@pytest.mark.parametrize("angle", [math.pi / 2, 0.4, -2.5])
def test_a_wave_is_turned_and_scaled(angle: float) -> None:
    """A wave of eight pixels against its closed form: cos(k.(A u + b)), to the error of reading between pixels."""
    size, k = 48, torch.tensor([0.5, -0.6])
    at = torch.arange(size) - (size - 1) / 2
    u = torch.stack(torch.meshgrid(at, at, indexing="ij"), dim=-1)
    turn = 1.2 * torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    inverse = torch.cat([turn, torch.tensor([[0.3], [-1.7]])], dim=1)
    found = warp((u @ k).cos()[None, None], inverse[None])[0, 0]
    wanted = ((u @ turn.T + inverse[:, 2]) @ k).cos()
    inner = slice(16, 32)
    torch.testing.assert_close(found[inner, inner], wanted[inner, inner], atol=0.03, rtol=0)


def picture(size: int = 16) -> Tensor:
    return torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(1)).expand(4000, -1, -1, -1)


ONLY: dict[str, Any] = dict.fromkeys(
    ("augment_scale", "augment_turn", "augment_stretch", "augment_move"), 0.0
)


def test_mirrors_are_exact_and_told() -> None:
    """Left to right in half of the images; upside down in half of a share p."""
    x = picture()
    found = NonLeaky(augment_p=0.4, **ONLY)(x, Noise(3, range(len(x))))
    assert found.labels is not None
    mirrored, turned = found.labels[:, 0] == 1, found.labels[:, 1] == 1
    for rows, image in (
        (~mirrored & ~turned, x[0]), (mirrored & ~turned, x[0].flip(-1)), (mirrored & turned, x[0].flip(-1, -2))
    ):  # fmt: skip
        assert torch.equal(found.images[rows], image.expand(int(rows.sum()), -1, -1, -1))
    assert float(mirrored.double().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 4000**0.5)
    assert float(turned.double().mean()) == pytest.approx(0.2, abs=4 * 0.4 / 4000**0.5)
    assert (found.labels[:, 2:] == 0).all()


def test_numbers_of_what_was_done() -> None:
    """Each kind in a share p, independently; standard normal where it is; the angles' cosine and sine."""
    x, p = picture(8), 0.3
    labels = NonLeaky(augment_p=p)(x, Noise(4, range(len(x)))).labels
    assert labels is not None
    scale, turn, stretch, move = labels[:, 2], labels[:, 3:5], labels[:, 5:7], labels[:, 7:]
    error = 4 * (p * (1 - p) / 4000) ** 0.5
    for kind in (scale, turn[:, 1], stretch.norm(dim=1), move[:, 0]):
        assert float((kind != 0).double().mean()) == pytest.approx(p, abs=error)
    assert float(((scale != 0) & (turn[:, 1] != 0)).double().mean()) == pytest.approx(p * p, abs=error)
    for drawn in (scale[scale != 0], move[move != 0], stretch.norm(dim=1)[stretch[:, 1] != 0]):
        assert float(drawn.square().mean()) == pytest.approx(1, abs=4 * (2 / len(drawn)) ** 0.5)
    torch.testing.assert_close((turn + torch.tensor([1.0, 0.0])).norm(dim=1), torch.ones(4000))


@pytest.mark.parametrize(
    ("field", "move"),
    [
        ("augment_move", lambda label: (1.0, label[7:9].flip(0) * 4)),
        ("augment_scale", lambda label: (2 ** (0.5 * label[2]), torch.zeros(2))),
    ],
)
def test_what_was_done_is_what_was_told(field: str, move: Any) -> None:
    """The middle of an image is at the place, and of the size, that the labels say: its mass and its spread."""
    size = 32
    at = torch.arange(size) - (size - 1) / 2
    u = torch.stack(torch.meshgrid(at, at, indexing="ij"), dim=-1)
    x = (-u.square().sum(-1) / 8).exp().expand(64, 1, -1, -1)
    fields = {**ONLY, field: 0.125 if field == "augment_move" else 0.5}
    found = NonLeaky(augment_p=1.0, augment_mirror=False, augment_upside_down=False, **fields)(
        x, Noise(5, range(64))
    )
    assert found.labels is not None
    for image, label in zip(found.images[:, 0], found.labels, strict=True):
        scale, shift = move(label)
        if shift.norm() > 6 or not 0.8 < scale < 1.8:  # it is cut off, or reflected copies are there
            continue
        mass = image / image.sum()
        mean = (mass[..., None] * u).sum((0, 1))
        torch.testing.assert_close(mean, shift, atol=0.05, rtol=0)
        spread = (mass * (u - mean).square().sum(-1)).sum() / 2
        assert float(spread) == pytest.approx(4 * float(scale) ** 2, rel=0.08, abs=0.2)


def test_a_turn_is_by_the_angle_that_was_told() -> None:
    """From right to down: a spot to the right of the middle is at the angle whose cosine and sine the labels have."""
    size = 32
    at = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    spot = (-((x - 6).square() + y.square()) / 4).exp().expand(64, 1, -1, -1)
    turned = {**ONLY, "augment_turn": 1.0}
    found = NonLeaky(augment_p=1.0, augment_mirror=False, augment_upside_down=False, **turned)(
        spot, Noise(6, range(64))
    )
    assert found.labels is not None
    seen = found.images[:, 0].where(found.images[:, 0] > 0.1, 0.0)  # without the filter's ripples far away
    mass = seen / seen.sum((1, 2), keepdim=True)
    place = torch.stack([(mass * x).sum((1, 2)), (mass * y).sum((1, 2))], dim=1)
    torch.testing.assert_close(place, 6 * (found.labels[:, 3:5] + torch.tensor([1.0, 0.0])), atol=0.1, rtol=0)


def test_half_of_the_stretches_are_along_the_axes_and_upside_down_can_be_left_out() -> None:
    x = picture(8)
    labels = NonLeaky(augment_p=1.0, augment_upside_down=False)(x, Noise(7, range(len(x)))).labels
    assert labels is not None
    assert float((labels[:, 6] == 0).double().mean()) == pytest.approx(0.5, abs=4 * 0.5 / 4000**0.5)
    assert not labels[:, 1].any()


def test_it_is_of_images_alone() -> None:
    with pytest.raises(ValueError, match=r"data\.augment='edm' has no meaning for data of shape \(3, 16\)"):
        planned(tiny(), plans.training, {"data__augment": "edm", "data__shape": (3, 16)})


def test_nothing_happens_without_probability() -> None:
    x = picture(8)[:50]
    found = NonLeaky(augment_p=0.0, augment_mirror=False)(x, Noise(0, range(50)))
    assert torch.equal(found.images, x) and found.labels is not None and not found.labels.any()


@pytest.mark.parametrize("name", ["adm", "ddpm", "ncsnpp"])
def test_networks_are_told(name: str) -> None:
    """A linear map of the labels, at first zero; without labels, as with zeros; others than its own are refused."""
    sizes: dict[str, Any] = {
        "channels": 32,
        "channel_mult": (1,),
        "num_res_blocks": 1,
        "attention_resolutions": (),
    }
    torch.manual_seed(0)
    plain, told = (register_model[name](image_size=8, **sizes, augment_labels=n).eval() for n in (0, 9))
    assert len(list(told.parameters())) == len(list(plain.parameters())) + 1
    for p in told.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x, t, labels = torch.randn(2, 3, 8, 8), torch.rand(2), torch.randn(2, 9)
    assert torch.equal(told(x, t), told(x, t, augment=torch.zeros(2, 9)))
    assert not torch.allclose(told(x, t), told(x, t, augment=labels))
    with pytest.raises(ValueError, match=r"knows none \(augment_labels is 0\)"):
        plain(x, t, augment=labels)
    with pytest.raises(ValueError, match="knows 9 a sample"):
        told(x, t, augment=labels[:, :3])


def test_training_tells_and_nothing_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The labels reach the network in a step; the held-out loss, samples and likelihoods are without augmentation, and
    the mode that samples needs to be told nothing."""
    fields: dict[str, Any] = {"data__augment": "edm", "data__augment_p": 0.5}
    plan = planned(tiny(), plans.training, fields)
    seen: list[bool] = []
    forward = type(plan.subject.network).forward

    def watched(self: Any, *args: Any, augment: Tensor | None = None, **cond: Any) -> Tensor:
        seen.append(augment is not None)
        return forward(self, *args, augment=augment, **cond)

    monkeypatch.setattr(type(plan.subject.network), "forward", watched)
    run(TINY, "train", tmp_path, **fields, training__n_iters=2, training__eval_freq=1)
    assert any(seen) and not all(seen)
    seen.clear()
    run(TINY, "sample", tmp_path, **fields)
    assert seen and not any(seen)
    assert program("--config", TINY, "--mode", "sample", "--workdir", tmp_path).status == 2, "other weights"


def test_a_step_does_not_depend_on_its_parts() -> None:
    """Labels and images of a row are functions of the seed, the step and the row."""
    plan = planned(tiny(), plans.training, {"data__augment": "edm", "data__augment_p": 0.8})
    x = torch.randint(0, 17, (8, 1, 8, 8), dtype=torch.uint8)
    streams = [steps._streams(plan, steps.Use.TRAINING, 3, rows) for rows in (range(8), range(2, 5))]
    whole, part = (
        plan.subject.data.training_batch(some, noise)
        for some, noise in zip((x, x[2:5]), streams, strict=True)
    )
    torch.testing.assert_close(whole.images[2:5], part.images, atol=1e-6, rtol=0)
    assert torch.equal(whole.labels[2:5], part.labels)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"model__name": "ncsnv2_64"},
            "cannot be told: take 'flip' or 'crop', or one of adm, adm_superres, ddpm",
        ),
        ({"data__shape": (2,)}, "has no meaning for data of shape"),
        (
            {
                "training__sde": "ddpm",
                "data__uniform_dequantization": False,
                "training__objective": "kl",
                "sampling__predictor": "ancestral_sampling",
                "sampling__grid": "uniform",
            },
            "between which turned and stretched images lie",
        ),
    ],
)
def test_refused(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    outcome = program(
        "--config", TINY, "--mode", "train", "--workdir", tmp_path, data__augment="edm", **fields
    )
    assert message in outcome.error

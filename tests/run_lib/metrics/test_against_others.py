"""Our numbers of given features against torch-fidelity's and prdc's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from run_lib.metrics.base import InMemory, Measured, SetMetric
from run_lib.metrics.density_coverage import DensityCoverage
from run_lib.metrics.frechet import Frechet
from run_lib.metrics.inception_score import InceptionScore
from run_lib.metrics.kernel import KernelDistance
from run_lib.metrics.precision_recall import ImprovedPrecisionRecall

RNG = np.random.default_rng(0)
# Half precision of nothing: theirs are float32, as features come.
FAKE = (RNG.normal(size=(300, 24)) * 1.1 + 0.1).astype(np.float32)
REAL = RNG.normal(size=(400, 24)).astype(np.float32)


def ours(metric: SetMetric, fake: np.ndarray = FAKE, real: np.ndarray = REAL) -> dict[str, Measured]:
    found = metric.measure(InMemory({"features": fake}), InMemory({"features": real}), 0)
    return {one.name: one for one in found}


def test_frechet_distance() -> None:
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    a, b = (
        fid.fid_features_to_statistics(torch.from_numpy(rows.astype(np.float64))) for rows in (FAKE, REAL)
    )
    theirs = fid.fid_statistics_to_metric(a, b, verbose=False)
    assert ours(Frechet())[""].value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-9)


def test_frechet_distance_of_fewer_samples_than_features() -> None:
    """Its eigenvalues of a product that is not symmetric are good to the root of rounding where they are zero."""
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    few = FAKE[:10]
    a, b = (fid.fid_features_to_statistics(torch.from_numpy(rows.astype(np.float64))) for rows in (few, REAL))
    theirs = fid.fid_statistics_to_metric(a, b, verbose=False)
    assert ours(Frechet(), few)[""].value == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)


def test_kernel_distance_of_whole_sets() -> None:
    """Taken as one subset of all, for which theirs wants sets of one size."""
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    a, b = (torch.from_numpy(rows[:300].astype(np.float64)) for rows in (FAKE, REAL))
    theirs = kid.kid_features_to_metric(
        a, b, kid_subsets=1, kid_subset_size=300, kid_kernel="poly", kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1, rng_seed=0, verbose=False,
    )  # fmt: skip
    found = ours(KernelDistance(subset_size=0), FAKE, REAL[:300])[""]
    assert found.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)


@pytest.mark.parametrize(("count", "splits"), [(300, 10), (299, 7), (50, 1)])
def test_inception_score_of_the_same_splits(count: int, splits: int) -> None:
    """Theirs of logits in the order in which ours takes them."""
    isc = pytest.importorskip("torch_fidelity.metric_isc")
    logits = (3 * FAKE[:count]).astype(np.float32)
    shuffled = torch.from_numpy(logits[np.random.default_rng(5).permutation(count)])
    theirs = isc.isc_features_to_metric(shuffled, splits=splits, shuffle=False)
    found = {
        one.name: one for one in InceptionScore(splits=splits).measure(InMemory({"logits": logits}), None, 5)
    }
    assert found[""].value == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    if splits > 1:
        assert found["deviation of splits"].value == pytest.approx(theirs["inception_score_std"], rel=1e-9)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall(k: int) -> None:
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    theirs = prc.prc_features_to_metric(
        torch.from_numpy(FAKE), torch.from_numpy(REAL), prc_neighborhood=k, prc_batch_size=128, save_cpu_ram=True,
        verbose=False,
    )  # fmt: skip
    found = ours(ImprovedPrecisionRecall(k))
    assert 0.2 < found["recall"].value < 1
    for name in ("precision", "recall"):
        assert found[name].value == pytest.approx(theirs[name], rel=1e-6)


@pytest.mark.parametrize("k", [1, 5])
def test_density_and_coverage(
    k: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In blocks of 100, so that several meet."""
    prdc = pytest.importorskip("prdc")
    monkeypatch.setattr("run_lib.metrics.balls.ROWS", 100)
    theirs = prdc.compute_prdc(REAL.astype(np.float64), FAKE.astype(np.float64), k)
    found = {**ours(DensityCoverage(k)), **ours(ImprovedPrecisionRecall(k))}
    assert 0.2 < theirs["coverage"] < 1
    for name in ("precision", "recall", "density", "coverage"):
        assert found[name].value == pytest.approx(float(theirs[name]), rel=1e-6)

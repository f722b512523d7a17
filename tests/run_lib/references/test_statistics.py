"""Statistics of other programs are read as they wrote them; what is none, or of other features, is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from run_lib.extractors.base import Extractor
from run_lib.metrics.base import Output
from run_lib.metrics.moments import Moments
from run_lib.references.reading import is_statistics, read_statistics
from run_lib.references.statistics import write_score_sde, write_statistics

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(40, 6))
MEAN, COVARIANCE = ROWS.mean(0), np.cov(ROWS, rowvar=False)
SPATIAL = RNG.normal(size=(30, 4))
NPZ: dict[str, dict[str, Any]] = {
    "guided-diffusion": {
        "arr_0": np.zeros((2, 4, 4, 3), np.uint8), "mu": MEAN, "sigma": COVARIANCE,
        "mu_s": SPATIAL.mean(0), "sigma_s": np.cov(SPATIAL, rowvar=False),
    },
    "mu and sigma": {"mu": MEAN, "sigma": COVARIANCE},
    "score_sde": {"pool_3": ROWS.astype(np.float32), "logits": RNG.normal(size=(40, 3)).astype(np.float32)},
}  # fmt: skip


@dataclass(frozen=True)
class Fixed(Extractor):
    """An extractor of given sizes and protocol."""

    sizes: Mapping[Output, int]
    words: Mapping[str, str]
    title: ClassVar[str] = "Fixed"

    @property
    def dimensions(self) -> Mapping[Output, int]:
        return self.sizes

    @property
    def protocol(self) -> Mapping[str, str]:
        return self.words

    def __call__(self, images: Tensor, outputs: Collection[Output]) -> dict[Output, np.ndarray]:
        raise AssertionError("statistics need no features")


def same(found: Moments, mean: np.ndarray, covariance: np.ndarray, count: int, rtol: float = 0) -> None:
    np.testing.assert_allclose(found.mean, mean, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(found.covariance, covariance, rtol=rtol, atol=rtol)
    assert found.count == count and found.mean.dtype == found.covariance.dtype == np.float64


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_guided_diffusions_statistics_beside_its_images(tmp_path: Path) -> None:
    path = saved(tmp_path / "VIRTUAL.npz", **NPZ["guided-diffusion"])
    (found,) = read_statistics(path)
    assert found.extractor == "inception" and set(found.moments) == {"features", "spatial"}
    same(found.moments["features"], MEAN, COVARIANCE, 0)
    same(found.moments["spatial"], SPATIAL.mean(0), np.cov(SPATIAL, rowvar=False), 0)


def test_score_sdes_statistics_are_features_of_every_image(tmp_path: Path) -> None:
    path = tmp_path / "cifar10_stats.npz"
    np.savez_compressed(path, **NPZ["score_sde"])
    (found,) = read_statistics(path)
    assert found.extractor == "inception"
    same(found.moments["features"], MEAN, COVARIANCE, 40, 1e-6)
    np.testing.assert_array_equal(found.rows["features"], NPZ["score_sde"]["pool_3"])
    np.testing.assert_array_equal(found.rows["logits"], NPZ["score_sde"]["logits"])


@pytest.mark.parametrize(
    ("name", "extractor", "form"),
    [
        ("cifar10-32x32.npz", "inception", "EDM"),
        ("cifar10_legacy_tensorflow_train_32.npz", "inception", "clean-fid's, of its mode legacy_tensorflow"),
        ("mine_clean_custom_na.npz", "inception", "clean-fid's, of its mode clean"),
        ("ffhq_clean_clip_vit_b_32_trainval_256.npz", "clip", "clean-fid"),
    ],
)
def test_mean_and_covariance_are_of_what_their_name_says(
    name: str, extractor: str, form: str, tmp_path: Path
) -> None:
    (found,) = read_statistics(saved(tmp_path / name, **NPZ["mu and sigma"]))
    assert found.extractor == extractor and form in found.form
    same(found.moments["features"], MEAN, COVARIANCE, 0)


def test_edm2s_dictionaries_have_statistics_of_two_extractors(tmp_path: Path) -> None:
    held = {
        "num_images": 40,
        "fid": {"mu": MEAN, "sigma": COVARIANCE},
        "fd_dinov2": {"mu": SPATIAL.mean(0), "sigma": np.cov(SPATIAL, rowvar=False)},
    }
    path = tmp_path / "img512.pkl"
    path.write_bytes(pickle.dumps(held))
    first, second = read_statistics(path)
    assert (first.extractor, second.extractor) == ("inception", "dinov2")
    same(first.moments["features"], MEAN, COVARIANCE, 40)
    same(second.moments["features"], SPATIAL.mean(0), np.cov(SPATIAL, rowvar=False), 40)
    path.write_bytes(pickle.dumps({"mu": MEAN, "sigma": COVARIANCE}))
    (found,) = read_statistics(path)
    same(found.moments["features"], MEAN, COVARIANCE, 0)


def test_torch_fidelitys_cache(tmp_path: Path) -> None:
    """Written as its ``utils.py`` does, by ``torch.save``: a dictionary of arrays, or a tensor of features."""
    path = tmp_path / "cifar10-train-inception-v3-compat-stat-fid-2048.pt"
    torch.save({"mu": MEAN, "sigma": COVARIANCE}, path)
    (found,) = read_statistics(path)
    assert found.extractor == "inception"
    same(found.moments["features"], MEAN, COVARIANCE, 0)
    path = tmp_path / "mine-dinov2-vit-l-14-features-dinov2.pt"
    torch.save(torch.from_numpy(ROWS).float(), path)
    (found,) = read_statistics(path)
    assert found.extractor == "dinov2"
    same(found.moments["features"], MEAN, COVARIANCE, 40, 1e-6)
    np.testing.assert_array_equal(found.rows["features"], ROWS.astype(np.float32))


def test_torch_fidelity_itself_writes_what_is_read(tmp_path: Path) -> None:
    fidelity = pytest.importorskip("torch_fidelity.metric_fid")
    utils = pytest.importorskip("torch_fidelity.utils")
    features = torch.from_numpy(ROWS)
    utils.cache_lookup_one_recompute_on_miss(
        "mine-inception-v3-compat-stat-fid-2048",
        lambda: fidelity.fid_features_to_statistics(features),
        cache=True,
        cache_root=str(tmp_path),
        verbose=False,
    )
    (path,) = tmp_path.glob("*.pt")
    (found,) = read_statistics(path)
    same(found.moments["features"], MEAN, COVARIANCE, 0, 1e-12)


def ours(tmp_path: Path, **protocol: str) -> Path:
    path = tmp_path / "digits_train_inception.npz"
    moments: dict[Output, Moments] = {"features": Moments.of(ROWS), "spatial": Moments.of(SPATIAL[:, :2])}
    moments["spatial"] = Moments(moments["spatial"].mean, moments["spatial"].covariance, 40)
    write_statistics(path, "inception", moments, {"images": "digits", **protocol}, np.array([0, 2, 2, -1]))
    return path


def test_ours_come_back_with_their_protocol(tmp_path: Path) -> None:
    path = ours(tmp_path, weights="inception, 6726825d", resize="299x299")
    (found,) = read_statistics(path)
    expected = Moments.of(ROWS)
    np.testing.assert_array_equal(found.moments["features"].mean, expected.mean)
    np.testing.assert_array_equal(found.moments["features"].covariance, expected.covariance)
    assert found.moments["features"].count == found.moments["spatial"].count == 40
    assert found.protocol == {"images": "digits", "weights": "inception, 6726825d", "resize": "299x299"}
    assert found.label_counts is not None and found.label_counts.tolist() == [1, 0, 2]


def test_score_sdes_form_is_as_its_own_program_reads_it(tmp_path: Path) -> None:
    rows = ROWS.astype(np.float32)
    write_score_sde(tmp_path / "mine_stats.npz", rows)
    with np.load(tmp_path / "mine_stats.npz") as held:
        np.testing.assert_array_equal(held["pool_3"], rows)
    (found,) = read_statistics(tmp_path / "mine_stats.npz")
    np.testing.assert_array_equal(found.rows["features"], rows)


def test_statistics_of_other_features_are_refused(tmp_path: Path) -> None:
    words = {"weights": "6726825d", "resize": "299x299"}
    (found,) = read_statistics(ours(tmp_path, **words))
    found.check("inception", Fixed({"features": 6, "logits": 9, "spatial": 2}, words))
    with pytest.raises(
        ValueError, match=r"statistics of the extractor 'inception' \(ours\), and 'dinov2' is asked"
    ):
        found.check("dinov2", Fixed({"features": 6}, words))
    with pytest.raises(ValueError, match="features of 6 dimensions, and 'inception' gives 7"):
        found.check("inception", Fixed({"features": 7}, words))
    for other in (
        {**words, "resize": "clean"},
        {"weights": "6726825d"},
        {**words, "range": "0 to 255"},
    ):
        with pytest.raises(ValueError, match=r"made in another way \((resize|range): "):
            found.check("inception", Fixed({"features": 6}, other))
    (foreign,) = read_statistics(saved(tmp_path / "edm.npz", **NPZ["mu and sigma"]))
    foreign.check("inception", Fixed({"features": 6}, words))
    with pytest.raises(ValueError, match="another network or layer"):
        foreign.check("inception", Fixed({"features": 2048}, words))


def broken(name: str, at: tuple[int, ...], value: float) -> dict[str, np.ndarray]:
    arrays = {key: array.copy() for key, array in NPZ["mu and sigma"].items()}
    arrays[name][at] = value
    return arrays


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": (broken("mu", (2,), np.nan), "not finite"),
    "infinite": (broken("sigma", (1, 1), np.inf), "not finite"),
    "asymmetric": (broken("sigma", (0, 1), 9.0), "not symmetric"),
    "negative": (broken("sigma", (3, 3), -9.0), "negative variance"),
    "shapes": ({"mu": MEAN, "sigma": COVARIANCE[:4]}, r"covariance \(4, 6\); expected \(D,\) and \(D, D\)"),
    "a matrix for a mean": ({"mu": COVARIANCE, "sigma": COVARIANCE}, r"mean has the shape \(6, 6\)"),
    "integers": ({"mu": np.arange(2), "sigma": np.eye(2)}, "are int64 and float64; expected floats"),
    "empty": ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, r"mean has the shape \(0,\)"),
    "objects": ({"mu": np.array([None, 1]), "sigma": np.eye(2)}, "Python objects"),
    "no statistics": ({"arr_0": MEAN, "other": MEAN}, "has the arrays arr_0, other, and no statistics"),
    "one image": ({"pool_3": np.ones((1, 4), np.float32)}, r"\(1, 4\); expected floats"),
    "a NaN in features": ({"pool_3": np.full((3, 4), np.nan)}, "pool_3 has values that are not finite"),
    "counts": ({"pool_3": np.ones((3, 4)), "logits": np.ones((2, 4))}, "pool_3 has 3 images and logits 2"),
    "a foreign protocol": (
        {"protocol": np.array("{}"), "count": np.array(2)},
        "a protocol that is none of ours",
    ),
    "no count": (
        {"protocol": np.array('{"extractor": "pca", "protocol": {}}'), "count": np.array(-2)},
        "a count that is no number of images",
    ),
    "nothing of ours": (
        {"protocol": np.array('{"extractor": "pca", "protocol": {}}'), "count": np.array(2)},
        "no means and covariances",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_an_archive_is_said_in_one_line(what: str, tmp_path: Path) -> None:
    arrays, message = WRONG[what]
    path = saved(tmp_path / "stats.npz", **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        read_statistics(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "list.pkl": (lambda path: path.write_bytes(pickle.dumps([1])), "holds a list"),
    "other.pkl": (
        lambda path: path.write_bytes(pickle.dumps({"a": 1})),
        "has the entries a; expected some of fid",
    ),
    "lines.pkl": (
        lambda path: path.write_bytes(pickle.dumps({"a\nb": 1})),
        r"has the entries 'a\\nb'; expected",
    ),
    "partly.pkl": (
        lambda path: path.write_bytes(pickle.dumps({"fid": {"mu": MEAN}})),
        "no arrays mu, .*, and sigma",
    ),
    "count.pkl": (
        lambda path: path.write_bytes(pickle.dumps({"num_images": -1, "mu": MEAN, "sigma": COVARIANCE})),
        "num_images=-1",
    ),
    "code.pkl": (
        lambda path: path.write_bytes(pickle.dumps({"fid": print})),
        r"names (__builtin__|builtins)\.print",
    ),
    "text.npz": (lambda path: path.write_text("no archive"), "damaged, or no archive"),
    "text.pt": (lambda path: path.write_text("no archive"), "none of torch-fidelity's"),
    "code.pt": (lambda path: torch.save({"mu": print}, path), r"names (__builtin__|builtins)\.print"),
    "other.pt": (lambda path: torch.save([1], path), "holds a list"),
    "compressed.pt": (
        lambda path: path.write_bytes(npz_bytes(compressed=True)),
        "which torch.save never writes",
    ),
    "altered.pt": (lambda path: path.write_bytes(altered(path)), "damaged, or older than torch 1.6"),
    "archive.pt": (lambda path: path.write_bytes(npz_bytes()), "none that torch.save wrote"),
}


def altered(path: Path) -> bytes:
    """A file of torch's whose first part does not begin as parts do."""
    torch.save({"mu": MEAN, "sigma": COVARIANCE}, path)
    return b"PK\3\5" + path.read_bytes()[4:]


def npz_bytes(compressed: bool = False) -> bytes:
    import io

    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, a=np.zeros(999))
    return stream.getvalue()


@pytest.mark.parametrize("name", FILES)
def test_files_that_hold_no_statistics(name: str, tmp_path: Path) -> None:
    write, message = FILES[name]
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message) as caught:
        read_statistics(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_statistics_are_told_from_images_by_what_files_hold(tmp_path: Path) -> None:
    for name, arrays in NPZ.items():
        assert is_statistics(saved(tmp_path / f"{name}.npz", **arrays))
    assert is_statistics(ours(tmp_path))
    assert not is_statistics(saved(tmp_path / "samples.npz", arr_0=MEAN, arr_1=MEAN))
    assert not is_statistics(tmp_path)
    with pytest.raises(ValueError, match="there is no file of statistics"):
        read_statistics(tmp_path / "missing.npz")

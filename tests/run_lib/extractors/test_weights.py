"""Files of weights: where they are looked for, what is refused of them, and that nothing in them is executed."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from run_lib.extractors import clip, dinov2, inception
from run_lib.extractors.weights import Published, Weights, from_hub, release, sha256
from tests.run_lib.extractors.fake import COLOUR, CPU, Evil

PUBLISHED = {"inception": inception.PUBLISHED, "dinov2": dinov2.PUBLISHED, "clip": clip.PUBLISHED}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*args: Any, **kwargs: Any) -> NoReturn:
        raise OSError("Network is unreachable")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)


@pytest.mark.usefixtures("no_network")
def test_without_a_network_the_message_says_which_file_from_where_and_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="they cannot be fetched") as error:
        inception.Inception(COLOUR, 256, CPU, None)
    said = str(error.value)
    assert "\n" not in said
    assert inception.URL in said and "pt_inception-2015-12-05-6726825d.pth" in said
    assert "--config.eval.extractor_weights" in said
    assert not [path for path in (tmp_path / "torch").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_failing_client_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError("no route\nto the host")

    monkeypatch.setattr("torch.hub.download_url_to_file", failing)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "/nowhere/at/all")
    monkeypatch.setattr(Path, "mkdir", lambda *args, **kwargs: None)
    if name != "inception":
        pytest.importorskip("huggingface_hub")
        monkeypatch.setattr("huggingface_hub.hf_hub_download", failing)
    published = PUBLISHED[name]
    with pytest.raises(ValueError, match="no route") as error:
        published.find(None)
    assert published.address in str(error.value) and published.files[0] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_path_is_a_file_a_folder_or_a_folder_of_folders(tmp_path: Path) -> None:
    published = Published("Nothing", ("b.pth", "a.pth"), "nowhere", lambda: tmp_path / "fetched", "nothing")
    assert published.find(None) == tmp_path / "fetched"
    with pytest.raises(
        ValueError, match=r"extractor_weights=.*away does not exist: get b.pth or a.pth from nowhere"
    ):
        published.find(tmp_path / "away")
    with pytest.raises(ValueError, match=r"has no weights of Nothing: get b.pth or a.pth"):
        published.find(tmp_path)
    (tmp_path / "nothing").mkdir()
    for place in ("nothing/a.pth", "a.pth", "b.pth", "other"):  # each is preferred to those before it
        (tmp_path / place).touch()
        assert published.find(tmp_path / place) == tmp_path / place
        if place != "other":
            assert published.find(tmp_path) == tmp_path / place


def test_a_release_is_fetched_once_and_its_hash_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    source = tmp_path / "source"
    source.write_bytes(b"weights")
    named = tmp_path / f"w-{sha256(source)[:8]}.pth"
    source.rename(named)
    found = release(named.as_uri())()
    assert found.read_bytes() == b"weights" and found.is_relative_to(tmp_path / "torch")
    monkeypatch.setattr("torch.hub.urlopen", lambda *args, **kwargs: pytest.fail("fetched again"))
    assert release(named.as_uri())() == found


def test_a_release_of_another_hash_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "w-0000000a.pth").write_bytes(b"weights")
    published = Published("It", ("w",), "there", release((tmp_path / "w-0000000a.pth").as_uri()))
    with pytest.raises(ValueError, match="invalid hash value"):
        published.find(None)
    assert not [path for path in (tmp_path / "torch").rglob("*") if path.is_file()]


class Hub:
    """Hugging Face's hub, its files by their names: each is kept under the SHA-256 that it is said to have."""

    def __init__(self, folder: Path, files: dict[str, bytes], said: str | None = None) -> None:
        self.folder, self.files, self.said = folder, files, said

    def download(self, repository: str, name: str) -> str:
        from huggingface_hub.errors import EntryNotFoundError

        if name not in self.files:
            raise EntryNotFoundError(name)
        blob = self.folder / "blobs" / (self.said or hashlib.sha256(self.files[name]).hexdigest())
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(self.files[name])
        link = self.folder / repository / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(blob)
        return str(link)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (("config.json", "a.safetensors", "a.bin"), "a.safetensors"),
        (("config.json", "a.bin"), "a.bin"),
        (("config.json",), "me/mine has none of a.safetensors, a.bin"),
        (("a.bin",), "config.json"),
    ],
)
def test_the_first_file_that_the_hub_has(
    files: tuple[str, ...], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    hub = Hub(tmp_path, {name: name.encode() for name in files})
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub.download)
    published = Published(
        "Mine", ("a.safetensors", "a.bin"), "there", from_hub("me/mine", ("a.safetensors", "a.bin"))
    )
    if {"config.json", found} <= set(files):
        assert published.find(None) == tmp_path / "me/mine" / found
    else:
        with pytest.raises(ValueError, match=f"cannot be fetched .*{found}"):
            published.find(None)


def test_a_file_whose_hash_is_not_the_hubs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    hub = Hub(tmp_path, {"config.json": b"{}", "a.bin": b"a"}, said="0" * 64)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub.download)
    with pytest.raises(ValueError, match=r"a\.bin is damaged: the hub states another SHA-256"):
        Published("Mine", ("a.bin",), "there", from_hub("me/mine", ("a.bin",))).find(None)


@pytest.mark.parametrize(
    ("library", "kind"),
    [("torch_fidelity", inception.Inception), ("transformers", dinov2.DINOv2), ("transformers", clip.CLIP)],
)
def test_a_missing_library_is_named(library: str, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=r"pip install 'score-pc\[metrics\]'") as error:
        kind(COLOUR, 256, CPU, None)
    assert library.replace("_", "-") in str(error.value)


def test_what_the_file_would_run_is_not_run(tmp_path: Path) -> None:
    """``torch.load`` without ``weights_only`` would touch the mark, as torch-fidelity's own loading does."""
    path, mark = tmp_path / "inception.pth", tmp_path / "mark"
    torch.save({"fc.weight": Evil(mark)}, path)
    with pytest.raises(ValueError, match="needs arbitrary unpickling"):
        inception.Inception(COLOUR, 256, CPU, path)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()  # it would have been seen


def test_a_hash_in_a_name_is_compared_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "weights-inception-2015-12-05-6726825d.pth"
    torch.save({"fc.weight": torch.zeros(1)}, path)
    begins = sha256(path)[:8]
    with pytest.raises(ValueError, match=f"begins with 6726825d, and it begins with {begins}"):
        Weights.read(path, "Inception")
    dated = path.rename(tmp_path / "weights-20151205.pth")
    assert Weights.read(dated, "Inception").hash.startswith(begins)
    right = dated.rename(tmp_path / f"weights-{begins}.pth")
    assert Weights.read(right, "Inception").hash.startswith(begins)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"weight": torch.zeros(2)},
            "lacks 1 tensor, first bias, has in other shapes 1 tensor, first weight",
        ),
        ({"state": {"weight": torch.zeros(2)}}, "holds no tensors by name"),
        ([torch.zeros(2)], "holds no tensors by name"),
        (
            {"more": torch.zeros(2), "bias": torch.zeros(3)},
            "first weight, has beside them 1 tensor, first more",
        ),
    ],
)
def test_files_of_something_else_are_refused(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=said):
        Weights.read(path, "It").load_into(torch.nn.Linear(2, 3), "It")


def test_every_tensor_is_loaded(tmp_path: Path) -> None:
    wanted, found = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    torch.save(wanted.state_dict(), tmp_path / "weights.pth")
    Weights.read(tmp_path / "weights.pth", "It").load_into(found, "It")
    assert torch.equal(wanted.weight, found.weight) and torch.equal(wanted.bias, found.bias)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.pth"):
        Weights.read(tmp_path / "none.pth", "It")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="Fetch it again"):
        Weights.read(path, "It")

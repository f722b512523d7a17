"""Weights of published networks: a file that a user names, or one that is fetched; its hash; loading it strictly."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from models.checkpoints.reader import read_payload
from run_lib.faults import naming

OPTION = "--config.eval.extractor_weights"
DIGITS = 16
"""Of a hash, in a protocol."""
CHUNK = 2**24
"""Bytes that are hashed at a time."""
_NAMED = re.compile(r"-(?=\d*[a-f])([0-9a-f]{8,64})\.\w+$")
"""The beginning of a file's SHA-256 in its name, as torch's hub has it; digits alone may be a date."""


@dataclass(frozen=True)
class Published:
    """A network's weights as their makers publish them.

    Attributes:
        title: of the network, for messages.
        files: names that the file has, the preferred first.
        address: where people find it.
        fetch: finds the file in the cache of this machine, or fetches it there; raises whatever goes wrong.
        folder: of the file, in a folder that holds the weights of several networks; empty: it lies there itself.
    """

    title: str
    files: tuple[str, ...]
    address: str
    fetch: Callable[[], Path]
    folder: str = ""

    def find(self, given: Path | None) -> Path:
        """The file.

        Args:
            given: the file, or a folder that has it, or that has its folder; None: it is fetched, once.

        Raises:
            ValueError: it is not there; the message says where to get it and where to put it.
        """
        if given is None:
            return self._fetched()
        if given.is_file():
            return given
        if not given.is_dir():
            raise ValueError(f"{OPTION}={given} does not exist: {self._remedy}")
        places = [folder / name for folder in (given, given / self.folder) for name in self.files]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise ValueError(f"{OPTION}={given} has no weights of {self.title}: {self._remedy}")
        return found

    @property
    def _remedy(self) -> str:
        further = f", with the config.json beside it in a folder {self.folder}" if self.folder else ""
        files = " or ".join(self.files)
        return f"get {files} from {self.address}{further}, and name the file or its folder by {OPTION}."

    def _fetched(self) -> Path:
        try:
            return self.fetch()
        except (
            Exception
        ) as error:  # the clients raise some twenty types, of four libraries, where there is no network
            reason = next(iter(str(error).strip().splitlines()), "no message")
            raise ValueError(
                f"there are no weights of {self.title} on this machine, and they cannot be fetched "
                f"({type(error).__name__}: {reason}): {self._remedy}"
            ) from error


def release(url: str) -> Callable[[], Path]:
    """Fetches a file whose name has the beginning of its SHA-256, compares it, and keeps it where torch's hub does."""

    def fetch() -> Path:
        from torch.hub import download_url_to_file, get_dir

        place = Path(get_dir()) / "checkpoints" / url.rpartition("/")[2]
        if not place.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            download_url_to_file(url, str(place), hash_prefix=_named(place))
        return place

    return fetch


def from_hub(repository: str, files: tuple[str, ...]) -> Callable[[], Path]:
    """Fetches the first of some files that a repository of Hugging Face's hub has, and its ``config.json``.

    The hub's client keeps a file under the SHA-256 that the hub says it has; it is compared.
    """

    def fetch() -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        hf_hub_download(repository, "config.json")
        for name in files:
            try:
                found = Path(hf_hub_download(repository, name))
            except LocalEntryNotFoundError:  # no network
                raise
            except EntryNotFoundError:
                continue
            stated = found.resolve().name
            if re.fullmatch("[0-9a-f]{64}", stated) and sha256(found) != stated:
                raise ValueError(f"{found} is damaged: the hub states another SHA-256; remove it")
            return found
        raise ValueError(f"{repository} has none of {', '.join(files)}")

    return fetch


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal digits."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            sha.update(block)
    return sha.hexdigest()


def _named(path: Path) -> str | None:
    found = _NAMED.search(path.name)
    return found and found.group(1)


@dataclass(frozen=True)
class Weights:
    """The tensors of a file, read without executing anything in it.

    Attributes:
        path: of the file.
        hash: its SHA-256.
        tensors: by name.
    """

    path: Path
    hash: str
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(cls, path: Path, title: str) -> Weights:
        """The tensors of a ``.pth``, ``.bin`` or ``.safetensors`` file.

        Args:
            path: of the file.
            title: of the network, for messages.

        Raises:
            ValueError: there is no such file, the hash is not the one in its name, it needs arbitrary unpickling, is
                damaged or holds other things than tensors by name.
        """
        with naming(path):
            found, named = sha256(path), _named(path)
        if named and not found.startswith(named):
            raise ValueError(
                f"{path} is damaged or another file: by its name its SHA-256 begins with {named}, and it begins with "
                f"{found[: len(named)]}; fetch it again, or rename it."
            )
        content = read_payload(path)
        if not isinstance(content, Mapping) or not all(
            isinstance(value, Tensor) for value in content.values()
        ):
            raise ValueError(f"{path} holds no tensors by name; give the weights of {title} alone.")
        return cls(path, found, content)

    def load_into(self, network: nn.Module, title: str) -> None:
        """Load every tensor into a network, which must have exactly these; it may be on the meta device.

        Raises:
            ValueError: names or shapes differ.
        """
        own = network.state_dict()
        other = [
            name for name in own.keys() & self.tensors.keys() if own[name].shape != self.tensors[name].shape
        ]
        check_names(
            self.path, title, own.keys() - self.tensors.keys(), self.tensors.keys() - own.keys(), other
        )
        held = {name: value.to(own[name].dtype) for name, value in self.tensors.items()}
        network.load_state_dict(held, assign=True)

    @property
    def words(self) -> str:
        """For a protocol."""
        return f"{self.path.name}, SHA-256 {self.hash[:DIGITS]}"


def check_names(
    path: Path, title: str, missing: Collection[str], unknown: Collection[str], other: Collection[str]
) -> None:
    """Refuse weights that are another network's.

    Args:
        path: of their file.
        title: of the network, for messages.
        missing: tensors that the network has and the file lacks.
        unknown: those that the file alone has.
        other: those of other shapes.

    Raises:
        ValueError: there are any.
    """
    found = {"lacks": missing, "has beside them": unknown, "has in other shapes": other}
    wrong = [_counted(verb, sorted(names)) for verb, names in found.items() if names]
    if wrong:
        raise ValueError(f"{path} has no weights of {title}: it {', '.join(wrong)}. Give the published file.")


def _counted(verb: str, names: list[str]) -> str:
    return f"{verb} {len(names)} tensor{'s' if len(names) > 1 else ''}, first {names[0]}"

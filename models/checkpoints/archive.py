"""Checks of a file that ``torch.save`` wrote, before anything of it is allocated."""

from __future__ import annotations

import errno
import zipfile
from pathlib import Path

from models.checkpoints.damage import DamagedCheckpointError
from models.checkpoints.declared import (
    BrokenPickleError,
    ForeignError,
    TooLargeError,
    read_declared,
    read_object,
)

_ZIP = b"PK\x03\x04"
_BLOCK = 1 << 20
_FOLDER = 0x10
"""Of a part's attributes, as DOS has them."""
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_UNREADABLE = "cannot be read: truncated, or not written by torch.save"
_DAMAGED = "is damaged: its part {!r} does not have the checksum that was written with it"


def check_archive(file: Path) -> None:
    """Check sizes, structure and checksums of a pickled file of weights, present or legacy form.

    ``torch.save`` stores the parts of its zip file uncompressed, each with its CRC-32. The check reads the file
    once, and takes memory for its pickle alone.

    Raises:
        DamagedCheckpointError: the file is truncated, altered, or declares more than it holds.
        ForeignError: its pickle names a function or class that no weights need.
    """
    with file.open("rb") as stream:
        is_zip = stream.read(len(_ZIP)) == _ZIP
    try:
        if is_zip:
            _check_zip(file)
        else:
            _check_legacy(file)
    except TooLargeError as error:
        raise DamagedCheckpointError(file, f"is refused: it {error}") from None
    except BrokenPickleError:
        raise DamagedCheckpointError(file, _UNREADABLE) from None


def _check_zip(file: Path) -> None:
    size = file.stat().st_size
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        raise DamagedCheckpointError(file, _UNREADABLE) from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # it is sought before the file's beginning
            raise
        raise DamagedCheckpointError(file, _UNREADABLE) from None
    with archive:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED or m.compress_size != m.file_size for m in members):
            raise TooLargeError("has compressed parts, which torch.save never writes")
        if sum(m.file_size for m in members) > size or len({m.filename for m in members}) < len(members):
            raise TooLargeError("declares larger parts than it holds")
        # torch reads nothing of a part that is marked as a folder, and leaves its numbers as memory has them.
        if any(m.external_attr & _FOLDER or not 0 <= m.header_offset < size for m in members):
            raise DamagedCheckpointError(file, _UNREADABLE)
        parts = {m.filename.partition("/")[2]: m for m in members}
        for member in members:
            _check_sum(file, archive, member)
        if "constants.pkl" in parts:
            raise ForeignError("a program of TorchScript")
        if "data.pkl" not in parts:
            raise DamagedCheckpointError(file, "is a zip file, but none that torch.save wrote")
        with archive.open(parts["data.pkl"]) as pickled:
            declared = read_declared(pickled)
        for key, storage in declared.storages.items():
            held = parts.get(f"data/{key}")
            if held is None:
                raise DamagedCheckpointError(file, f"is damaged: it lacks its part 'data/{key}'")
            if storage.nbytes > held.file_size:
                raise TooLargeError(
                    f"declares {storage.nbytes} bytes for its part 'data/{key}', which has {held.file_size}"
                )


def _check_sum(file: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    try:
        with archive.open(member) as stream:
            while stream.read(_BLOCK):
                pass
    # What zipfile raises where flags, names, offsets or checksum were altered; it has no common base.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError):
        raise DamagedCheckpointError(file, _DAMAGED.format(member.filename)) from None


def _check_legacy(file: Path) -> None:
    """Before torch 1.6: five pickles (magic number, version, system, objects, keys), then the storages' bytes."""
    with file.open("rb") as stream:
        try:
            known = read_object(stream) == _LEGACY_MAGIC
        except ForeignError:
            known = False
        if not known:
            raise DamagedCheckpointError(file, _UNREADABLE)
        for _ in ("version", "system"):
            read_object(stream)
        storages = read_declared(stream).storages
        written = read_object(stream)
        keys = [str(key) for key in written] if isinstance(written, list) else []
        if set(keys) != storages.keys():
            raise DamagedCheckpointError(file, _UNREADABLE)
        listed = [storages[key] for key in keys]
        held = file.stat().st_size - stream.tell()
        if sum(8 + storage.nbytes for storage in listed) > held:
            raise DamagedCheckpointError(file, _UNREADABLE)
        for storage in listed:  # the number of elements, then their bytes
            if int.from_bytes(stream.read(8), "little") * storage.item != storage.nbytes:
                raise DamagedCheckpointError(file, _UNREADABLE)
            stream.seek(storage.nbytes, 1)

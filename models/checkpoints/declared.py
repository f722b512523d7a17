"""What a pickle of weights declares, found without building any tensor."""

from __future__ import annotations

import collections
import math
import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, final

import torch

# Each operation builds at most some hundred bytes. A network of 10,000 tensors with its averages and two
# moments takes about 1.5 million.
_MOST_OPERATIONS = 4_000_000
_LONGEST_LINE = 10_000
_ITEM_SIZES = {
    "Untyped": 1,
    "Byte": 1,
    "Char": 1,
    "Bool": 1,
    "Short": 2,
    "Half": 2,
    "BFloat16": 2,
    "Int": 4,
    "Float": 4,
    "Long": 8,
    "Double": 8,
    "ComplexFloat": 8,
    "ComplexDouble": 16,
}
# Of the numbers of numpy that a training script may leave in its optimizer's settings.
_NUMPY_NUMBERS = re.compile(r"[<>=|]?(f2|f4|f8|i1|i2|i4|i8|u1|u2|u4|u8|b1|\?)")


class TooLargeError(ValueError):
    """A pickle declares more than its file holds."""


class ForeignError(ValueError):
    """A pickle names something that no weights need."""


class BrokenPickleError(ValueError):
    """The bytes are no pickle, or an altered one."""


@dataclass(frozen=True)
class Storage:
    """The memory of one or several tensors: its key in the file, and its declared bytes."""

    key: str
    nbytes: int
    item: int


@dataclass
class Declared:
    """The storages that a pickle refers to, by key."""

    storages: dict[str, Storage] = field(default_factory=dict)


@final
class Operations:
    """A stream that counts its reads: a pickle reads one byte for each operation."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = _MOST_OPERATIONS

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise TooLargeError(f"has more than {_MOST_OPERATIONS} objects beside its tensors")
        return self._stream.read(size)

    def readline(self) -> bytes:
        line = self._stream.readline(_LONGEST_LINE)
        if len(line) == _LONGEST_LINE:
            raise TooLargeError("has a line that is too long for a pickle of weights")
        return line


@final
class _Stub:
    """Stands for a function or class that the pickle calls; without attributes, so a pickle cannot change it."""

    __slots__ = ("_call",)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __setattr__(self, name: str, value: object) -> None:
        raise ForeignError("changes a function")

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)


@final
class _Value:
    """The result of a stub, with a state that is not looked at."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


@dataclass(frozen=True)
class _StorageType:
    item: int


@final
# The C unpickler allocates its table of references for any index that a file states; this one does not.
class _Unpickler(pickle._Unpickler):
    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(Operations(stream), encoding="utf-8")
        self.declared = Declared()

    def find_class(self, module: str, name: str) -> Any:
        found = _stand_in(module, name)
        if found is None:
            raise ForeignError(f"{module}.{name}")
        return found

    def persistent_load(self, pid: Any) -> Storage:
        kind, storage_type, key, _, count, *_ = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType) or count < 0:
            raise pickle.UnpicklingError("a storage is declared wrongly")
        storage = Storage(str(key), count * storage_type.item, storage_type.item)
        known = self.declared.storages.setdefault(storage.key, storage)
        return storage if storage.nbytes <= known.nbytes else self._grow(storage)

    def _grow(self, storage: Storage) -> Storage:
        self.declared.storages[storage.key] = storage
        return storage


def read_declared(stream: IO[bytes]) -> Declared:
    """The storages that the pickle at the stream's position declares. Nothing in it is executed or allocated.

    Raises:
        TooLargeError: a tensor is larger than its storage, or there are more objects than weights have.
        ForeignError: the pickle names a function or class that no weights need.
        BrokenPickleError: the bytes are no pickle.
    """
    unpickler = _Unpickler(stream)
    _load(unpickler)
    return unpickler.declared


def read_object(stream: IO[bytes]) -> Any:
    """The plain object (numbers, strings, containers) of the pickle at the stream's position; raises the same."""
    return _load(_Unpickler(stream))


def _load(unpickler: _Unpickler) -> Any:
    try:
        return unpickler.load()
    except (TooLargeError, ForeignError):
        raise
    # An altered pickle may raise nearly anything from inside the unpickler; all of it means the same.
    except Exception as error:
        raise BrokenPickleError(f"{type(error).__name__}: {error}") from error


def _tensor(storage: Any, offset: int, size: Sequence[int], stride: Sequence[int], *rest: Any) -> _Value:
    if not isinstance(storage, Storage) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor is declared wrongly")
    if min([0, offset, *size, *stride]) < 0:
        raise pickle.UnpicklingError("a tensor has a negative size")
    dtype = next((value for value in rest if isinstance(value, torch.dtype)), None)
    item = storage.item if dtype is None else dtype.itemsize
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1 if count else 0
    if max(count, last) * item > storage.nbytes:
        raise TooLargeError(
            f"declares a tensor of shape {_shown(size)} and holds {storage.nbytes} bytes for it, which is too few"
        )
    return _Value()


def _shown(size: Sequence[int]) -> str:
    return "x".join(map(str, size[:8]))


def _dtype(code: str, *_: Any) -> _Value:
    if not _NUMPY_NUMBERS.fullmatch(code):
        raise ForeignError(f"numpy.dtype({code[:20]!r})")
    return _Value()


def _inert(*_: Any) -> _Value:
    return _Value()


@final
class Options:
    """Stands for the ``argparse.Namespace`` that a training script leaves beside its weights: nothing of it is kept."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


OPTIONS = "argparse.Namespace"
_STAND_INS: dict[str, Any] = {
    OPTIONS: Options,
    "collections.OrderedDict": collections.OrderedDict,
    "collections.Counter": collections.Counter,
    "builtins.set": set,
    "__builtin__.set": set,
    "builtins.complex": complex,
    "__builtin__.complex": complex,
    "torch.Size": _Stub(tuple),
    "torch.device": _Stub(_inert),
    "torch.storage.UntypedStorage": _StorageType(1),
    "torch.serialization._get_layout": _Stub(_inert),
    "_codecs.encode": _Stub(_inert),
    "numpy.dtype": _Stub(_dtype),
    "numpy.core.multiarray.scalar": _Stub(_inert),
    "numpy._core.multiarray.scalar": _Stub(_inert),
    "torch._utils._rebuild_tensor": _Stub(_tensor),
    "torch._utils._rebuild_tensor_v2": _Stub(_tensor),
    "torch._utils._rebuild_tensor_v3": _Stub(_tensor),
    "torch._utils._rebuild_parameter": _Stub(lambda data, *_: data),
}


def _stand_in(module: str, name: str) -> Any:
    full = f"{module}.{name}"
    if full in _STAND_INS:
        return _STAND_INS[full]
    if module in ("torch", "torch.cuda") and name.endswith("Storage"):
        item = _ITEM_SIZES.get(name.removesuffix("Storage"))
        return None if item is None else _StorageType(item)
    if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
        return dtype
    return None

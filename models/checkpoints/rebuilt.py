"""What pickles of arrays and tensors ask for, made from the plain parts that they give for it."""

from __future__ import annotations

import collections
import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.checkpoints.declared import (
    BrokenPickleError,
    ForeignError,
    TooLargeError,
    read_declared,
    read_object,
)

_NUMBERS = re.compile(r"[?]|b1|[iu][1248]|f[248]|c(8|16)|[SU]\d{1,6}")
"""Numpy's types of numbers and of text; none that holds objects, or fields."""
_KEYS = (str, bytes, int, float, complex, bool, type(None))


@dataclass(frozen=True)
class Named:
    """A class or function of which a pickle says the name, ``module.name``; nothing else of it is known."""

    name: str


@dataclass(eq=False)
class NumpyType:
    """A type of numpy's, whose order of bytes is told after it is made.

    Attributes:
        code: as numpy names it, without the order of bytes.
        order: of bytes: "<", ">", "=" or "|".
    """

    code: str
    order: str = "="

    @property
    def dtype(self) -> np.dtype[Any]:
        found: np.dtype[Any] = np.dtype(self.order + self.code)
        return found

    def build(self, state: Any) -> None:
        """Take the order of bytes; fields and parts are refused."""
        if type(state) is not tuple or len(state) < 5 or state[1] not in ("<", ">", "=", "|"):
            raise BrokenPickleError("a type of numpy's is declared wrongly")
        if any(part is not None for part in state[2:5]):
            raise ForeignError("numpy.dtype with fields")
        self.order = state[1]


def check_key(key: Any) -> Any:
    """A key as it is. Nested keys are refused: hashing one of a hundred bytes can take for ever."""
    if not (isinstance(key, _KEYS) or (type(key) is tuple and all(isinstance(part, _KEYS) for part in key))):
        raise BrokenPickleError(f"a key is of {type(key).__name__}")
    return key


def _bytes(held: Any) -> bytes:
    """Bytes, which Python 2 wrote as text."""
    if isinstance(held, str):
        return held.encode("latin-1")
    if not isinstance(held, bytes | bytearray):
        raise BrokenPickleError(f"an array's values are of {type(held).__name__}")
    return bytes(held)


def _plain(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, NumpyType):
        raise BrokenPickleError("an array's type is none of numpy's")
    return dtype.dtype


def _shape(sizes: Any) -> tuple[int, ...]:
    if type(sizes) is not tuple or not all(type(size) is int and size >= 0 for size in sizes):
        raise BrokenPickleError("an array's shape is no shape")
    return sizes


def fill(array: np.ndarray, state: Any) -> None:
    """Give an empty array the shape, type and values that a pickle has for it, in place."""
    if array.size or type(state) is not tuple or len(state) != 5:
        raise BrokenPickleError("an array is filled wrongly")
    _, sizes, dtype, by_columns, values = state
    shape, kind, held = _shape(sizes), _plain(dtype), _bytes(values)
    if math.prod(shape) * kind.itemsize != len(held):
        raise TooLargeError(
            f"declares an array of shape {shape} of {kind}, and holds {len(held)} bytes for it"
        )
    whole: Any = (1, shape, kind, bool(by_columns), held)
    array.__setstate__(whole)


def _empty_array(kind: Any, *_: Any) -> np.ndarray:
    if kind != Named("numpy.ndarray"):
        raise ForeignError("a kind of array that is not numpy's own")
    return np.zeros(0, dtype=np.uint8)


def _array(values: Any, dtype: Any, sizes: Any, order: Any = "C") -> np.ndarray:
    shape, kind, held = _shape(sizes), _plain(dtype), _bytes(values)
    if math.prod(shape) * kind.itemsize != len(held):
        raise TooLargeError(
            f"declares an array of shape {shape} of {kind}, and holds {len(held)} bytes for it"
        )
    made: np.ndarray = np.ndarray(shape, kind, held, order="F" if order == "F" else "C")
    return made


def _scalar(dtype: Any, value: Any) -> Any:
    return _array(value, dtype, ())[()]


def _numpy_type(code: Any, *_: Any) -> NumpyType:
    if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
        raise ForeignError(f"numpy.dtype({str(code)[:20]!r})")
    return NumpyType(code)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise BrokenPickleError("bytes are written in an unknown way")
    return text.encode("latin-1")


def _ordered(pairs: Any = ()) -> collections.OrderedDict[Any, Any]:
    if not isinstance(pairs, list | tuple):
        raise BrokenPickleError("an ordered dictionary is made of something else than pairs")
    return collections.OrderedDict((check_key(key), value) for key, value in pairs)


def _set(items: Any = ()) -> set[Any]:
    if not isinstance(items, list | tuple):
        raise BrokenPickleError("a set is made of something else than a list")
    return {check_key(item) for item in items}


def _complex(real: Any, imaginary: Any) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise BrokenPickleError("a complex number is made of something else than numbers")
    return complex(real, imaginary)


def _storage(content: Any) -> Tensor:
    """All values of a storage, from the stream that ``torch.save`` wrote of it in its form before torch 1.6."""
    stream = io.BytesIO(_bytes(content))
    for _ in ("magic number", "version", "system"):
        read_object(stream)
    declared = read_declared(stream).storages.values()
    read_object(stream)  # the keys
    if sum(8 + storage.nbytes for storage in declared) > len(stream.getbuffer()) - stream.tell():
        raise TooLargeError("declares a storage that is larger than what it holds of it")
    stream.seek(0)
    held = torch.load(stream, map_location="cpu", weights_only=True)
    if not isinstance(held, torch.storage.TypedStorage):
        raise BrokenPickleError("a storage is none of torch's")
    return torch.empty(0, dtype=held.dtype).set_(held)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    if type(storage) is not Tensor or storage.ndim != 1:
        raise BrokenPickleError("a tensor's values are no storage")
    shape, steps = _shape(size), _shape(stride)
    last = offset + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    if type(offset) is not int or offset < 0 or (0 not in shape and last >= len(storage)):
        raise TooLargeError(f"declares a tensor of shape {shape}, for which its storage is too small")
    return storage.as_strided(shape, steps, offset)


def _parameter(data: Any, *_: Any) -> Any:
    return data


MAKERS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encoded,
    "numpy.dtype": _numpy_type,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.storage._load_from_bytes": _storage,
    "torch.Size": lambda sizes=(): _shape(tuple(sizes) if type(sizes) is list else sizes),
    "collections.OrderedDict": _ordered,
}
"""Of a function or class, what stands for it. None of them calls what it is given."""
for _numpy in ("numpy.core", "numpy._core"):  # numpy 2 moved its functions; files of either age are about
    MAKERS |= {
        f"{_numpy}.multiarray._reconstruct": _empty_array,
        f"{_numpy}.multiarray.scalar": _scalar,
        f"{_numpy}.numeric._frombuffer": _array,
    }
for _python in ("builtins", "__builtin__"):
    MAKERS |= {
        f"{_python}.set": _set,
        f"{_python}.frozenset": lambda items=(): frozenset(_set(items)),
        f"{_python}.bytes": lambda: b"",  # as Python 3 writes them for Python 2
        f"{_python}.bytearray": lambda held=b"", *_: bytearray(_bytes(held)),
        f"{_python}.complex": _complex,
    }
NAMES = frozenset({*MAKERS, "numpy.ndarray"})
"""What a pickle may name without being asked about it."""

"""Pickles are read and nothing of theirs runs: what is known is rebuilt, what is not is refused by its name."""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.checkpoints.pickles import StandIn, read_pickle, unpickled

RAN: list[str] = []


def runs(*what: str) -> dict[str, int]:
    """What a pickle would call, if anything did."""
    RAN.extend(what or ("called",))
    return {}


class Reduces:
    """Pickles as a call of a function."""

    def __init__(self, *how: Any) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        return self.how


class WithState:
    def __setstate__(self, state: Any) -> None:
        runs("state")

    def __getstate__(self) -> Any:
        return {"a": 1}


class Settings(dict[str, Any]):
    """As dnnlib's dictionaries, whose entries are attributes."""


def read(content: bytes, **how: Any) -> Any:
    return unpickled(io.BytesIO(content), "stats.pkl", **how)


def anything(name: str) -> bool:
    return True


def statistics() -> dict[str, Any]:
    """As EDM2's calculate_metrics.py writes them."""
    rng = np.random.default_rng(0)
    return {
        "num_images": 50000,
        "fid": {"mu": rng.normal(size=5), "sigma": np.cov(rng.normal(size=(20, 5)), rowvar=False)},
        "fd_dinov2": {"mu": rng.normal(size=3), "sigma": np.asfortranarray(rng.normal(size=(3, 3)))},
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_dictionaries_of_arrays_are_equal_to_the_originals(protocol: int, tmp_path: Path) -> None:
    written = statistics()
    (tmp_path / "stats.pkl").write_bytes(pickle.dumps(written, protocol))
    held = read_pickle(tmp_path / "stats.pkl")
    assert held.keys() == written.keys()
    assert held["num_images"] == 50000
    for name in ("fid", "fd_dinov2"):
        for key in ("mu", "sigma"):
            np.testing.assert_array_equal(held[name][key], written[name][key])
            assert held[name][key].dtype == np.float64


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_plain_thing_and_every_type_of_array(protocol: int) -> None:
    written = {
        "numbers": [1, -(2**70), 0.5, 1j, True, None, np.float64(2.5), np.int64(-4)],
        "text": ("a", "ä", b"\xff", bytearray(b"xy"), b"", ""),
        "sets": ({1, "a"}, frozenset({(1, "b")})),
        "ordered": collections.OrderedDict(b=1, a=2),
        "nested": {1: {2: [3, (4, ())]}},
    }
    assert read(pickle.dumps(written, protocol)) == written
    for dtype in ("?", "i1", "u2", "<i8", ">i4", "f2", "f4", ">f8", "c8", "U3", "S2"):
        for array in (np.arange(6).reshape(2, 3).astype(dtype), np.zeros((0, 2), dtype), np.array(1, dtype)):
            np.testing.assert_array_equal(read(pickle.dumps(array, protocol)), array, strict=dtype[0] != ">")


def test_the_same_object_stays_the_same() -> None:
    shared: list[Any] = [np.ones(2)]
    held = read(pickle.dumps([shared, shared, shared[0]]))
    assert held[0] is held[1] and held[2] is held[0][0]


def test_arrays_of_numpy_1_and_of_python_2() -> None:
    """Oracle: the names that numpy 1 had, and the text that Python 2 wrote bytes as."""
    array = np.arange(200, 206, dtype=np.uint8).reshape(2, 3)
    of_numpy_1 = pickle.dumps(array, 2).replace(b"numpy._core", b"numpy.core")
    np.testing.assert_array_equal(read(of_numpy_1), array)
    state = pickle.dumps((1, (2, 3), np.dtype("u1"), False, ""), 1)
    end = state.rindex(b"X\0\0\0\0")
    of_python_2 = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        + state[:end] + b"U\x06" + bytes(range(200, 206)) + b"tb."
    )  # fmt: skip
    np.testing.assert_array_equal(read(of_python_2), array)


def test_tensors_come_with_their_strides_and_types() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    written = [base.T, base[1:, ::2], torch.nn.Parameter(base.half()), torch.tensor(3), torch.zeros(0, 2)]
    for found, original in zip(read(pickle.dumps(written)), written, strict=True):
        assert type(found) is torch.Tensor and torch.equal(found, original.detach())


HOSTILE = {
    "os.system": Reduces(os.system, ("true",)),
    "eval": Reduces(eval, ("1",)),
    "nested": {"fid": {"mu": [Reduces(runs, ())]}},
    "attributes": Reduces(getattr, ("a", "upper")),
    "state": WithState(),
    "state setter": Reduces(collections.OrderedDict, (), {"a": 1}, None, None, runs),
    "partial": __import__("functools").partial(runs),
    "load": Reduces(np.load, ("x",)),
    "objects": np.array([runs], dtype=object),
    "fields": np.zeros(1, dtype=[("a", "f4")]),
    "fields of a plain type": Reduces(np.dtype, ("f8", False, True), (3, "<", None, ("a",), {}, -1, -1, 0)),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_nothing_of_a_hostile_pickle_runs(what: str, protocol: int) -> None:
    RAN.clear()
    content = pickle.dumps(HOSTILE[what], protocol)
    with pytest.raises(ValueError, match=r"^stats\.pkl is refused: it is a pickle that names \S+") as caught:
        read(content)
    assert str(caught.value).count("\n") == 0
    if what not in (
        "objects",
        "fields",
        "fields of a plain type",
    ):  # where it is allowed, it stands for itself
        read(content, allowed=anything)
    assert not RAN


def test_what_is_not_known_stands_for_itself_where_that_is_allowed() -> None:
    """EDM's networks: classes with source code, and dictionaries of their own."""
    name = f"{__name__}.Settings"
    held = read(pickle.dumps({"ema": Settings(a=1)}), allowed=lambda asked: asked == name)
    made = held["ema"]
    assert isinstance(made, StandIn) and (made.name, made.arguments, made.entries) == (name, (), [("a", 1)])
    held = read(pickle.dumps(Reduces(runs, ("x",), {"s": 2}, iter([3, 4]))), allowed=anything)
    assert (held.name, held.arguments, held.state, held.items) == (
        f"{__name__}.runs",
        ("x",),
        {"s": 2},
        [3, 4],
    )
    with pytest.raises(ValueError, match=r"names \S*Settings"):
        read(pickle.dumps(Settings()), allowed=lambda asked: asked == "other")


ONES = pickle.dumps(np.ones(2), 2)
"""Its last operations remember the state and fill the array by it."""
OPERATIONS = {
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"Pwhere\n.",
    "a buffer beside": b"\x80\x05\x97.",
    "a state for a list": b"](dub.",
    "a state for a name": b"cnumpy\nndarray\n}b.",
    "a call of a name without a maker": b"cnumpy\nndarray\n)R.",
    "a call of a number": b"I1\n)R.",
    "an array that is filled twice": ONES[:-1] + b"h" + ONES[-3:-2] + b"b.",
    "appended to a number": b"I1\nI2\na.",
    "an entry of a list": b"]I1\nI2\ns.",
    "added to a list": b"\x80\x04](I1\n\x90.",
    "a key that is a list": b"}]I1\ns.",
    "a nested key": b"}K\1\x85\x85Ns.",
    "nested keys": b"(K\1\x85\x85Nd.",
    "a nested member": pickle.dumps({((1,),)}, 4),
    "a nested member of a frozen set": pickle.dumps(frozenset({((1,),)}), 4),
    "keywords": b"\x80\x04cother\nThing\n)}X\1\0\0\0aK\1s\x92.",
    "nothing": b"",
    "no stop": b"]",
    "an empty stack": b".",
    "a mark that is not there": b"t.",
    "a reference to nothing": b"h\5.",
    "an unknown operation": b"\xfe.",
    "a later protocol": b"\x80\x63].",
    "no pickle": b"PK\3\4" + bytes(30),
}


@pytest.mark.parametrize("what", OPERATIONS)
def test_operations_that_no_file_has_are_one_clear_error(what: str) -> None:
    with pytest.raises(ValueError, match=r"^stats\.pkl [^\n]*$"):
        read(OPERATIONS[what], allowed=anything)


def test_a_truncated_pickle_is_an_error_wherever_it_ends() -> None:
    content = pickle.dumps({"fid": {"mu": np.ones(2)}, "t": torch.ones(2)})
    for end in range(len(content)):
        with pytest.raises(ValueError, match="truncated, altered or none"):
            read(content[:end])


def sized(content: bytes) -> bytes:
    """Bytes as a pickle has them, after their number."""
    return len(content).to_bytes(4, "little") + content


def test_sizes_that_a_file_merely_states_take_no_memory() -> None:
    """Each would take more than 2**40 bytes, or longer than any test."""
    huge = (2**60).to_bytes(8, "little")
    array = pickle.dumps(np.ones(2), 2)
    tensor = pickle.dumps(torch.ones(300), 4)
    shape = tensor.rindex(b"M\x2c\x01")
    storage = next(held for _, held, _ in pickletools.genops(tensor) if isinstance(held, bytes))
    larger = storage.replace(b"M,\x01Nt", b"J\xff\xff\xff\x7fNt")
    for content, said in (
        (b"\x80\x04\x8e" + huge + b".", "truncated"),  # bytes
        (b"\x80\x05\x96" + huge + b".", "truncated"),  # a bytearray
        (array.replace(b"K\x02\x85", b"J\xff\xff\xff\x7f\x85"), r"an array of shape \(2147483647,\)"),
        (tensor[:shape] + b"M\xff\xff" + tensor[shape + 3 :], "its storage is too small"),
        (tensor.replace(sized(storage), sized(larger)), "a storage that is larger than what it holds"),
        (b"}K\x01\x85" + b"2\x86" * 200 + b"Ns.", "truncated"),  # a key whose hash is that of 2**200 numbers
    ):
        with pytest.raises(ValueError, match=said):
            read(content)
    assert read(b"\x80\x04\x95" + huge + b"].") == []  # a frame
    assert read(b"]r\xff\xff\xff\xff.") == []  # a place among the objects that are remembered


def test_types_that_are_no_numbers_are_named() -> None:
    with pytest.raises(ValueError, match=r"names numpy\.dtype\('O8'\)"):
        read(pickle.dumps(np.array([1, "a"], dtype=object)))
    with pytest.raises(ValueError, match=r"names a kind of array that is not numpy's own"):
        read(pickle.dumps(np.ones((1, 1)).view(np.recarray)), allowed=anything)


def test_instances_of_old_protocols_stand_for_themselves() -> None:
    for content in (
        b"(K\1iother\nThing\n.",
        b"(cother\nThing\nK\1o.",
        b"\x80\x04cother\nThing\nK\1\x85}\x92.",
    ):
        found = read(content, allowed=anything)
        assert (found.name, found.arguments) == ("other.Thing", (1,))


def test_a_state_dictionary_has_attributes_of_its_own() -> None:
    written = torch.nn.Linear(2, 1).state_dict()
    found = read(pickle.dumps(written))
    assert list(found) == list(written) and torch.equal(found["weight"], written["weight"])


def test_too_little_memory_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("models.checkpoints.pickles._Interpreter.load", no_memory)
    with pytest.raises(MemoryError):
        read(b"].")


def test_names_are_said_in_one_short_line() -> None:
    for name in ("two\nlines", "\x1b[2J", "long" * 10**5):
        content = b"\x80\x04\x8c\x05other" + b"X" + sized(name.encode()) + b"\x93."
        with pytest.raises(ValueError, match=r"^[^\n\x1b]{1,300}$") as caught:
            read(content)
        assert "names" in str(caught.value)


def test_endless_objects_are_counted() -> None:
    with pytest.raises(ValueError, match="more than 4000000 objects"):
        read(b"\x80\x04\x95" + (4_000_004).to_bytes(8, "little") + b"]0" * 2_000_001 + b"].")


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty.pkl").touch()
    os.mkfifo(tmp_path / "pipe.pkl")
    with pytest.raises(ValueError, match=r"empty\.pkl is empty"):
        read_pickle(tmp_path / "empty.pkl")
    with pytest.raises(ValueError, match="no regular file"):
        read_pickle(tmp_path / "pipe.pkl")

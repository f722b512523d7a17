"""A reader of pickles that runs nothing of theirs.

Arrays, numbers, tensors and ordered dictionaries are made by our own functions of what a pickle says of them
(``rebuilt.py``). Every other class or function is refused by its name, or stands for itself as a ``StandIn`` where the
caller allows it.
"""

from __future__ import annotations

import collections
import mmap
import pickle
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar, cast

import numpy as np

from models.checkpoints.damage import out_of_memory
from models.checkpoints.declared import BrokenPickleError, ForeignError, Operations, TooLargeError
from models.checkpoints.rebuilt import MAKERS, NAMES, Named, NumpyType, check_key, fill


@dataclass(eq=False)
class StandIn:
    """Something that a pickle asks to be made by a class or function of which nothing has run.

    Attributes:
        name: of the class or function.
        arguments: that it would be given.
        state: what its attributes would be; None: nothing is said of them.
        items: that would be appended or added to it, in their order.
        entries: pairs of keys and values that would be set in it, in their order.
    """

    name: str
    arguments: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)
    entries: list[tuple[Any, Any]] = field(default_factory=list)


def shown(name: object) -> str:
    """A name from a file for a message: short, and in one line."""
    text = str(name)[:80]
    return text if text.isprintable() else repr(text)


_BUFFERS = (pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)
"""Operations on memory that is handed over beside a pickle."""


class _Interpreter(pickle._Unpickler):
    """Python's interpreter of the operations, but for those that call or change something.

    Unlike the one in C it allocates nothing for a size or an index that a file merely states.
    """

    # What Python's interpreter has, and its stubs do not tell of.
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    stack: list[Any]

    def __init__(
        self, stream: IO[bytes], allowed: Callable[[str], bool], persistent: Callable[[Any], Any] | None
    ) -> None:
        super().__init__(Operations(stream), encoding="latin1")  # Python 2's text, among it arrays' bytes
        self._allowed, self._persistent = allowed, persistent

    def find_class(self, module: str, name: str) -> Named:
        full = f"{module}.{name}"
        if full not in NAMES and not self._allowed(full):
            raise ForeignError(shown(full))
        return Named(full)

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise ForeignError("something that is not in it, by a persistent id")
        return self._persistent(pid)

    def _make(self, of: Any, arguments: Any) -> None:
        if type(of) is not Named or type(arguments) is not tuple:
            raise BrokenPickleError("something is called that is no class or function")
        maker = MAKERS.get(of.name)
        if maker is None and of.name in NAMES:
            raise BrokenPickleError(f"{of.name} is called")
        self.append(StandIn(of.name, arguments) if maker is None else maker(*arguments))

    def _called(self) -> None:
        arguments = self.stack.pop()
        self._make(self.stack.pop(), arguments)

    def _called_with_keywords(self) -> None:
        keywords = self.stack.pop()
        if keywords:
            raise BrokenPickleError("something is called with keywords")
        self._called()

    def _called_of_mark(self) -> None:
        of, *arguments = self.pop_mark()
        self._make(of, tuple(arguments))

    def _called_of_lines(self) -> None:
        module, name = (self.readline()[:-1].decode("ascii") for _ in range(2))
        self._make(self.find_class(module, name), tuple(self.pop_mark()))

    def _built(self) -> None:
        state = self.stack.pop()
        match self.stack[-1]:
            case np.ndarray() as array:
                fill(array, state)
            case NumpyType() as kind:
                kind.build(state)
            case StandIn() as made:
                made.state = state
            case collections.OrderedDict():  # its attributes: a state dictionary's versions of modules
                pass
            case made:
                raise BrokenPickleError(f"{type(made).__name__} is given a state")

    def _appended(self, items: list[Any]) -> None:
        match self.stack[-1]:
            case list() as held:
                held.extend(items)
            case StandIn() as made:
                made.items.extend(items)
            case made:
                raise BrokenPickleError(f"{type(made).__name__} is appended to")

    def _append_one(self) -> None:
        self._appended([self.stack.pop()])

    def _append_many(self) -> None:
        self._appended(self.pop_mark())

    def _added(self) -> None:
        items = self.pop_mark()
        match self.stack[-1]:
            case set() as held:
                held.update(map(check_key, items))
            case StandIn() as made:
                made.items.extend(items)
            case made:
                raise BrokenPickleError(f"{type(made).__name__} is added to")

    def _set(self, flat: list[Any]) -> None:
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        match self.stack[-1]:
            case dict() as held:
                held.update((check_key(key), value) for key, value in pairs)
            case StandIn() as made:
                made.entries.extend(pairs)
            case made:
                raise BrokenPickleError(f"{type(made).__name__} is given an entry")

    def _set_one(self) -> None:
        value = self.stack.pop()
        self._set([self.stack.pop(), value])

    def _set_many(self) -> None:
        self._set(self.pop_mark())

    def _dictionary(self) -> None:
        flat = self.pop_mark()
        self.append({})
        self._set(flat)

    def _frozen(self) -> None:
        items = self.pop_mark()  # after which the place to append to is another
        self.append(frozenset(map(check_key, items)))

    def _frame(self) -> None:
        self.read(8)  # a hint of how much to read at once

    def _bytearray(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def _refused(self) -> None:
        raise BrokenPickleError("it has operations that no file has")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.REDUCE[0]: _called,
        pickle.NEWOBJ[0]: _called,
        pickle.NEWOBJ_EX[0]: _called_with_keywords,
        pickle.OBJ[0]: _called_of_mark,
        pickle.INST[0]: _called_of_lines,
        pickle.BUILD[0]: _built,
        pickle.APPEND[0]: _append_one,
        pickle.APPENDS[0]: _append_many,
        pickle.ADDITEMS[0]: _added,
        pickle.SETITEM[0]: _set_one,
        pickle.SETITEMS[0]: _set_many,
        pickle.DICT[0]: _dictionary,
        pickle.FROZENSET[0]: _frozen,
        pickle.FRAME[0]: _frame,
        pickle.BYTEARRAY8[0]: _bytearray,
        **dict.fromkeys(
            (operation[0] for operation in (pickle.EXT1, pickle.EXT2, pickle.EXT4, *_BUFFERS)),
            _refused,
        ),
    }


class _Whole:
    """A mapped file as a stream: it gives what there is, where a file first allocates what is asked for."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._mapped = mapped

    def read(self, size: int = -1) -> bytes:
        return self._mapped.read(size)

    def readline(self, size: int) -> bytes:
        start = self._mapped.tell()
        line = self._mapped.read(size).partition(b"\n")
        found = line[0] + line[1]
        self._mapped.seek(start + len(found))
        return found


REMEDY = "save its numbers as .npz"


def _nothing(name: str) -> bool:
    return False


def unpickled(
    stream: IO[bytes],
    where: str,
    allowed: Callable[[str], bool] = _nothing,
    persistent: Callable[[Any], Any] | None = None,
    remedy: str = REMEDY,
) -> Any:
    """The object that a pickle describes: plain data, arrays, tensors, and stand-ins of what is allowed.

    Args:
        stream: at its beginning; one that gives what there is where more is asked for.
        where: it lies, for messages.
        allowed: whether a class or function, ``module.name``, may become a stand-in.
        persistent: what a persistent id stands for; None: there are none.
        remedy: what to do with a pickle that is refused and that one trusts.

    Raises:
        ValueError: it is no whole pickle, or names something that is not allowed.
    """
    try:
        return _Interpreter(stream, allowed, persistent).load()
    except ForeignError as error:
        raise ValueError(
            f"{where} is refused: it is a pickle that names {error}, which could run any code. Nothing of it was run. "
            f"Where you trust it, {remedy}."
        ) from None
    except TooLargeError as error:
        raise ValueError(f"{where} is refused: it {error}.") from None
    except Exception as error:  # an altered pickle raises nearly anything, and all of it means the same
        if out_of_memory(error):
            raise
        raise ValueError(f"{where} cannot be read as a pickle: it is truncated, altered or none.") from error


def read_pickle(path: Path, allowed: Callable[[str], bool] = _nothing, remedy: str = REMEDY) -> Any:
    """The object that a file of one pickle describes; see ``unpickled``.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no whole pickle, or names something that is not allowed.
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):  # a pipe would be waited for, and a device has no end
        raise ValueError(f"{path} is no regular file.")
    if not facts.st_size:
        raise ValueError(f"{path} is empty.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return unpickled(cast(IO[bytes], _Whole(mapped)), str(path), allowed, remedy=remedy)

"""What a child does beside its work: Python's audit events of processes, sockets, writes, and modules that come in."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NEVER = frozenset({
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen",
    "pty.spawn", "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "urllib.Request",
    "ftplib.connect", "webbrowser.open", "ctypes.dlopen", "os.putenv", "shutil.chown", "os.setxattr",
})  # fmt: skip
"""Events that no run in one process has a reason for."""
_OF_WORKERS = frozenset({"os.fork", "socket.connect", "socket.bind"})
"""Those of the processes that read data ahead."""
CHANGES = {
    "os.mkdir": (0,), "os.rename": (0, 1), "os.remove": (0,), "os.rmdir": (0,), "os.link": (1,),
    "os.symlink": (1,), "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,),
    "shutil.rmtree": (0,), "shutil.move": (0, 1), "shutil.copyfile": (1,), "os.mknod": (0,),
    "os.mkfifo": (0,),
}  # fmt: skip
"""Events that change the disk, and which of their arguments are the paths."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_LOADED = ("None", "libc.so", "libnvidia-ml.so", *_LIBRARIES)
"""Beginnings of shared libraries that Python's and torch's own code loads."""


def _reads_ahead() -> bool:
    """Whether the standard library's processes are at work, and neither a file's code nor the program's own."""
    frame = sys._getframe(2)
    return frame.f_globals.get("__name__", "").startswith("multiprocessing.")


class Watch:
    """Collects what must not happen; an audit hook, which stays for as long as the process lives.

    Args:
        allowed: paths at and below which may be written.
    """

    def __init__(self, allowed: Sequence[Path]) -> None:
        self.allowed = tuple(os.path.realpath(path) for path in allowed)
        self.seen: list[str] = []
        self.on = True
        self._modules = set(sys.modules)

    def begin(self) -> None:
        sys.addaudithook(self._hook)

    def end(self) -> list[str]:
        """Each kind of thing once, and the modules that are no library's and none of this program's."""
        self.on = False
        files = {
            name: getattr(sys.modules[name], "__file__", None) for name in sys.modules.keys() - self._modules
        }
        strange = [
            f"imports {name} from {file}"
            for name, file in files.items()
            if file and not str(Path(file).resolve()).startswith((str(ROOT), *_LIBRARIES))
        ]
        return list(dict.fromkeys([*self.seen, *strange]))

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in NEVER:
            if event == "ctypes.dlopen" and str(arguments[0]).startswith(_LOADED):
                return
            if event in _OF_WORKERS and _reads_ahead():
                return
            self.seen.append(f"{event} {arguments[:2]!r}"[:200])
        elif event == "open":
            path, _, flags = (*arguments, None, None)[:3]
            writing = isinstance(flags, int) and flags & _WRITES
            if writing and isinstance(path, str | bytes | os.PathLike):
                self._changed("opens for writing", path, follows=not flags & os.O_NOFOLLOW)
        elif event in CHANGES:
            for place in CHANGES[event]:
                if isinstance(arguments[place], str | bytes | os.PathLike):
                    self._changed(event, arguments[place])

    def _changed(self, what: str, path: Any, follows: bool = False) -> None:
        if what == "os.mkdir" and os.path.lexists(path):  # which makes nothing
            return
        try:
            # The last part itself, which a link may be: what is removed or renamed is the link.
            name = os.fsdecode(path)
            real = os.path.join(os.path.realpath(os.path.dirname(name) or "."), os.path.basename(name))
            if follows:
                real = os.path.realpath(name)
        except (OSError, ValueError):
            return
        if real != "/dev/null" and not any(real == a or real.startswith(a + "/") for a in self.allowed):
            self.seen.append(f"{what} {real}"[:300])

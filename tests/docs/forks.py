"""Jupyter's kernels and the program's commands as forks of one process, which has imported what they import.

The tutorials start Python some twenty-five times, and each start takes seconds to import torch and the rest; a fork
takes none, and is a process of its own all the same.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.forked import end_with

ROOT = Path(__file__).parents[2]
IMPORTED = (
    "ipykernel.ipkernel", "ipykernel.kernelapp", "IPython.terminal.debugger", "matplotlib.backends.backend_agg",
    "matplotlib.pyplot", "matplotlib_inline.backend_inline", "nbclient", "score_pc.likelihood", "score_pc.main",
    "score_pc.models", "score_pc.run_lib.convert", "score_pc.run_lib.editing.control",
    "score_pc.run_lib.evaluation.evaluate", "score_pc.run_lib.evaluation.samples", "score_pc.run_lib.startup",
    "score_pc.run_lib.training.loop", "score_pc.run_lib.tuning.tune", "score_pc.samplers", "skimage.metrics",
    "sklearn.datasets", "sklearn.model_selection", "sklearn.svm", "tensorboard.summary.writer.record_writer",
    "torch._dynamo", "torch.utils.tensorboard.summary", "torchvision.utils",
)  # fmt: skip

CLIENT = """\
#!{python} -IS
import json, os, signal, socket, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Jupyter sends it to kernels that have ended
with socket.socket(socket.AF_UNIX) as forks:
    forks.connect({address!r})
    socket.send_fds(forks, [b"."], [0, 1, 2])
    asked = [{entry!r}, sys.argv, os.getcwd(), dict(os.environ)]
    forks.sendall(json.dumps(asked).encode() + b"\\n")
    sys.exit(int(forks.makefile().read() or 70))
"""
"""A command that has the forking process do it, with its own files, folder and environment, and ends as that ends."""


def kernel() -> None:
    """As ``python -m ipykernel_launcher``."""
    sys.path[:] = [place for place in sys.path if place not in ("", os.getcwd())]
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


def score_pc() -> None:
    """As the console command."""
    importlib.import_module("score_pc.__main__").run()


def tutorial() -> None:
    """Run a notebook at toy size: its name, the folder where it runs, and source that closes it."""
    _, name, folder, holds = sys.argv
    sys.path.insert(0, str(ROOT / "docs"))
    import run_tutorials

    run_tutorials.run(
        run_tutorials.TUTORIALS / f"{name}.ipynb", Path(folder), size="toy", closing=textwrap.dedent(holds)
    )


ENTRIES: Mapping[str, Callable[[], None]] = {"kernel": kernel, "score-pc": score_pc, "tutorial": tutorial}


@dataclass(frozen=True)
class Forks:
    """A process that forks.

    Attributes:
        commands: a folder with a client for each entry, which a PATH may begin with.
        kernels: a folder of Jupyter's in which the kernel ``python3`` is such a client.
    """

    commands: Path
    kernels: Path

    def run(self, entry: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Do it, and wait for its end."""
        return subprocess.run(
            [self.commands / entry, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )


@contextlib.contextmanager
def forking() -> Iterator[Forks]:
    """Within the block, forks are to be had; what is left of them at its end is killed."""
    # Names of sockets are short.
    folder = Path(tempfile.mkdtemp(prefix="forks"))
    forks = Forks(folder / "commands", folder / "jupyter")
    (forks.kernels / "kernels/python3").mkdir(parents=True)
    forks.commands.mkdir()
    for entry in ENTRIES:
        client = forks.commands / entry
        client.write_text(CLIENT.format(python=sys.executable, address=str(folder / "socket"), entry=entry))
        client.chmod(0o755)
    told = {"argv": [str(forks.commands / "kernel"), "-f", "{connection_file}"], "display_name": "Python 3",
            "language": "python"}  # fmt: skip
    (forks.kernels / "kernels/python3/kernel.json").write_text(json.dumps(told))
    paths = [str(ROOT), str(ROOT / ".ci/package"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.docs.forks", str(folder)],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        while not (folder / "ready").exists():
            assert process.poll() is None, "the process that is to fork has ended"
            time.sleep(0.05)
        yield forks
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder)


def serve(folder: Path) -> None:
    """Fork for each client, for ever."""
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # forks that have ended are nobody's business
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        (folder / "ready").touch()
        while True:
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _attend(client, folder / "commands", folder / "jupyter")
            client.close()


def _attend(client: socket.socket, commands: Path, kernels: Path) -> None:
    """Do what a client asks for in a fork, and tell the client how that ended."""
    _, files, _, _ = socket.recv_fds(client, 1, 3)
    entry, arguments, where, environment = json.loads(client.makefile().readline())
    pid = os.fork()
    if pid == 0:
        client.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        path = [str(commands), environment.get("PATH", "")]
        environment |= {"PATH": os.pathsep.join(path), "JUPYTER_PATH": str(kernels)}
        end_with(partial(_become, ENTRIES[entry], arguments, where, environment))
    for file in files:
        os.close(file)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        client.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(entry: Callable[[], None], arguments: list[str], where: str, environment: dict[str, str]) -> None:
    os.chdir(where)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    entry()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))

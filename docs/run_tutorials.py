"""Runs the tutorials, docs/tutorials/*.ipynb, and keeps in them what their cells print and draw.

    python docs/run_tutorials.py                # all, at the reader's size: minutes each
    python docs/run_tutorials.py few_steps

Each runs in a kernel of its own, all in one folder: a network that one has trained is there for the next.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = ROOT / "docs/tutorials"
SECONDS = 1800  # a cell may take, at the reader's size


def run(source: Path, folder: Path, *, size: str = "reader", closing: str = "") -> NotebookNode:
    """A notebook as it is after its cells have run, from the first to the last.

    Args:
        source: the notebook.
        folder: where it runs.
        size: ``reader``, or ``toy``, as the tests run it.
        closing: source of a last cell, which is not kept.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell ended with an error.
    """
    notebook = nbformat.read(source, as_version=4)
    kept = len(notebook.cells)
    if closing:
        notebook.cells.append(nbformat.v4.new_code_cell(closing))
    os.environ |= environment(size)
    NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(folder)}}).execute()
    del notebook.cells[kept:]
    return tidied(notebook)


def environment(size: str) -> dict[str, str]:
    """Variables with which a notebook's Python and its commands are this checkout's, and its size."""
    places = [str(ROOT), str(ROOT / ".ci/package"), os.environ.get("PYTHONPATH", "")]
    commands = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, places)),
        "PATH": os.pathsep.join(commands),
        "TUTORIAL_SIZE": size,
        "COLUMNS": "100",
    }


def tidied(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what differs from run to run: times, progress that was overwritten, versions."""
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    return notebook


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs with neighbouring texts as one, of which only the last state of an overwritten line is left."""
    kept = list[NotebookNode]()
    for output in outputs:
        if output.output_type == "stream" and kept and kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    for output in kept:
        if output.output_type == "stream":
            lines = output.text.replace("\r\n", "\n").split("\n")
            output.text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return kept


def main() -> None:
    """Run the tutorials that are named, or all, and write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs/tutorials", help="where they run")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for name in given.names or sorted(path.stem for path in TUTORIALS.glob("*.ipynb")):
        path = TUTORIALS / f"{name}.ipynb"
        notebook = run(path, given.folder)
        nbformat.write(notebook, path)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()

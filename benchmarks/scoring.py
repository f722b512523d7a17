"""What scoring many images costs: seconds and anonymous memory, by metric and extractor.

    python -m benchmarks.scoring --count 50000
    python -m benchmarks.scoring --count 2000 --metrics fid,is,sfid --save

``--mode score`` is started as a user starts it, on as many random images of 32x32 in colour as are asked for, against
10,000 others. Of Inception the weights are drawn at random: they cost what the published ones do. The memory is the
most of RssAnon, of the program and all that it starts, looked at fifty times a second.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.data import anonymous
from benchmarks.report import described, write_section

ROOT = Path(__file__).parents[1]
REFERENCE = 10_000


def sets(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for name, size, top in (("samples", count, 256), ("reference", REFERENCE, 250)):
        np.savez(folder / f"{name}.npz", arr_0=rng.integers(0, top, (size, 32, 32, 3), dtype=np.uint8))


def weights(path: Path) -> None:
    from run_lib.extractors.inception import InceptionNetwork

    torch.manual_seed(0)
    torch.save(InceptionNetwork().state_dict(), path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument(
        "--metrics", default="frechet@pca,kernel@pca,sliced_wasserstein@pca,precision_recall@pca"
    )
    parser.add_argument("--save", action="store_true", help="into RESULTS.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sets(folder, arguments.count)
        command = [
            sys.executable, "main.py", "--mode", "score", "--workdir", f"{folder}/run",
            f"--config.score.samples={folder}/samples.npz", f"--config.score.reference={folder}/reference.npz",
            f"--config.eval.metrics={arguments.metrics}", "--config.device=cpu",
        ]  # fmt: skip
        if "@" not in arguments.metrics:
            weights(folder / "inception.pth")
            command.append(f"--config.eval.extractor_weights=inception={folder}/inception.pth")
        begun, most = time.perf_counter(), 0
        with (folder / "said").open("w") as said:
            process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
            while process.poll() is None:
                most = max(most, anonymous(process.pid))
                time.sleep(0.02)
        seconds = time.perf_counter() - begun
        if process.returncode:
            raise SystemExit((folder / "said").read_text())
    lines = [
        f"## Scoring: {arguments.metrics}",
        "",
        *described(__doc__),
        f"torch {torch.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores.",
        "",
        "| images | seconds | RssAnon at most |",
        "|---|---|---|",
        f"| {arguments.count} | {seconds:.0f} | {most / 1e9:.2f} GB |",
    ]
    print("\n".join(lines))
    if arguments.save:
        write_section(f"scoring {arguments.metrics}", lines)


if __name__ == "__main__":
    main()

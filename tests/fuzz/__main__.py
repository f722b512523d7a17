"""``python -m tests.fuzz --cases 5000 --real 200``: any number of cases; what breaks the invariant is printed."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.fuzz.search import search

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--cases", type=int, default=200)
parser.add_argument("--first", type=int, default=0, help="number of the first")
parser.add_argument("--real", type=int, default=0, help="so many of them as command lines of the system's")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--keep", type=Path, help="keep the folders of cases with a fault here")
parser.add_argument("--log", type=Path, help="add a line of each case to this file")
asked = parser.parse_args()
found = search(range(asked.first, asked.first + asked.cases), asked.seed, asked.real, asked.keep, asked.log)
statuses = ", ".join(f"{count} of status {status}" for status, count in sorted(found.statuses.items()))
print(
    f"{sum(found.statuses.values())} cases of seed {asked.seed}, {found.real} as command lines: {statuses}; "
    f"the longest {found.longest:.1f} s, the most memory {found.most_memory / 2**30:.2f} GB; {len(found.faults)} faults"
)
raise SystemExit(bool(found.faults))

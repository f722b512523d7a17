"""``python -m tests.fuzz --cases 5000 --seed 0``: any number of cases; what breaks the invariant is printed."""

from __future__ import annotations

import argparse

from tests.fuzz.search import search

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--cases", type=int, default=200)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()
found = search(asked.cases, asked.seed)
statuses = ", ".join(f"{count} of status {status}" for status, count in sorted(found.statuses.items()))
print(
    f"{sum(found.statuses.values())} cases of seed {asked.seed}: {statuses}; the longest {found.longest:.1f} s, the "
    f"most memory {found.most_memory / 2**30:.2f} GB; {len(found.faults)} faults"
)
raise SystemExit(bool(found.faults))

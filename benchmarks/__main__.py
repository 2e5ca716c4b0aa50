"""All benchmarks, one after the other: `make bench`. Half an hour; leave the machine alone meanwhile."""

from __future__ import annotations

import runpy
import sys

for name in ("merkle", "ledger", "packet", "notary", "exchange", "growth", "abuse"):
    print(f"\n## {name}\n", flush=True)
    sys.argv = [name]
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")

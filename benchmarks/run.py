"""Run benchmarks and print their ratios.

    python -m benchmarks.run [CASE ...] [--json FILE]

Cases are the modules of this folder that have `run` and `text`; without a name all of them run. Use one thread per
library (OMP_NUM_THREADS=1) and an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path

from benchmarks.measure import machine

CASES = (
    "kernels",
    "end_to_end",
    "memory",
    "message_passing",
    "driving_force",
    "allocator",
    "md_lammps",
    "md_ranks",
    "md_ase",
    "training",
    "ensemble",
    "dask_scaling",
)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    results: dict[str, object] = {"machine": machine()}
    print(f"{results['machine']}\n")
    for case in options.cases or CASES:
        module = import_module(f"benchmarks.{case}")
        results[case] = module.run()
        print(f"{case}: {module.__doc__.splitlines()[0]}\n{module.text(results[case])}\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

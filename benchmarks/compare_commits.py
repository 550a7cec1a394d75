"""Do two commits give the same bits? ``python -m benchmarks.compare_commits OLD NEW``.

Each commit is checked out into a folder of its own and runs, with this interpreter's packages, `decompose` on the
shipped trajectory with the shipped model and with a message-passing network, `kappa`, `spectrum` and `info` as JSON,
and a short `md`. Variables and attributes of the flux files, and JSON texts, must be equal; the version, paths and
durations are left out. Exit status 1 where something differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
#: Attributes and keys that may differ: the version, what depends on paths, and what a check took, in seconds.
_IGNORED = ("fluxan_version", "self_check", "output", "correlation", "path", "file")

#: Runs in the checkout: the message-passing network is made by seed, which no command does.
_NETWORK = """
import sys, fluxan
from fluxan.potentials.equivariant import EquivariantNetwork
frames = fluxan.open_trajectory(sys.argv[1], stop=6)
network = EquivariantNetwork([18, 36], cutoff=4.5, n_features=4, seed=2)
fluxan.decompose(frames, network, output=sys.argv[2], progress=False)
"""


def checkout(commit: str, folder: Path) -> None:
    """Put the files of a commit into a folder, from where they can be imported."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    (folder / "fluxan" / "kernels").symlink_to(folder / "kernels")


def outputs(folder: Path) -> dict[str, Any]:
    """Run everything in a checkout; results by name, in plain values."""
    work = folder / "results"
    work.mkdir()
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}

    def run(*words: object) -> str:
        command = [sys.executable, *map(str, words)]
        return subprocess.run(command, cwd=work, env=environment, check=True, capture_output=True, text=True).stdout

    home = run("-c", "import fluxan.kernels; print(fluxan.__file__, fluxan.kernels.__file__)")
    if home.count(str(folder)) != 2:
        sys.exit(f"the checkout in {folder} is not what was imported: {home}")
    cli = ("-m", "fluxan.cli")
    trajectory = next((folder / "fluxan" / "data").glob("*.nc"))
    run(*cli, "decompose", trajectory, "--output", "flux.nc", "--quiet")
    run("-c", _NETWORK, trajectory, "network.nc")
    run(*cli, "md", "shipped:ar-liquid", "--time", "4", "--thermalise", "1", "--output", "md.nc", "--quiet", "--json")
    found: dict[str, Any] = {name: contents(work / f"{name}.nc") for name in ("flux", "network", "md")}
    for command in ("kappa", "spectrum", "info"):
        for name in ("flux", "md"):
            found[f"{command} {name}"] = json.loads(run(*cli, command, f"{name}.nc", "--json"))
    return found


def contents(path: Path) -> dict[str, Any]:
    """Variables, as bytes, and attributes of a flux file."""
    import netCDF4

    with netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        variables = {name: variable[:].tobytes() for name, variable in file.variables.items()}
        return variables | {f"attribute {name}": str(file.getncattr(name)) for name in file.ncattrs()}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of entries that are not equal, or that only one of the two has."""
    names = [name for name in {**old, **new} if name.removeprefix("attribute ") not in _IGNORED]
    return [name for name in names if old.get(name) != new.get(name)]


def main() -> int:
    """Compare two commits, output by output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new", nargs="?", default="HEAD")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        results = []
        for commit in (arguments.old, arguments.new):
            folder = Path(temporary) / f"{len(results)}"
            checkout(commit, folder)
            results.append(outputs(folder))
    old, new = results
    wrong = {name: differences(old[name], new[name]) for name in old}
    for name, names in wrong.items():
        print(f"{name:<16} {'same bits' if not names else 'DIFFERS in ' + ', '.join(names)}")
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())

"""What K members of an ensemble cost over K single evaluations, and what the closed form of radial functions saves."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from ase.build import bulk

from benchmarks.measure import interleaved
from fluxan.active.ensemble import Ensemble, _one_by_one, _stacked
from fluxan.flux.local import LocalRoute, pair_forces_by_autograd
from fluxan.md.ase.calculator import frame_of_atoms
from fluxan.neighbors import build_graph
from fluxan.potentials.behler_parrinello import BehlerParrinello
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.potentials.linear_potential import LinearPotential
from fluxan.potentials.symmetry_functions import SymmetryFunctions, default_functions

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.potentials.base import Potential

COUNTS = (2, 4, 8)
CUTOFF = 6.0
#: Members of message-passing networks in one batched call, and cells in repeats of 4 atoms.
STACKED, CELLS = 4, {4: (1, 1, 1), 32: (2, 2, 2), 108: (3, 3, 3)}


def run(repeats: int = 15) -> dict[str, Any]:
    """Ratio of K members to K single evaluations, and milliseconds of one, by model."""
    torch.set_num_threads(1)
    atoms = bulk("Ar", "fcc", a=5.46, cubic=True).repeat(3)
    atoms.rattle(0.1, seed=1)
    graph = build_graph(frame_of_atoms(atoms), CUTOFF)
    found = {}
    for name, make in _models().items():
        members = [make(seed) for seed in range(max(COUNTS))]
        cases: dict[str, Callable[[], object]] = {"one": lambda m=members[0]: LocalRoute(m).pair_forces(graph)}
        for count in COUNTS:
            ensemble = Ensemble(members[:count])
            cases[str(count)] = lambda e=ensemble: e.energies_and_forces(graph)
        if name == "radial functions":
            cases["autograd"] = lambda m=members[0]: pair_forces_by_autograd(m, graph)
        seconds = interleaved(cases, repeats=repeats)
        found[name] = {"one": 1e3 * seconds["one"]}
        found[name] |= {f"K = {count}": seconds[str(count)] / (count * seconds["one"]) for count in COUNTS}
        if "autograd" in seconds:
            found[name]["autograd over closed form"] = seconds["autograd"] / seconds["one"]
    return found | {"one batched call": _batched_over_separate(repeats)}


def _batched_over_separate(repeats: int) -> dict[str, float]:
    """Time of one batched call of message-passing networks over that of separate ones, by number of atoms."""
    members = [_models()["message passing, 2 layers"](seed) for seed in range(STACKED)]
    ratios = {}
    for n_atoms, repeat in CELLS.items():
        atoms = bulk("Ar", "fcc", a=5.46, cubic=True).repeat(repeat)
        atoms.rattle(0.1, seed=1)
        graph = build_graph(frame_of_atoms(atoms), CUTOFF)
        cases = {"batched": partial(_stacked, members, graph), "separate": partial(_one_by_one, members, graph)}
        seconds = interleaved(cases, repeats=repeats)
        ratios[f"{n_atoms} atoms"] = seconds["batched"] / seconds["separate"]
    return ratios


def _models() -> dict[str, Callable[[int], Potential]]:
    wide = default_functions([18], cutoff=CUTOFF, triplet_cutoff=4.5, first_shift=2.5)
    radial = SymmetryFunctions([18], cutoff=CUTOFF, triplet_cutoff=4.5, radial=wide.radial)
    return {
        "radial functions": lambda seed: BehlerParrinello(radial, hidden=(12, 12), seed=seed),
        "radial and angular functions": lambda seed: BehlerParrinello(wide, hidden=(12, 12), seed=seed),
        "linear, radial and angular": lambda _: LinearPotential(wide),
        "message passing, 2 layers": lambda seed: EquivariantNetwork(
            [18], cutoff=CUTOFF, n_features=8, n_layers=2, seed=seed
        ),
    }


def text(results: dict[str, Any]) -> str:
    """A table."""
    lines = [f"{'model':<32}{'one (ms)':>10}" + "".join(f"{f'K = {count}':>8}" for count in COUNTS)]
    for name, row in results.items():
        if name == "one batched call":
            continue
        ratios = "".join(f"{row[f'K = {count}']:>8.2f}" for count in COUNTS)
        lines.append(f"{name:<32}{row['one']:>10.2f}{ratios}")
    lines.append(f"autograd over closed form: {results['radial functions']['autograd over closed form']:.1f}")
    ratios = ", ".join(f"{size} {ratio:.2f}" for size, ratio in results["one batched call"].items())
    lines.append(f"one batched call of {STACKED} message-passing networks over separate ones: {ratios}")
    return "\n".join(lines)

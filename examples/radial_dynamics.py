"""Fast molecular dynamics of one element with models of pair distances, alone or averaged, and their heat flux.

    python examples/radial_dynamics.py

Radial symmetry functions, and the curve of a pair potential, are tabulated; Numba does the rest: some 20 s per ns of a
hundred atoms of argon, a hundredth of what the same steps cost in ASE. Run as a program, it compares energies, forces
and heat flux with those of fluxan, for a pair potential, a linear model and the mean of two networks.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import torch
from ase import units

from fluxan.neighbors import build_graph
from fluxan.potentials.behler_parrinello import BehlerParrinello
from fluxan.potentials.linear_potential import LinearPotential
from fluxan.system import Frame

#: First distance and grid of the tables, Å; distance that atoms may move before neighbours are found anew, Å.
CLOSEST, GRID, SKIN = 0.8, 0.001, 1.0
#: u Å²/ps² in eV.
MASS_UNIT = units._amu * 1e4 / units._e


@nb.njit(cache=True)
def neighbours(x, lengths, reach):
    """Pairs within reach, all images of them: indices (n, 2), and the shifts of the second atoms, (n, 3) Å."""
    n, m, wide = len(x), 0, reach > 0.5 * lengths.min()
    pairs, shifts, shift = np.empty((400 * n, 2), np.int64), np.empty((400 * n, 3)), np.empty(3)
    for i in range(n):
        for j in range(i + 1, n):
            for image in range(27) if wide else range(13, 14):
                d2 = 0.0
                for c in range(3):
                    d = x[j, c] - x[i, c]
                    shift[c] = lengths[c] * ((image // 3**c) % 3 - 1 - np.rint(d / lengths[c]))
                    d2 += (d + shift[c]) ** 2
                if d2 < reach * reach:
                    pairs[m, 0], pairs[m, 1] = i, j
                    shifts[m] = shift
                    m += 1
    return pairs[:m].copy(), shifts[:m].copy()


@nb.njit(fastmath=True, cache=True)
def network_slopes(d, g, layers):
    """Energy of an atom with functions d by the mean of networks; adds its derivatives to g."""
    mean, scale, w1, b1, w2, b2, w3, b3, unit = layers
    energy, n_hidden = 0.0, b1.shape[1]
    first, second, back = np.empty(n_hidden), np.empty(n_hidden), np.empty(n_hidden)
    for k in range(len(unit)):
        for a in range(n_hidden):
            value = b1[k, a]
            for q in range(len(d)):
                value += w1[k, a, q] * (d[q] - mean[k, q]) / scale[k, q]
            first[a] = np.tanh(value)
            back[a] = 0.0
        out = b3[k]
        for b in range(n_hidden):
            value = b2[k, b]
            for a in range(n_hidden):
                value += w2[k, b, a] * first[a]
            second[b] = np.tanh(value)
            out += w3[k, b] * second[b]
            slope = w3[k, b] * (1 - second[b] ** 2)
            for a in range(n_hidden):
                back[a] += w2[k, b, a] * slope * (1 - first[a] ** 2)
        energy += unit[k] * out / len(unit)
        for q in range(len(d)):
            value = 0.0
            for a in range(n_hidden):
                value += w1[k, a, q] * back[a]
            g[q] += unit[k] * value / (scale[k, q] * len(unit))
    return energy


@nb.njit(fastmath=True, cache=True)
def describe(x, pairs, shifts, table, cutoff, rays, places, d):
    """Functions d of all atoms; unit vector and distance of each pair in `rays`, place in the table, −1 beyond it."""
    d[:] = 0
    for p in range(len(pairs)):
        i, j, r2 = pairs[p, 0], pairs[p, 1], 0.0
        for c in range(3):
            rays[p, c] = x[j, c] - x[i, c] + shifts[p, c]
            r2 += rays[p, c] ** 2
        r = np.sqrt(r2)
        places[p] = -1.0
        if r < cutoff:
            rays[p, 3] = r
            places[p] = max(0.0, (r - CLOSEST) / GRID)
            for c in range(3):
                rays[p, c] /= r
            k = int(places[p])
            share = places[p] - k
            for q in range(d.shape[1]):
                value = (1 - share) * table[k, q] + share * table[k + 1, q]
                d[i, q] += value
                d[j, q] += value


@nb.njit(fastmath=True, cache=True)
def evaluate(x, v, pairs, shifts, model, f):
    """Energy, eV, forces f, eV/Å, and virial heat flux, eV Å/ps.

    The flux is J = Σ_ij r_ij (∂U_j/∂r_i · v_i) with r_ij from i to j (Z. Fan et al., Phys. Rev. B 92, 094301 (2015)).
    """
    table, slopes, cutoff, weights, layers = model
    rays, places = np.empty((len(pairs), 4)), np.empty(len(pairs))
    d, g, flux, energy = np.empty((len(x), len(weights))), np.empty((len(x), len(weights))), np.zeros(3), 0.0
    describe(x, pairs, shifts, table, cutoff, rays, places, d)
    for i in range(len(x)):
        for q in range(len(weights)):
            g[i, q] = weights[q]
            energy += weights[q] * d[i, q]
        energy += network_slopes(d[i], g[i], layers)
    f[:] = 0
    for p in range(len(pairs)):
        if places[p] < 0:
            continue
        i, j, k = pairs[p, 0], pairs[p, 1], int(places[p])
        share, of_i, of_j, v_i, v_j = places[p] - k, 0.0, 0.0, 0.0, 0.0
        for q in range(len(weights)):
            slope = (1 - share) * slopes[k, q] + share * slopes[k + 1, q]
            of_i += g[i, q] * slope
            of_j += g[j, q] * slope
        for c in range(3):
            v_i += v[i, c] * rays[p, c]
            v_j += v[j, c] * rays[p, c]
            f[i, c] += (of_i + of_j) * rays[p, c]
            f[j, c] -= (of_i + of_j) * rays[p, c]
        for c in range(3):
            flux[c] -= rays[p, 3] * rays[p, c] * (of_j * v_i + of_i * v_j)
    return energy, flux


@nb.njit(fastmath=True, cache=True)
def integrate(x, v, lengths, mass, model, step, n_steps, temperature, friction, fluxes):
    """Langevin dynamics (BAOAB), or constant energy without friction; mean temperature, K, NaN if atoms fly apart.

    With room in `fluxes`, (n, 3), the flux after every n_steps/n steps goes there.
    """
    pairs, shifts = neighbours(x, lengths, model[2] + SKIN)
    f, before, total, keep = np.zeros_like(x), x.copy(), 0.0, np.exp(-friction * step)
    evaluate(x, v, pairs, shifts, model, f)
    every = n_steps // len(fluxes) if len(fluxes) else n_steps + 1
    kick = np.sqrt((1 - keep * keep) * 8.617333262e-5 * temperature / mass)
    for s in range(n_steps):
        v += 0.5 * step / mass * f
        x += 0.5 * step * v
        if friction > 0:
            for i in range(len(x)):
                for c in range(3):
                    v[i, c] = keep * v[i, c] + kick * np.random.normal()
        x += 0.5 * step * v
        moved = np.max(np.sum((x - before) ** 2, axis=1))
        if not moved < 100.0:
            return np.nan
        if moved > 0.25 * SKIN * SKIN:
            before[:] = x
            pairs, shifts = neighbours(x, lengths, model[2] + SKIN)
        evaluate(x, v, pairs, shifts, model, f)
        v += 0.5 * step / mass * f
        total += mass * np.sum(v * v) / (3 * len(x) * 8.617333262e-5)
        if (s + 1) % every == 0:
            fluxes[(s + 1) // every - 1] = evaluate(x, v, pairs, shifts, model, f)[1]
    return total / n_steps


@nb.njit(cache=True)
def set_seed(seed):
    """Seed the random numbers of the thermostat."""
    np.random.seed(seed)


def pair_curve(model, r):
    """Energy, eV, of two atoms at distances r, Å, without constants, and its slope, eV/Å: pairs far from each other."""
    apart = 4 * model.cutoff
    positions = np.zeros((2 * len(r), 3))
    positions[:, 1] = np.repeat(apart * np.arange(len(r)), 2)
    positions[1::2, 0] = r
    cell = np.diag([apart, apart * len(r), apart])
    graph = build_graph(Frame(positions, None, cell, np.full(2 * len(r), model.elements[0])), model.cutoff)
    energies, g_ij = model.pair_forces(graph)
    slopes = torch.zeros(2 * len(r), dtype=g_ij.dtype)
    slopes.index_add_(0, graph.receivers, (g_ij * graph.r_ij).sum(dim=1) / graph.r_ij.norm(dim=1))
    constant = model.atom_energies[model.species_of(graph)]
    return (energies - constant).numpy().reshape(-1, 2).sum(axis=1), slopes.numpy().reshape(-1, 2).sum(axis=1)


def tabulated(model):
    """Table of values and slopes, cutoff, linear weights, and network of a model, for `evaluate`."""
    cutoff = float(model.cutoff)
    r = np.arange(CLOSEST, cutoff + 3 * GRID, GRID)
    inside = (r < cutoff).astype(float)[:, None]
    if not hasattr(model, "functions"):
        energy, slope = pair_curve(model, np.minimum(r, cutoff - 1e-9))
        return [inside * energy[:, None] / 2, inside * slope[:, None] / 2, cutoff, np.ones(1), None]
    if model.functions.wide.rows or model.functions.narrow.rows:
        raise ValueError("these symmetry functions are not radial; give widths = []")
    distances = torch.tensor(r, requires_grad=True)
    terms = model.functions.radial_terms(distances)
    slopes = [torch.autograd.grad(t.sum(), distances, retain_graph=True)[0].numpy() for t in terms]
    values = np.stack([t.detach().numpy() for t in terms], axis=1)
    weights, network = np.zeros(len(terms)), None
    if isinstance(model, LinearPotential):
        weights = model.weights.detach().numpy()[0].copy()
    elif isinstance(model, BehlerParrinello):
        network = model.networks[0]
    return [inside * values, inside * np.stack(slopes, axis=1), cutoff, weights, (model, network)]


def stacked(networks, n_functions):
    """Parameters of networks of two hidden layers of tanh as arrays, the first axis that of the networks."""
    if not networks:
        sizes = [(0, n_functions)] * 2 + [(0, 1, n_functions), (0, 1), (0, 1, 1), (0, 1), (0, 1), (0,), (0,)]
        return tuple(np.zeros(size) for size in sizes)
    rows = []
    for model, network in networks:
        first, second, last = (network[k] for k in (0, 2, 4))
        parameters = [first.weight, first.bias, second.weight, second.bias, last.weight[0], last.bias[0]]
        rows.append([model.mean[0], model.scale[0], *parameters, model.energy_scale[0]])
    return tuple(np.ascontiguousarray([row[k].detach().numpy() for row in rows]) for k in range(9))


class RadialDynamics:
    """Molecular dynamics of atoms of one element in an orthorhombic cell.

    Parameters
    ----------
    models : list of Potential
        Whose mean drives it: one pair potential, or models of the same radial symmetry functions.
    atoms : ase.Atoms
        Periodic.
    """

    def __init__(self, models, atoms):
        tables = [tabulated(model) for model in models]
        values, slopes, cutoff, _, _ = tables[0]
        networks = [table[4] for table in tables if table[4] is not None and table[4][1] is not None]
        weights = np.mean([table[3] for table in tables], axis=0)
        if not networks:  # a linear model of pair distances is a pair potential
            values, slopes, weights = (values @ weights)[:, None], (slopes @ weights)[:, None], np.ones(1)
        layers = stacked(networks, values.shape[1])
        self.model = (np.ascontiguousarray(values), np.ascontiguousarray(slopes), cutoff, weights, layers)
        self.lengths, self.mass = atoms.cell.lengths(), float(atoms.get_masses()[0]) * MASS_UNIT

    def forces(self, x, v=None):
        """Energy, eV, up to a constant, forces, eV/Å, and heat flux, eV Å/ps."""
        f, v = np.zeros_like(x), np.zeros_like(x) if v is None else v
        pairs, shifts = neighbours(x, self.lengths, self.model[2])
        energy, flux = evaluate(x, v, pairs, shifts, self.model, f)
        return energy, f, flux

    def run(self, x, v, picoseconds, *, step=0.01, temperature=0.0, friction=0.5, n_fluxes=0):
        """Go on in place; mean temperature, K, and the fluxes at equal intervals, eV Å/ps."""
        fluxes, n_steps = np.zeros((n_fluxes, 3)), round(picoseconds / step)
        mean = integrate(x, v, self.lengths, self.mass, self.model, step, n_steps, temperature, friction, fluxes)
        return mean, fluxes

    def velocities(self, n_atoms, temperature, random):
        """Velocities of a temperature, Å/ps, without that of the whole."""
        v = random.normal(size=(n_atoms, 3)) * np.sqrt(units.kB * temperature / self.mass)
        return v - v.mean(axis=0)


def check(models, atoms, name):
    """Compare with fluxan at a shaken structure; print and return the largest differences, relatively."""
    import fluxan
    from fluxan.md.ase import FluxanCalculator
    from fluxan.potentials.weighted_sum import WeightedSum

    random, fast = np.random.default_rng(0), RadialDynamics(models, atoms)
    mean = models[0] if len(models) == 1 else WeightedSum(models, [1 / len(models)] * len(models))
    shaken, v = atoms.copy(), fast.velocities(len(atoms), 75.0, random)
    shaken.positions += random.normal(scale=0.15, size=shaken.positions.shape)
    shaken.calc = FluxanCalculator(mean)
    energies = [fast.forces(a.positions)[0] for a in (atoms, shaken)]
    still = atoms.copy()
    still.calc = shaken.calc
    expected = still.get_potential_energy()
    _, forces, flux = fast.forces(shaken.positions, v)
    frame = Frame(shaken.positions, v, np.array(shaken.cell), shaken.numbers)
    j = fluxan.heat_flux(frame, mean).potential.sum(axis=0)
    pairs = {
        "energy": (energies[1] - energies[0], shaken.get_potential_energy() - expected),
        "forces": (forces, shaken.get_forces()),
        "flux": (flux, j),
    }
    wrong = {key: float(np.abs(a - b).max() / np.abs(b).max()) for key, (a, b) in pairs.items()}
    print(f"{name}: relative differences " + ", ".join(f"{key} {value:.1e}" for key, value in wrong.items()))
    return wrong


def main():
    """Compare three kinds of models with fluxan."""
    import rare_events as study

    from fluxan.potentials.symmetry_functions import default_functions

    atoms = study.crystal(study.SYSTEMS["ar"])[0]
    functions = default_functions([18], cutoff=6.0, triplet_cutoff=5.0, n_radial=8, first_shift=2.5, widths=())
    linear = LinearPotential(functions)
    with torch.no_grad():
        linear.weights.copy_(0.1 * torch.randn(1, 8, generator=torch.Generator().manual_seed(0)))
    networks = [BehlerParrinello(functions, hidden=(6, 6), seed=seed) for seed in (0, 1)]
    for network in networks:
        network.standardise([build_graph(Frame(atoms.positions, None, np.array(atoms.cell), atoms.numbers), 6.0)])
    for name, models in {"argon": [study.reference("ar")], "linear": [linear], "networks": networks}.items():
        wrong = check(models, atoms, name)
        if not max(wrong.values()) < 1e-4:
            raise SystemExit(f"{name}: too large")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

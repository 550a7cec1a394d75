"""Currents along edges: their sum, their definition, and the energies of atoms and regions that they change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk

import fluxan
from fluxan.errors import InputError, ModelError
from fluxan.flux.edge_currents import adjoint_power, edge_currents, local_power
from fluxan.neighbors import build_graph
from fluxan.potentials import LennardJones, load_model
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.system import Frame
from fluxan.units import MASS_VELOCITY2
from tests.flux.test_edge_choices import by_receiver_then_distance, primitive_cell
from tests.flux.test_line_graphs import Apart, BondsAndAngles, EdgeUpdates, Triples
from tests.flux.test_signature import CHOICES, HalfList, Layers
from tests.graphs import brute_force_graph
from tests.message_passing import ToyModel, random_frame, scaled_up
from tests.potentials.cases import NOBLE

EVERYTHING = {"vectors": True, "symmetrised": True, "sender_scatter": True}
#: Models, and the crystal on which each is tried: all cells are shorter than twice the cutoff.
MODELS = {
    "argon-krypton": (lambda: load_model("ar-kr"), "noble"),
    "smooth-argon": (lambda: LennardJones(cutoff=6.5, pairs={"Ar-Ar": NOBLE["Ar-Ar"]}, truncation="force"), "argon"),
    "silicon": (lambda: load_model("si"), "silicon"),
    "two-layers": (lambda: network([14], n_layers=2), "silicon"),
    "three-layers": (lambda: network([18, 36], n_layers=3), "noble"),
    "to-senders": (lambda: ToyModel(3, own_vectors=True, **EVERYTHING), "toy"),
    "bonds-and-angles": (BondsAndAngles, "toy"),
}


def network(elements, n_layers):
    network = EquivariantNetwork(elements, cutoff=4.6, n_features=6, n_layers=n_layers, n_neighbors=12)
    return scaled_up(network, 2.0)


def crystal(kind, *, n_cells=3, seed=0):
    """A sheared, shaken crystal, long along z, whose atoms move and drift."""
    if kind == "toy":
        return random_frame(6, cell=4.4, triclinic=True)
    rng = np.random.default_rng(seed)
    a, lattice = (5.43, "diamond") if kind == "silicon" else (5.4, "fcc")
    atoms = bulk("Si", lattice, a=a, cubic=True) * (1, 1, n_cells)
    shear = np.array([[1, 0, 0], [0.1, 1, 0], [-0.15, 0.08, 1]])
    numbers = {"silicon": [14], "argon": [18], "noble": [18, 36]}[kind]
    return Frame(
        (atoms.positions @ shear) + 0.15 * rng.normal(size=(len(atoms), 3)),
        4 * rng.normal(size=(len(atoms), 3)) + np.array([1.0, -2.0, 1.5]),
        atoms.cell.array @ shear,
        rng.permutation(np.resize(numbers, len(atoms))),
    )


def case(name):
    make, kind = MODELS[name]
    return make(), crystal(kind)


def assert_close(found, expected, tolerance):
    assert np.abs(np.asarray(found) - expected).max() <= tolerance * np.abs(expected).max()


def slab(frame):
    """The frame with an open third direction, and vacuum there."""
    return frame.replace(cell=frame.cell * [[1], [1], [3]], pbc=(True, True, False))


def energies_and_forces(model, frame):
    graph = build_graph(frame, model.cutoff)
    leaf = graph.positions.clone().requires_grad_()
    moves = leaf - graph.positions
    r_ij = graph.r_ij + moves[graph.senders] - moves[graph.receivers]
    energies = model(graph.replace(positions=leaf, r_ij=r_ij))
    (gradient,) = torch.autograd.grad(energies.sum(), leaf)
    return energies.detach().numpy(), -gradient.numpy()


def nve(model, frame, time_step, n_steps):
    """Frames of a run by the velocity Verlet algorithm, and the energy of each atom in each."""
    potential, forces = energies_and_forces(model, frame)
    run = [(frame, potential + frame.kinetic_energies)]
    for _ in range(n_steps):
        half = frame.velocities + 0.5 * time_step * forces / (MASS_VELOCITY2 * frame.masses[:, None])
        frame = frame.replace(positions=frame.positions + time_step * half)
        potential, forces = energies_and_forces(model, frame)
        whole = half + 0.5 * time_step * forces / (MASS_VELOCITY2 * frame.masses[:, None])
        frame = frame.replace(velocities=whole)
        run.append((frame, potential + frame.kinetic_energies))
    return run


def rates_in_a_run(model, frame):
    """The middle frame of a short run, and the rate of the energy of each atom there by finite differences."""
    _, forces = energies_and_forces(model, frame)
    fastest = np.sqrt(np.abs(forces / (MASS_VELOCITY2 * frame.masses[:, None])).max())  # 1/ps, per √Å
    frame = nve(model, frame, 0.01 / fastest, 10)[-1][0]
    time_step = 1e-4 / fastest
    run = nve(model, frame, time_step, 4)
    energies = [found for _, found in run]
    rates = (8 * (energies[3] - energies[1]) - (energies[4] - energies[0])) / (12 * time_step)
    return run[2][0], rates


@pytest.mark.parametrize("name", MODELS)
def test_currents_add_up_to_the_flux(name):
    model, frame = case(name)
    found = edge_currents(frame, model)
    assert_close(found.flux, fluxan.heat_flux(frame, model).potential.sum(axis=(0, 1)), 1e-12)
    offsets = 0 if frame.cell is None else found.shifts @ frame.cell
    expected = frame.positions[found.senders] + offsets - frame.positions[found.receivers]
    np.testing.assert_allclose(found.r_ij, expected, atol=1e-12)
    assert found.power.shape == (build_graph(frame, model.cutoff).n_edges,)
    assert len(np.unique(found.shifts, axis=0)) > 1


@pytest.mark.parametrize("name", MODELS)
def test_they_change_the_energy_of_every_atom(name):
    model, frame = case(name)
    frame, rates = rates_in_a_run(model, frame)
    found = edge_currents(frame, model)
    assert_close(found.energy_rates, rates, 1e-6)
    assert abs(rates.sum()) < 1e-6 * np.abs(rates).max()


def between(frame, normal, low, high):
    """Mask of the atoms between two planes, periodic images included."""
    heights = frame.positions @ normal
    spacing = np.ptp(heights) if frame.cell is None else abs(frame.cell[2] @ normal)
    return np.floor((heights - low) / spacing) > np.floor((heights - high) / spacing)


@pytest.mark.parametrize("name", MODELS)
def test_energy_between_two_planes_in_a_run(name):
    model, frame = case(name)
    frame, rates = rates_in_a_run(model, frame)
    found = edge_currents(frame, model)
    normal = np.cross(frame.cell[0], frame.cell[1])
    normal /= np.linalg.norm(normal)
    spacing = frame.cell[2] @ normal
    low, high = 0.13 * spacing, 0.57 * spacing
    region = between(frame, normal, low, high)
    assert 0 < region.sum() < frame.n_atoms
    gained = found.through(normal, low) - found.through(3 * normal, high)
    assert gained == pytest.approx(rates[region].sum(), rel=1e-5)
    assert found.through(-normal, -low) == pytest.approx(-found.through(normal, low))
    assert found.through(normal, low + spacing) == pytest.approx(found.through(normal, low))


@pytest.mark.parametrize("name", ["smooth-argon", "silicon", "two-layers", "three-layers"])
def test_energy_on_one_side_of_a_plane_through_a_slab(name):
    model, frame = case(name)
    frame, rates = rates_in_a_run(model, slab(frame))
    normal = np.cross(frame.cell[0], frame.cell[1])
    normal /= np.linalg.norm(normal)
    heights = np.sort(frame.positions @ normal)
    middle = heights[len(heights) // 2 - 1 :][:2].mean()
    below = frame.positions @ normal < middle
    found = edge_currents(frame, model)
    assert found.through(normal, middle) == pytest.approx(-rates[below].sum(), rel=1e-5)
    assert found.through(normal, middle) == pytest.approx(rates[~below].sum(), rel=1e-5)
    cluster = frame.replace(cell=None)
    alone, power = rates_in_a_run(model, cluster)
    normal, middle = np.array([1.0, 2.0, -0.5]), np.median(alone.positions @ [1.0, 2.0, -0.5]) + 1e-3
    below = alone.positions @ normal < middle
    plane = (normal, middle / np.linalg.norm(normal))
    assert edge_currents(alone, model).through(*plane) == pytest.approx(-power[below].sum(), rel=1e-5)


@pytest.mark.parametrize("name", ["argon-krypton", "silicon", "three-layers", "to-senders"])
@pytest.mark.parametrize("indices", [(0, 0, 1), (1, 0, 0), (1, -1, 0), (2, 1, -1)])
def test_mean_over_parallel_planes_is_the_flux(name, indices):
    model, frame = case(name)
    found = edge_currents(frame, model)
    reciprocal = np.array(indices) @ np.linalg.inv(frame.cell).T
    spacing = 1 / np.linalg.norm(reciprocal)
    normal = spacing * reciprocal
    # The power through a plane is constant between the heights of the atoms.
    heights = np.sort(frame.positions @ normal % spacing)
    widths = np.diff(heights, append=heights[0] + spacing)
    mean = sum(w * found.through(normal, h + w / 2) for h, w in zip(heights, widths, strict=True)) / spacing
    scale = np.abs(found.power).sum()
    assert mean == pytest.approx(found.flux @ normal / spacing, rel=1e-10, abs=1e-12 * scale)


def test_lennard_jones_by_brute_force():
    model, frame = case("smooth-argon")
    epsilon, sigma, cutoff = 0.0103, 3.405, 6.5
    velocities = frame.velocities

    def slope(r):
        return 4 * epsilon * (6 * sigma**6 / r**7 - 12 * sigma**12 / r**13)

    expected, net = {}, {}
    graph = brute_force_graph(frame, cutoff)
    edges = zip(graph.receivers.tolist(), graph.senders.tolist(), graph.shifts.tolist(), graph.r_ij, strict=True)
    for i, j, shift, r_ij in edges:
        r = float(r_ij.norm())
        force = (slope(r) - slope(cutoff)) * r_ij.numpy() / r  # on i, by j
        expected[i, j, *shift] = -0.5 * force @ velocities[j]
        net[i, j, *shift] = -0.5 * force @ (velocities[i] + velocities[j])
    found = edge_currents(frame, model)
    keys = [tuple(row) for row in np.column_stack([found.receivers, found.senders, found.shifts]).tolist()]
    assert len(keys) == len(set(keys)) == len(expected)
    assert_close(found.power, [expected[key] for key in keys], 1e-11)
    assert_close(found.net, [net[key] for key in keys], 1e-11)
    # What one atom loses the other gains.
    number = {key: e for e, key in enumerate(keys)}
    reverse = [number[j, i, -x, -y, -z] for i, j, x, y, z in keys]
    np.testing.assert_array_equal(found.net[reverse], -found.net)


def test_power_is_the_product_of_adjoint_and_rate_of_the_edge_data():
    model, frame = ToyModel(3, vectors=True, symmetrised=True), crystal("toy")
    graph = build_graph(frame, model.cutoff)
    velocities = torch.as_tensor(frame.velocities)
    relative = velocities[graph.senders] - velocities[graph.receivers]
    gather, gathered = model.gather, []

    def recorded(data, index):
        gathered.append(gather(data, index))
        return gathered[-1]

    def edge_data(time):
        gathered.clear()
        r_ij = (graph.r_ij + time * relative).requires_grad_()
        energy = model(graph.replace(r_ij=r_ij)).sum()
        needed = [y for y in gathered if y.requires_grad]
        adjoints = torch.autograd.grad(energy, [r_ij, *needed], allow_unused=True, materialize_grads=True)
        return [y.detach() for y in needed], adjoints

    model.gather = recorded
    _, (g_ij, *adjoints) = edge_data(0.0)
    step = 1e-4
    near, far = ([edge_data(h)[0] for h in (a * step, -a * step)] for a in (1, 2))
    power = -(g_ij * velocities[graph.senders]).sum(dim=1)
    for k, adjoint in enumerate(adjoints):
        rate = (8 * (near[0][k] - near[1][k]) - (far[0][k] - far[1][k])) / (12 * step)
        power -= (adjoint * rate).flatten(start_dim=1).sum(dim=1)
    model.gather = gather
    assert_close(edge_currents(frame, model).power, power.numpy(), 1e-9)


@pytest.mark.parametrize("name", ["silicon", "two-layers", "to-senders"])
def test_a_common_velocity_does_the_work_of_the_stress(name):
    model, frame = case(name)
    drift = np.array([3.0, -1.0, 2.0])
    still, moving = (edge_currents(frame.replace(velocities=frame.velocities + v), model) for v in (0 * drift, drift))
    virial = fluxan.atomic_virial(frame, model).sum(axis=0)
    assert_close(moving.flux - still.flux, virial @ drift, 1e-10)
    _, forces = energies_and_forces(model, frame)
    assert_close(moving.energy_rates - still.energy_rates, forces @ drift, 1e-9)


def test_pairs_of_elements():
    for name in ("argon-krypton", "three-layers"):
        model, frame = case(name)
        found = edge_currents(frame, model)
        pairs = found.by_elements()
        assert list(pairs) == ["Ar-Ar", "Ar-Kr", "Kr-Kr"]
        assert_close(sum(part.flux for part in pairs.values()), found.flux, 1e-12)
        normal = np.cross(frame.cell[0], frame.cell[1])
        total = sum(part.through(normal, 4.0) for part in pairs.values())
        assert total == pytest.approx(found.through(normal, 4.0), rel=1e-10)
        mixed = pairs["Ar-Kr"]
        ends = np.sort(frame.numbers[np.column_stack([mixed.senders, mixed.receivers])], axis=1)
        np.testing.assert_array_equal(np.unique(ends, axis=0), [[18, 36]])
        assert np.abs(mixed.net.sum()) < 1e-12 * np.abs(mixed.net).sum()


@pytest.mark.parametrize("name", ["silicon", "two-layers", "to-senders"])
def test_wrapping_and_doubling(name):
    model, frame = case(name)
    found = edge_currents(frame, model)
    normal = np.cross(frame.cell[0], frame.cell[1])
    rng = np.random.default_rng(3)
    images = rng.integers(-2, 3, size=(frame.n_atoms, 3)) @ frame.cell
    wrapped = edge_currents(frame.replace(positions=frame.positions + images), model)
    assert_close(np.sort(wrapped.power), np.sort(found.power), 1e-9)
    for direction, factor in ((2, 1), (0, 2)):  # along the normal, and in the plane
        doubled = frame.replace(
            positions=np.concatenate([frame.positions, frame.positions + frame.cell[direction]]),
            cell=frame.cell * np.where(np.arange(3) == direction, 2, 1)[:, None],
            **{field: np.concatenate([getattr(frame, field)] * 2) for field in ("velocities", "numbers", "masses")},
        )
        more = edge_currents(doubled, model)
        for offset in (0.3, 1.7):
            expected = found.through(normal, offset)
            assert wrapped.through(normal, offset) == pytest.approx(expected, rel=1e-9)
            assert more.through(normal, offset) == pytest.approx(factor * expected, rel=1e-9)


def test_a_cell_of_one_atom_is_repeated():
    model = ToyModel(2, n_elements=1, vectors=True, cutoff=2.5)
    frame = random_frame(1, cell=1.6, triclinic=True, n_elements=1)
    found = edge_currents(frame, model)
    assert_close(found.flux, fluxan.atomic_virial(frame, model)[0] @ frame.velocities[0], 1e-10)
    doubled = frame.replace(
        positions=np.concatenate([frame.positions, frame.positions + frame.cell[0]]),
        cell=frame.cell * [[2], [1], [1]],
        **{field: np.concatenate([getattr(frame, field)] * 2) for field in ("velocities", "numbers", "masses")},
    )
    assert_close(np.repeat(np.sort(found.power), 2), np.sort(edge_currents(doubled, model).power), 1e-10)


@pytest.mark.parametrize(
    "make", [Triples, EdgeUpdates, HalfList, *(lambda c=c: Layers(c, 2.5) for c in CHOICES.values())]
)
def test_messages_between_edges_and_along_some_edges(make):
    model, frame = make(), random_frame(7, cell=5.0, triclinic=True)
    frame, rates = rates_in_a_run(model, frame)
    found = edge_currents(frame, model)
    assert_close(found.energy_rates, rates, 1e-6)
    assert_close(found.flux, fluxan.heat_flux(frame, model).potential.sum(axis=(0, 1)), 1e-12)


def test_edges_that_differ_by_their_image_are_distinguished_in_a_repeated_cell():
    model, frame = Layers(by_receiver_then_distance), primitive_cell()
    found = edge_currents(frame, model)
    assert_close(found.flux, np.einsum("jab,jb->a", fluxan.atomic_virial(frame, model), frame.velocities), 1e-11)


@pytest.mark.parametrize("name", ["two-layers", "three-layers"])
def test_the_formula_for_local_models_is_wrong_for_layers(name):
    model, frame = case(name)
    graph = build_graph(frame, model.cutoff)
    _, right, _ = adjoint_power(model, graph, frame.velocities)
    _, wrong, _ = local_power(model, graph, frame.velocities)
    assert np.abs(right - wrong).max() > 0.05 * np.abs(right).max()


def test_single_precision_and_no_edges():
    model, frame = case("two-layers")
    double = edge_currents(frame, model)
    single = edge_currents(frame, model.to(torch.float32))
    assert single.power.dtype == np.float64
    assert_close(single.power, double.power, 1e-4)
    apart = Frame([[0.0, 0, 0], [0, 0, 50]], [[1.0, 0, 0], [0, 1, 0]], None, [14, 14])
    empty = edge_currents(apart, network([14], n_layers=2))
    assert empty.power.shape == (0,)
    assert empty.through([0, 0, 1], 20.0) == 0.0
    assert not empty.flux.any()
    assert not empty.energy_rates.any()
    assert empty.by_elements() == {}
    assert "edges 0" in repr(empty)


class Twice(torch.autograd.Function):
    """Twice the input; the second derivative is refused."""

    @staticmethod
    def forward(_, x):
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(_, above):
        return 2 * above


class Detached(Twice):
    """Twice the input; the second derivative is wrong."""

    @staticmethod
    def backward(_, above):
        return 2 * above.detach()


class OnceDifferentiable(ToyModel):
    def __init__(self, twice):
        super().__init__(2)
        self.twice = twice

    def forward(self, graph):
        return super().forward(graph.replace(r_ij=0.5 * self.twice(graph.r_ij)))


def by_distance(r):
    return r * (2 + 0.1 * torch.cdist(r, torch.ones(1, 3).to(r), p=3))


@pytest.mark.parametrize("twice", [Twice.apply, Detached.apply, by_distance])
def test_second_derivatives_that_are_missing_or_wrong(twice):
    model, frame = OnceDifferentiable(twice), crystal("toy")
    assert fluxan.heat_flux(frame, model).route == "adjoint"
    with pytest.raises(ModelError, match="OnceDifferentiable has no second derivatives, or wrong ones"):
        edge_currents(frame, model)


def test_models_whose_messages_do_not_follow_edges_are_refused():
    with (
        pytest.warns(UserWarning, match="the unfolded route is used"),
        pytest.raises(ModelError, match=r"Apart needs the unfolded route: .* no currents along edges"),
    ):
        edge_currents(random_frame(5, cell=4.2), Apart())


def test_invalid_input():
    model, frame = case("silicon")
    with pytest.raises(InputError, match="no velocities"):
        edge_currents(frame.replace(velocities=None), model)
    with pytest.raises(InputError, match='unfolded" gives no currents along edges'):
        edge_currents(frame, model, route="unfolded")
    found = edge_currents(frame, model)
    for normal in ([0, 0, 0], [1, 0], [np.nan, 0, 1], "z"):
        with pytest.raises(InputError, match="expected three finite numbers"):
            found.through(normal, 0.0)
    with pytest.raises(InputError, match="offset is nan"):
        found.through(np.cross(*frame.cell[:2]), float("nan"))
    with pytest.raises(InputError, match="no lattice plane"):
        found.through([0.3, 0.9, 0.21], 0.0)

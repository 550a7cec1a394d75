"""Events of trajectories of which it is known when every atom hops where."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase.build import bulk

from fluxan.active.lattice_sites import LatticeSites
from fluxan.active.site_tracker import SiteTracker, TrackingSettings, track_events
from fluxan.errors import InputError, TrajectoryWarning
from fluxan.system import Frame

STEP = 0.02
HOLE = np.array([1.8, 0, 0])
CUBIC = bulk("Cu", a=3.6, cubic=True).repeat(2)
TRICLINIC = bulk("Cu", a=3.6).repeat((3, 3, 4))
DISTANCE = 3.6 / np.sqrt(2)


def vibrations(n_frames, n_atoms, amplitude, rng):
    """Displacements with a spectrum around 4 THz and a root mean square of `amplitude` Å by component."""
    time = STEP * np.arange(n_frames)[:, None, None, None]
    frequency = rng.uniform(2, 6, size=(1, 8, n_atoms, 3))
    phase = rng.uniform(0, 2 * np.pi, size=(1, 8, n_atoms, 3))
    return amplitude / 2 * np.cos(2 * np.pi * frequency * time + phase).sum(axis=1)


def path(places, n_frames, lattice):
    """Positions of an atom that is at site s from frame k on, by a list of (k, s), with hops that take 5 frames."""
    at = lattice.positions[places[0][1]].copy()
    positions = np.tile(at, (n_frames, 1))
    for (frame, site), (_, old) in zip(places[1:], places, strict=False):
        step = lattice.minimum_image(lattice.positions[site] - lattice.positions[old])[0]
        positions[frame:] += np.clip((np.arange(frame, n_frames) - frame) / 5, 0, 1)[:, None] * step
    return positions


def trajectory(structure, moves, n_frames, *, amplitude=0.1, drift=(0, 0, 0), seed=0, empty=()):
    """Frames of atoms that move by {atom: [(frame, site), ...]}; other atoms stay at the sites that are not empty."""
    lattice, rng = LatticeSites(structure.positions, structure.cell.array), np.random.default_rng(seed)
    start = [site for site in range(len(lattice)) if site not in empty]
    paths = [path([(0, site), *moves.get(atom, [])], n_frames, lattice) for atom, site in enumerate(start)]
    positions = np.stack(paths, axis=1) + vibrations(n_frames, len(start), amplitude, rng)
    positions += np.arange(n_frames)[:, None, None] * STEP * np.array(drift)
    inverse = np.linalg.inv(structure.cell.array)
    wrapped = ((positions @ inverse) % 1) @ structure.cell.array
    numbers = structure.numbers[start]
    frames = [Frame(x, None, structure.cell.array, numbers, time=k * STEP) for k, x in enumerate(wrapped)]
    return lattice, frames


def neighbours(lattice, site):
    distance = np.linalg.norm(lattice.minimum_image(lattice.positions - lattice.positions[site]), axis=1)
    return [int(s) for s in np.flatnonzero((distance > 0.1) & (distance < 1.1 * DISTANCE))]


@pytest.mark.parametrize("structure", [CUBIC, TRICLINIC], ids=["cubic", "triclinic"])
@pytest.mark.parametrize("drift", [(0, 0, 0), (0.7, -1.3, 0.4)], ids=["rest", "drift"])
def test_vacancy_hops_of_kinetic_monte_carlo(structure, drift):
    rng = np.random.default_rng(7)
    lattice = LatticeSites(structure.positions, structure.cell.array)
    vacancy, frame, moves, expected = 5, 0, {}, []
    site_of = dict(enumerate(s for s in range(len(lattice)) if s != vacancy))
    while (frame := frame + 30 + int(rng.exponential(60))) < 650:
        old = int(rng.choice(neighbours(lattice, vacancy)))
        atom = next(a for a, s in site_of.items() if s == old)
        moves.setdefault(atom, []).append((frame, vacancy))
        expected.append((frame * STEP, atom, (old, vacancy)))
        site_of[atom], vacancy = vacancy, old
    lattice, frames = trajectory(structure, moves, 700, drift=drift, empty=(5,), amplitude=0.15)
    found = track_events(frames, lattice)
    assert len(expected) > 5
    assert [(e.atoms, e.sites) for e in found] == [((a,), (s,)) for _, a, s in expected]
    np.testing.assert_allclose([e.time for e in found], [t for t, *_ in expected], atol=0.25)
    assert all(e.kind == "hop" and e.labels == ("Cu",) and 0.02 <= e.duration <= 0.4 for e in found)
    np.testing.assert_allclose([e.displacement for e in found], DISTANCE)
    assert found.vacancies == (1, 1)
    assert found.interstitials == (0, 0)
    assert found.unfinished == ()
    assert found.in_core["Cu"] > 0.9


def test_vibrations_of_a_hot_crystal_are_no_events():
    # 0.15 of the distance of neighbours by component, more than crystals bear: 1 Å in argon.
    lattice, frames = trajectory(CUBIC, {}, 600, amplitude=0.38, seed=3)
    site = np.array([lattice.nearest(f.positions)[0] for f in frames])
    assert (site != np.arange(32)).any(axis=0).sum() > 10
    found = track_events(frames, lattice)
    assert len(found) == 0


def test_recrossings_are_no_events_and_returns_are_two():
    a, b = 4, neighbours(LatticeSites(CUBIC.positions, CUBIC.cell.array), 4)[0]
    atom = a - (b < a)
    lattice, frames = trajectory(CUBIC, {atom: [(100, b), (108, a)]}, 300, empty=(b,))
    assert len(track_events(frames, lattice)) == 0
    lattice, frames = trajectory(CUBIC, {atom: [(100, b), (140, a)]}, 300, empty=(b,))
    found = track_events(frames, lattice)
    assert [e.sites for e in found] == [((a, b),), ((b, a),)]
    assert len(found.without_returns(1.0)) == 0
    assert len(found.without_returns(0.1)) == 2


def test_a_hop_under_way_at_the_end_is_not_counted():
    a, b = 4, neighbours(LatticeSites(CUBIC.positions, CUBIC.cell.array), 4)[0]
    atom = a - (b < a)
    lattice, frames = trajectory(CUBIC, {atom: [(293, b)]}, 300, empty=(b,))
    found = track_events(frames, lattice)
    assert len(found) == 0
    assert found.unfinished == (atom,)


def test_an_exchange_of_a_ring_is_one_concerted_hop():
    lattice = LatticeSites(CUBIC.positions, CUBIC.cell.array)
    ring = next(
        (a, b, c)
        for a in range(32)
        for b, c in itertools.combinations(neighbours(lattice, a), 2)
        if c in neighbours(lattice, b)
    )
    moves = {ring[k]: [(100 + 2 * k, ring[(k + 1) % 3])] for k in range(3)}
    lattice, frames = trajectory(CUBIC, moves, 300)
    (event,) = track_events(frames, lattice)
    assert event.kind == "hop"
    assert event.atoms == tuple(sorted(ring))
    assert dict(zip(event.atoms, event.sites, strict=True)) == {ring[k]: (ring[k], ring[(k + 1) % 3]) for k in range(3)}
    assert event.created == 0
    far = next(s for s in range(32) if s not in {*ring, *neighbours(lattice, ring[0])} and s > 5)
    assert far not in event.atoms


def test_a_frenkel_pair_is_created_and_annihilated():
    # An octahedral site of fcc, (1/2, 0, 0) a, is no lattice site: an atom there is off sites.
    hole = CUBIC.positions[0] + HOLE
    frames = []
    rng = np.random.default_rng(2)
    noise = vibrations(450, 32, 0.1, rng)
    for k in range(450):
        positions = CUBIC.positions + noise[k]
        share = np.clip((k - 150) / 5, 0, 1) - np.clip((k - 300) / 5, 0, 1)
        positions[0] += share * (hole - CUBIC.positions[0])
        frames.append(Frame(positions, None, CUBIC.cell.array, CUBIC.numbers, time=k * STEP))
    lattice = LatticeSites(CUBIC.positions, CUBIC.cell.array)
    created, annihilated = track_events(frames, lattice)
    assert (created.kind, created.created, created.sites) == ("defect", 1, ((0, -1),))
    assert (annihilated.kind, annihilated.created, annihilated.sites) == ("defect", -1, ((-1, 0),))
    np.testing.assert_allclose([created.time, annihilated.time], [3.0, 6.06], atol=0.15)
    # With a site there, the same is a hop and its return.
    both = track_events(frames, LatticeSites.of_frame(frames[0].replace(positions=CUBIC.positions), [hole]))
    assert [e.kind for e in both] == ["hop", "hop"]
    assert both.vacancies == (1, 1)


def test_an_interstitial_from_the_beginning():
    lattice = LatticeSites(CUBIC.positions, CUBIC.cell.array)
    noise = vibrations(300, 33, 0.08, np.random.default_rng(5))
    start = np.concatenate([CUBIC.positions, CUBIC.positions[:1] + HOLE])
    cell = CUBIC.cell.array
    frames = [Frame(start + u, None, cell, np.full(33, 29), time=k * STEP) for k, u in enumerate(noise)]
    found = track_events(frames, lattice)
    assert len(found) == 0
    assert found.interstitials == (1, 1)
    assert found.vacancies == (0, 0)


def test_ions_without_sites_are_reported():
    # Silver performs a random walk in the cage of iodine: most of the time it is at no site.
    iodine = bulk("Cu", cubic=True, a=3.6).repeat(2)
    rng = np.random.default_rng(6)
    lattice = LatticeSites.of_frame(
        Frame(iodine.positions, None, iodine.cell.array, np.full(32, 53)), iodine.positions + HOLE
    )
    walk = np.cumsum(rng.normal(scale=0.15, size=(500, 32, 3)), axis=0) + iodine.positions + HOLE
    cage = iodine.positions + vibrations(500, 32, 0.08, rng)
    numbers = np.repeat([53, 47], 32)
    frames = [
        Frame(np.concatenate([x, y]), None, iodine.cell.array, numbers, time=STEP * k)
        for k, (x, y) in enumerate(zip(cage, walk, strict=True))
    ]
    tracker = SiteTracker(lattice, ["I"] * 32 + ["Ag"] * 32, drift_atoms=range(32))
    for frame in frames:
        tracker.update(frame)
    with pytest.warns(TrajectoryWarning, match="Ag atoms are in the core of a site .* % of the time.*superionic"):
        found = tracker.finish()
    assert found.in_core["Ag"] < 0.2
    assert found.in_core["I"] > 0.9
    assert len(found.warnings) == 1


def test_a_crystal_shifted_from_its_sites_and_a_cell_that_breathes():
    lattice, frames = trajectory(TRICLINIC, {}, 100, amplitude=0.1)
    shifted = []
    for k, frame in enumerate(frames):
        scale = 1 + 0.02 * np.sin(0.1 * k)
        moved = (frame.positions + np.array([1.1, 0.9, -0.7])) * scale
        shifted.append(frame.replace(positions=moved, cell=frame.cell * scale))
    found = track_events(shifted, lattice)
    assert len(found) == 0
    assert found.vacancies == found.interstitials == (0, 0)
    assert found.in_core["Cu"] > 0.95


def test_barriers():
    a, b = 4, neighbours(LatticeSites(CUBIC.positions, CUBIC.cell.array), 4)[0]
    atom = a - (b < a)
    lattice, frames = trajectory(CUBIC, {atom: [(100, b)]}, 220, empty=(b,), amplitude=0.05)
    energies = np.full((220, 31), -3.0)
    energies[:, atom] += 0.7 * np.exp(-(((np.arange(220) - 102.5) / 2) ** 2))
    (event,) = track_events(frames, lattice, energies)
    assert event.barrier == pytest.approx(0.66, abs=0.05)
    (event,) = track_events(frames, lattice, energies.sum(axis=1))
    assert event.barrier == pytest.approx(0.66, abs=0.05)
    (event,) = track_events(frames, lattice)
    assert event.barrier is None


def test_memory_does_not_grow():
    lattice, frames = trajectory(CUBIC, {}, 700)
    tracker = SiteTracker(lattice, ["Cu"] * 32)
    stored = []
    for frame in frames:
        tracker.update(frame, np.zeros(32))
        stored.append(len(tracker._moves.history._frames))
    assert max(stored) <= 4.2 / STEP
    assert max(stored[350:]) <= max(stored[:350])


def test_errors():
    lattice = LatticeSites(CUBIC.positions, CUBIC.cell.array)
    frame = Frame(CUBIC.positions, None, CUBIC.cell.array, CUBIC.numbers)
    tracker = SiteTracker(lattice, ["Cu"] * 32)
    with pytest.raises(InputError, match="there are 0 frames"):
        tracker.finish()
    tracker.update(frame)
    with pytest.raises(InputError, match="times must increase"):
        tracker.update(frame)
    with pytest.raises(InputError, match="periodic in all directions"):
        tracker.update(frame.replace(time=1.0, pbc=(True, True, False)))
    with pytest.raises(InputError, match="has 2 atoms, expected 32"):
        tracker.update(Frame(np.eye(3)[:2], None, CUBIC.cell.array, [29, 29], time=1.0))
    with pytest.raises(InputError, match=r"energies at 0.1 ps have shape \(3,\)"):
        tracker.update(frame.replace(time=0.1), np.zeros(3))
    with pytest.raises(InputError, match="give each site once"):
        LatticeSites([[0, 0, 0], [3.6, 0, 0]], 3.6 * np.eye(3))
    with pytest.raises(InputError, match="hysteresis is 3"):
        LatticeSites(CUBIC.positions, CUBIC.cell.array, hysteresis=3)
    with pytest.raises(InputError, match="below dwell"):
        TrackingSettings(dwell=2.0)
    with pytest.warns(TrajectoryWarning, match="frames are up to 1 ps apart"):
        track_events([frame.replace(time=float(k)) for k in range(8)], lattice)


@pytest.mark.parametrize("skew", [0, 1, 5])
def test_the_nearest_site_of_any_cell(skew):
    # The same lattice of cells has vectors at any angle.
    plain = np.array([[5.0, 0, 0], [1.0, 6.0, 0], [0.5, -2.0, 7.0]])
    cell = np.array([[1, 0, 0], [skew, 1, 0], [0, skew, 1]]) @ plain
    rng = np.random.default_rng(skew)
    lattice = LatticeSites(rng.permutation(bulk("Cu", a=9.0, cubic=True).get_scaled_positions()) @ plain, cell)
    points = rng.uniform(-20, 20, size=(200, 3))
    site, displaced = lattice.nearest(points)
    images = np.stack(np.meshgrid(*[np.arange(-7, 8)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ plain
    for point, found, vector in zip(points[:40], site[:40], displaced[:40], strict=True):
        distances = np.linalg.norm(point - (lattice.positions[:, None] + images), axis=2)
        assert np.linalg.norm(vector) == pytest.approx(distances.min())
        assert distances[found].min() == pytest.approx(distances.min())

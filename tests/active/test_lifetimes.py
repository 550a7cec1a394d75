"""Lifetimes of phonons in crystals of exactly known damping, and in Lennard-Jones argon by two methods."""

from __future__ import annotations

import ase.build
import numpy as np
import pytest
from scipy import optimize
from scipy.linalg import expm

from fluxan.active.lifetimes import compare_lifetimes, phonon_lifetimes
from fluxan.active.mode_spectra import mode_spectra
from fluxan.active.oscillator_fit import hann
from fluxan.active.phonon_modes import phonon_modes
from fluxan.errors import InputError, ShortRunError, TrajectoryError
from fluxan.system import Frame
from fluxan.units import BOLTZMANN, MASS_VELOCITY2

EPSILON, SIGMA, LATTICE = 0.0104, 3.4, 5.3


class Argon:
    """An fcc crystal with a Lennard-Jones interaction of neighbours in two shells, bonds that never change."""

    def __init__(self, n_cells):
        atoms = ase.build.bulk("Ar", "fcc", a=LATTICE, cubic=True).repeat(n_cells)
        self.sites, self.numbers, self.cell = atoms.positions, atoms.numbers, np.asarray(atoms.cell)
        self.masses = atoms.get_masses()
        shells = ase.build.bulk("Ar", "fcc", a=LATTICE, cubic=True).repeat(4).positions
        shells = (shells - shells[0] + 2 * LATTICE) % (4 * LATTICE) - 2 * LATTICE
        lengths = np.linalg.norm(shells, axis=1)
        self.bonds = shells[(lengths > 0.1) & (lengths < 1.1 * LATTICE)]
        ends = self.sites[:, None] + self.bonds
        apart = (ends[:, :, None] - self.sites) @ np.linalg.inv(self.cell)
        self.partners = np.abs(apart - np.rint(apart)).sum(axis=3).argmin(axis=2)

    def forces(self, displacements):
        """(n_atoms, 3) eV/Å."""
        r = self.bonds + displacements[self.partners] - displacements[:, None]
        inverse = SIGMA**2 / np.einsum("jka,jka->jk", r, r)
        cube = inverse * inverse * inverse
        slope = -24 * EPSILON * (2 * cube * cube - cube) * inverse / SIGMA**2
        return np.einsum("jk,jka->ja", slope, r)

    def force_constants(self):
        """By central differences, (n_atoms, n_atoms, 3, 3) eV/Å²."""
        n = 3 * len(self.sites)
        steps = 1e-3 * np.eye(n).reshape(n, -1, 3)
        rows = np.array([-(self.forces(s) - self.forces(-s)).ravel() / 2e-3 for s in steps])
        return rows.reshape(n // 3, 3, n // 3, 3).transpose(0, 2, 1, 3)

    def frames(self, velocities, time_step):
        for k, v in enumerate(velocities):
            yield Frame(self.sites, v, self.cell, self.numbers, self.masses, time=k * time_step)


def thermal(argon, temperature, rng):
    return rng.normal(size=argon.sites.shape) * np.sqrt(
        BOLTZMANN * temperature / MASS_VELOCITY2 / argon.masses[:, None]
    )


def langevin_crystal(argon, gamma, n_frames, time_step, seed):
    """Velocities of the harmonic crystal with friction 2Γ on every atom, by the exact propagator in Cartesian space."""
    n, rng = len(argon.sites) * 3, np.random.default_rng(seed)
    matrix = argon.force_constants().transpose(0, 2, 1, 3).reshape(n, n) / argon.masses[0] / MASS_VELOCITY2
    matrix += 0.01 * np.ones((n, n))  # binds the centre of mass, so that a stationary state exists
    matrix = matrix + 1e-3 * np.eye(n)
    propagator = expm(time_step * np.block([[np.zeros((n, n)), np.eye(n)], [-matrix, -2 * gamma * np.eye(n)]]))
    stationary = np.block([[np.linalg.inv(matrix), np.zeros((n, n))], [np.zeros((n, n)), np.eye(n)]])
    values, vectors = np.linalg.eigh(stationary - propagator @ stationary @ propagator.T)
    kick = vectors * np.sqrt(np.maximum(values, 0))
    state = np.concatenate([np.linalg.cholesky(stationary[:n, :n]) @ rng.normal(size=n), rng.normal(size=n)])
    velocities = np.empty((n_frames, n))
    for k in range(n_frames):
        velocities[k] = state[n:]
        state = propagator @ state + kick @ rng.normal(size=2 * n)
    return velocities.reshape(n_frames, -1, 3)


@pytest.fixture(scope="module")
def argon():
    return Argon(2)


@pytest.fixture(scope="module")
def modes(argon):
    return phonon_modes(argon.force_constants(), argon.masses)


@pytest.fixture(scope="module")
def crystals(argon):
    """Two damped crystals, Γ = 0.25 and 0.5 1/ps, 200 ps each."""
    return [langevin_crystal(argon, gamma, 2000, 0.1, seed) for seed, gamma in enumerate([0.25, 0.5])]


def test_damped_crystal(argon, modes, crystals):
    found = phonon_lifetimes(argon.frames(crystals[0], 0.1), modes, window=50.0)
    assert found.within == found.whole
    assert (found.n_blocks, found.n_skipped, len(found.within)) == (4, 0, modes.n_sets)
    deviations = [np.log(entry.lifetime / 2.0) / entry.relative_error for entry in found.within]
    assert np.sqrt(np.mean(np.square(deviations))) < 1.6
    shifts = [(e.frequency - e.harmonic_frequency) / e.frequency_error for e in found.within]
    assert np.sqrt(np.mean(np.square(shifts))) < 1.6
    assert not any(entry.flags for entry in found.within)
    assert all(entry.lower_bound < entry.lifetime for entry in found.within)


def test_comparison(argon, modes, crystals):
    reference, model = (phonon_lifetimes(argon.frames(v, 0.1), modes, window=50.0) for v in crystals)
    ratios, bands = compare_lifetimes(reference, model)
    assert len(ratios) == modes.n_sets
    assert sum(band.n_sets for band in bands) == modes.n_sets
    filled = [band for band in bands if band.n_sets]
    assert all(abs(np.log(band.ratio / 0.5)) < 3 * band.relative_error for band in filled)
    _, (one,) = compare_lifetimes(reference, model, edges=[0.0, 10.0])
    assert one.relative_error < 0.06
    assert one.ratio == pytest.approx(0.5, rel=3 * one.relative_error)
    _, (same,) = compare_lifetimes(reference, reference, edges=[0.0, 10.0])
    assert same.ratio == 1.0


def test_events_end_segments(argon, modes, crystals):
    """Velocities are reset at 100 ps, as if an event had occurred: blocks of the segments do not contain it."""
    velocities = np.concatenate([crystals[0][:1000], crystals[0][-1:-1001:-1]])
    segments = [(0.0, 99.95), (99.97, 120.0), (120.5, 200.0)]
    found = phonon_lifetimes(argon.frames(velocities, 0.1), modes, window=40.0, segments=segments)
    assert (found.n_blocks, found.n_skipped) == (3, 1)
    assert all("events" in entry.flags for entry in found.whole)
    assert not any("events" in entry.flags for entry in found.within)
    spectra = mode_spectra(argon.frames(velocities, 0.1), modes, window=40.0, segments=segments)
    blocks = [velocities[first : first + 400] for first in (0, 400, 1205)]
    power = np.mean(
        [np.abs(np.fft.rfft(hann(400)[:, None] * modes.project(b), axis=0)) ** 2 * 0.1 / 400 for b in blocks], axis=0
    )
    expected = np.array([power[:, modes.set_of_mode == k].mean(axis=1) for k in range(modes.n_sets)])
    assert spectra.within.periodograms == pytest.approx(expected, rel=1e-6)


def test_long_lifetimes_are_lower_bounds(argon, modes):
    """Lifetimes of 50 and 500 ps from windows of 20 ps: flagged, with a bound that holds."""
    for gamma in (0.01, 0.001):
        velocities = langevin_crystal(argon, gamma, 1000, 0.1, seed=7)
        found = phonon_lifetimes(argon.frames(velocities, 0.1), modes, window=20.0).within
        assert all("unresolved" in entry.flags for entry in found)
        assert all(2.0 < entry.lower_bound < 0.5 / gamma for entry in found)


def test_modes_above_the_nyquist_frequency(argon, modes, crystals):
    found = phonon_lifetimes(argon.frames(crystals[0][::4], 0.4), modes, window=60.0).within
    high = [entry for entry in found if entry.harmonic_frequency > 1.25]
    assert high
    assert all(entry.flags == ("aliased",) and np.isnan(entry.lifetime) for entry in high)


def test_argon_by_the_autocorrelation():
    """108 atoms at 20 K: periodograms and the autocorrelation give one lifetime."""
    argon, rng, step, every = Argon(3), np.random.default_rng(4), 0.04, 2
    displacements, velocities = np.zeros((108, 3)), thermal(argon, 40.0, rng)
    velocities -= velocities.mean(axis=0)
    to_velocity = 1 / (argon.masses[:, None] * MASS_VELOCITY2)
    forces, kept = argon.forces(displacements), []
    for k in range(4500):
        velocities = velocities + 0.5 * step * forces * to_velocity
        displacements = displacements + step * velocities
        forces = argon.forces(displacements)
        velocities = velocities + 0.5 * step * forces * to_velocity
        if k >= 500 and k % every == 0:
            kept.append(velocities)
    modes = phonon_modes(argon.force_constants(), argon.masses)
    found = phonon_lifetimes(argon.frames(kept, 0.08), modes, window=80.0).within
    by_lag = autocorrelation_lifetimes(modes.project(np.array(kept)), modes, 0.08)
    deviations = [np.log(e.lifetime / lag) for e, lag in zip(found, by_lag, strict=True) if not e.flags]
    assert len(deviations) >= 4
    assert abs(np.mean(deviations)) < 0.2
    assert np.max(np.abs(deviations)) < 0.5


def autocorrelation_lifetimes(mode_velocities, modes, time_step):
    """Lifetimes, ps, by least squares fits of exp(−Γt)(cos Ωt − Γ/Ω sin Ωt) to the autocorrelation."""
    n = len(mode_velocities)
    power = np.abs(np.fft.rfft(mode_velocities, 2 * n, axis=0)) ** 2
    all_lags = np.fft.irfft(power, axis=0)[: n // 4] / (n - np.arange(n // 4))[:, None]
    found = []
    for k, frequency in enumerate(modes.frequencies):
        values = all_lags[:, modes.set_of_mode == k].mean(axis=1)
        values, lags = values / values[0], time_step * np.arange(len(values))
        gamma = 0.2
        for _ in range(4):
            used = lags < 2.0 / gamma
            model = lambda t, g, w: np.exp(-g * t) * (np.cos(w * t) - g / w * np.sin(w * t))  # noqa: E731
            (gamma, _), _ = optimize.curve_fit(model, lags[used], values[used], [gamma, 2 * np.pi * frequency])
            gamma = abs(gamma)
        found.append(0.5 / gamma)
    return found


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"window": 1.0}, InputError, "too short for frames 0.04 ps apart"),
        ({"window": 1e3}, ShortRunError, "fewer than the 25000 of a window"),
        ({"window": 4.0, "segments": [(0.0, 5.0), (4.0, 8.0)]}, InputError, "without overlap"),
    ],
)
def test_refused(argon, modes, crystals, options, error, message):
    with pytest.raises(error, match=message):
        phonon_lifetimes(argon.frames(crystals[0][:200], 0.04), modes, **options)


def test_refused_frames(argon, modes, crystals):
    frames = list(argon.frames(crystals[0][:200], 0.04))
    with pytest.raises(TrajectoryError, match=r"frame 9 is 0\.08 ps after the frame before"):
        phonon_lifetimes(frames[:9] + frames[10:], modes, window=4.0)
    with pytest.raises(TrajectoryError, match="frame 1 has no velocities"):
        phonon_lifetimes([frames[0], frames[1].replace(velocities=None)], modes, window=4.0)
    none = phonon_lifetimes(frames, modes, window=4.0, segments=[(0.0, 1.0)])
    assert (none.within, none.n_skipped) == ((), 1)
    with pytest.raises(InputError, match="the model has no lifetimes within event-free segments"):
        compare_lifetimes(phonon_lifetimes(frames, modes, window=4.0), none)

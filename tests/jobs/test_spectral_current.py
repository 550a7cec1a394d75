"""Spectral heat current of trajectories against plain sums over the same frames."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import fluxan
from fluxan.errors import InputError, ModelError, ShortRunError, TrajectoryError
from fluxan.jobs.spectral_current import WindowIntegral
from fluxan.potentials.base import Potential
from fluxan.potentials.load import load_model
from fluxan.system import Frame
from fluxan.units import BOLTZMANN, CONDUCTIVITY
from tests.message_passing import ToyModel, random_frame
from tests.systems import argon_krypton

LAG, WINDOW = 9, 14


def moving(frame, n_frames, dt=0.01):
    """The atoms of a frame vibrating, with velocities of the motion."""
    rng = np.random.default_rng(2)
    phase, omega = rng.uniform(0, 6, frame.positions.shape), rng.uniform(10, 40, (frame.n_atoms, 1))
    for k in range(n_frames):
        angle = omega * dt * k + phase
        yield frame.replace(
            positions=frame.positions + 0.05 * np.sin(angle), velocities=0.05 * omega * np.cos(angle), time=dt * k
        )


@pytest.fixture(scope="module", params=["local", "message passing"])
def system(request):
    """Frames, a model, and what the model says of each frame: flux, virials, velocities."""
    if request.param == "local":
        frames, model = list(argon_krypton(70)), load_model("shipped:ar-kr")
    else:
        frames, model = list(moving(random_frame(6), 70)), ToyModel(2, scale=1.5, vectors=True)
    flux = np.array([fluxan.heat_flux(frame, model).total for frame in frames])
    virials = np.array([fluxan.atomic_virial(frame, model) for frame in frames])
    velocities = np.array([frame.velocities for frame in frames])
    groups = np.unique(frames[0].numbers, return_inverse=True)[1]
    return SimpleNamespace(frames=frames, model=model, flux=flux, virials=virials, velocities=velocities, groups=groups)


def by_double_loop(u, v, groups):
    """K at lags -LAG … LAG by group."""
    values = np.zeros((2 * LAG + 1, 2))
    for lag in range(-LAG, LAG + 1):
        pairs = [(s, s + lag) for s in range(len(u)) if 0 <= s + lag < len(u)]
        for s, t in pairs:
            np.add.at(values[lag + LAG], groups, (u[s] * v[t]).sum(axis=1) / len(pairs))
    return values


def test_equilibrium_form(system):
    """At lag zero it is the running Green-Kubo integral of the potential part; at others the sum as it is defined."""
    result = fluxan.spectral_heat_current(
        system.frames, system.model, max_lag=LAG * 0.01, window=WINDOW * 0.01, temperature=80.0, progress=False
    )
    volume = system.frames[0].volume
    # The Green-Kubo integral: ⟨J(t - s)·J_pot(t)⟩, by the trapezoidal rule in s.
    potential = np.einsum("tjab,tjb->ta", system.virials, system.velocities)
    times = range(WINDOW, 70)
    correlation = [np.mean([system.flux[t - s] @ potential[t] for t in times]) for s in range(WINDOW + 1)]
    kappa = CONDUCTIVITY * np.trapezoid(correlation, dx=0.01) / (3 * volume * BOLTZMANN * 80.0**2)
    assert result.integral == pytest.approx(kappa, rel=1e-10)
    integrals = [np.trapezoid(system.flux[t - WINDOW : t + 1], dx=0.01, axis=0) for t in times]
    u = np.einsum("tjab,ta->tjb", system.virials[WINDOW:], np.array(integrals) / 3)
    expected = by_double_loop(u, system.velocities[WINDOW:], system.groups)
    np.testing.assert_allclose(result.correlation, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
    assert result.n_samples == 70 - WINDOW
    assert result.unit == "W/(m K)"


def test_plain_form(system):
    """Along a direction, K at lag zero is the mean potential flux of each carrier along it."""
    axis = np.array([1.0, -2.0, 2.0]) / 3
    result = fluxan.spectral_heat_current(
        system.frames, system.model, max_lag=LAG * 0.01, direction=30 * axis, progress=False
    )
    fluxes = [fluxan.heat_flux(frame, system.model).potential.sum(axis=0) for frame in system.frames]
    np.testing.assert_allclose(result.correlation[LAG], np.mean(fluxes, axis=0) @ axis, rtol=1e-9)
    expected = by_double_loop(np.einsum("tjab,a->tjb", system.virials, axis), system.velocities, system.groups)
    np.testing.assert_allclose(result.correlation, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
    assert result.unit == "eV Å/ps"
    assert result.integral == pytest.approx(expected[LAG].sum(), rel=1e-9)


def test_under_a_driving_force(system):
    """With a force the same spectrum is a conductivity; temperature and volume are means over the frames."""
    options = {"max_lag": LAG * 0.01, "direction": [0, 0, 1], "progress": False, "groups": "element"}
    plain = fluxan.spectral_heat_current(system.frames, system.model, **options)
    driven = fluxan.spectral_heat_current(system.frames, system.model, **options, driving_force=2e-3)
    temperature = np.mean([frame.temperature for frame in system.frames])
    factor = CONDUCTIVITY / (system.frames[0].volume * temperature * 2e-3)
    np.testing.assert_allclose(driven.spectrum.value, factor * plain.spectrum.value, rtol=1e-12)
    assert driven.labels == plain.labels


def test_groups_and_progress():
    frames, seen = list(argon_krypton(40)), []
    result = fluxan.spectral_heat_current(
        iter(frames),
        "shipped:ar-kr",
        max_lag=0.1,
        direction=[1, 0, 0],
        groups=["left"] * 16 + ["right"] * 16,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert result.labels == ("left", "right")
    assert seen[-1][0] == 40


def test_integral_of_a_window():
    flux = np.random.default_rng(0).normal(size=(50, 3))
    integral = WindowIntegral(7, 0.25)
    for t, sample in enumerate(flux):
        found = integral.add(sample)
        if t < 7:
            assert found is None
        else:
            np.testing.assert_allclose(found, np.trapezoid(flux[t - 7 : t + 1], dx=0.25, axis=0), atol=1e-13)


def current(frames, model="shipped:ar-kr", **changes):
    options = {"max_lag": 0.1, "direction": [1, 0, 0], "progress": False} | changes
    return fluxan.spectral_heat_current(frames, model, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": None}, "give either window=, .* or direction="),
        ({"window": 0.1}, "give either window=, .* or direction="),
        ({"direction": None, "window": 0.1, "driving_force": 1e-3}, "driving_force= goes with direction="),
        ({"direction": [0, 0, 0]}, r"direction is \[0, 0, 0\]"),
        ({"direction": "x"}, "direction is 'x'"),
        ({"direction": [1, 0]}, r"direction is \[1, 0\]"),
        ({"max_lag": -1}, "max_lag is -1"),
        ({"max_lag": "1"}, "max_lag is '1'"),
        ({"direction": None, "window": np.nan}, "window is nan"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"taper": "boxcar"}, "taper is 'boxcar'"),
        ({"route": "shortcut"}, "shortcut"),
        ({"groups": ["a"]}, "groups hold 1 labels"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        current(argon_krypton(20), **changes)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'lag'"):
        current(argon_krypton(20), lag=3)


def test_short_trajectories_are_refused_before_work(monkeypatch):
    monkeypatch.setattr("fluxan.flux.evaluate.FluxEvaluator.__init__", None)
    with pytest.raises(ShortRunError, match=r"has 20 frames, window and longest lag take 41: give at least 0\.41 ps"):
        current(list(argon_krypton(20)), max_lag=0.4)
    with pytest.raises(ShortRunError, match="take 21"):
        current(list(argon_krypton(20)), direction=None, window=0.1)


def test_unusable_frames_are_named():
    frames = list(argon_krypton(20))
    still = [frame.replace(velocities=None) for frame in frames]
    with pytest.raises(InputError, match="frame 0: there are no velocities"):
        current(still)
    with pytest.raises(TrajectoryError, match="the time between frames is not known"):
        current(frames[:1])
    uneven = [*frames[:12], *(frame.replace(time=frame.time + 0.004) for frame in frames[12:])]
    with pytest.raises(InputError, match=r"frame 12: .* after the one before, 0\.01 ps was expected"):
        current(uneven)
    cluster = [frame.replace(cell=None) for frame in frames]
    with pytest.raises(InputError, match="no volume: give volume="):
        current(cluster, driving_force=1e-3)
    assert current(cluster).unit == "eV Å/ps"
    assert current(cluster, driving_force=1e-3, volume=1e3).unit == "W/(m K)"


class Failing(Potential):
    """Energies that are not numbers once atoms have moved."""

    cutoff = 4.0

    def forward(self, graph):
        r = graph.r_ij.norm(dim=1)
        energies = (4.0 - r).square()
        energies = energies * float("nan") if graph.positions[0, 0] > 3.0 else energies
        return energies.new_zeros(graph.n_atoms).index_add(0, graph.receivers, energies)


def test_a_model_that_fails_is_named_with_its_frame():
    frames = [
        Frame([[0.5 + 0.2 * k, 0, 0], [2.5, 1, 0]], np.ones((2, 3)), 8 * np.eye(3), [18, 18], time=0.01 * k)
        for k in range(20)
    ]
    with pytest.raises((InputError, ModelError), match="frame 13: "):
        current(frames, Failing())

"""Spectral conductivities against closed forms, and their integrals against K(0)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants

from fluxan.correlation.virial_velocity import VirialVelocityCorrelation, VirialVelocityCorrelator
from fluxan.errors import InputError
from fluxan.greenkubo.spectral_conductivity import spectral_conductivity, virial_velocity_spectrum

STATE = {"volume": 2000.0, "temperature": 150.0, "driving_force": 1e-3}


def correlation_of(values, time_step=0.01):
    """Record of one block of given values, (n_lags, n_groups)."""
    counts = np.full((1, len(values)), 1000)
    return VirialVelocityCorrelation(time_step, (values * 1000).T[None], counts)


def random_runs(n_runs, n=400, max_lag=40, groups=(0, 1, 1), seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(n_runs):
        u, v = rng.normal(size=(2, n, len(groups), 3))
        correlator = VirialVelocityCorrelator(np.array(groups), max_lag=max_lag, time_step=0.01)
        correlator.update(u, v + u)
        yield correlator


@pytest.mark.parametrize("taper", ["hann", "none"])
@pytest.mark.parametrize("max_lag", [1, 2, 41, 64])
def test_the_integral_is_the_correlation_at_lag_zero(taper, max_lag):
    correlator = next(random_runs(1, max_lag=max_lag))
    result = spectral_conductivity(correlator, **STATE, labels=["Ar", "Kr"], taper=taper)
    zero = correlator.correlation().values[max_lag]
    # K(0)/(V T F_e) in SI units, from eV Å/ps, Å³ and 1/Å.
    si = constants.eV * 1e-10 / 1e-12 / (2000e-30 * 150 * 1e-3 / 1e-10)
    assert result.integral == pytest.approx(zero.sum() * si, rel=1e-12)
    assert result.unit == "W/(m K)"
    frequencies = result.spectrum.x
    assert len(frequencies) == max_lag + 1
    assert frequencies[-1] == pytest.approx(50.0, rel=1e-14)
    assert np.trapezoid(result.spectrum.value, frequencies) == pytest.approx(result.integral, rel=1e-12)
    for k, label in enumerate(["Ar", "Kr"]):
        assert result.cumulative_by_carrier[label].value[-1] == pytest.approx(zero[k] * si, rel=1e-12, abs=1e-12)
    for total, parts in (
        (result.spectrum, result.by_carrier),
        (result.cumulative, result.cumulative_by_carrier),
    ):
        np.testing.assert_allclose(
            sum(part.value for part in parts.values()), total.value, rtol=0, atol=1e-12 * np.abs(total.value).max()
        )


def test_a_damped_oscillation_has_a_lorentzian():
    """K(t) = e^(-|t|/τ) cos ω₀t, plus an odd part that has no real spectrum."""
    dt, max_lag, tau, f0 = 0.002, 20_000, 1.5, 3.0
    t = np.arange(-max_lag, max_lag + 1) * dt
    values = np.exp(-abs(t) / tau) * np.cos(2 * np.pi * f0 * t) + np.exp(-abs(t)) * np.sin(t)
    result = virial_velocity_spectrum(correlation_of(values[:, None], dt), taper="none")
    w, w0 = 2 * np.pi * result.spectrum.x, 2 * np.pi * f0
    # ∫ e^(-|t|/τ) cos ω₀t cos ωt dt, doubled for one side.
    expected = 2 * sum(tau / (1 + ((w - s * w0) * tau) ** 2) for s in (1, -1))
    np.testing.assert_allclose(result.spectrum.value, expected, rtol=2e-3, atol=3e-5)
    assert result.integral == pytest.approx(1.0, rel=1e-12)
    assert result.unit == "eV Å/ps"


def test_oscillators_lie_at_their_frequencies_with_their_weights():
    """u = a cos(ωt + φ) and v = b cos(ωt + φ + δ) for each atom: K = Σ (ab/2) cos(ωt + δ), of which cos δ is heat."""
    frequencies, weights = np.array([1.5, 4.0, 7.25]), np.array([0.8, -0.5, 1.4])
    rng = np.random.default_rng(3)
    phases, delta = rng.uniform(0, 2 * np.pi, 3), np.array([0.4, -0.3, 1.1])
    dt, n = 0.02, 20_000
    angles = 2 * np.pi * frequencies * dt * np.arange(n)[:, None] + phases
    u, v = np.zeros((2, n, 3, 3))
    u[:, :, 1] = np.cos(angles)
    v[:, :, 1] = 2 * weights / np.cos(delta) * np.cos(angles + delta)
    correlator = VirialVelocityCorrelator(np.arange(3), max_lag=400, time_step=dt)
    correlator.update(u, v)
    result = virial_velocity_spectrum(correlator)
    x = result.spectrum.x
    for k, (frequency, weight) in enumerate(zip(frequencies, weights, strict=True)):
        curve = result.by_carrier[str(k)].value
        assert x[np.abs(curve).argmax()] == pytest.approx(frequency, abs=0.5 * x[1])
        near = np.abs(x - frequency) < 0.5
        assert curve[near].sum() * x[1] == pytest.approx(weight, rel=3e-3)
        assert result.cumulative_by_carrier[str(k)].value[-1] == pytest.approx(weight, rel=3e-3)
    lags = result.times[:, None]
    expected = weights / np.cos(delta) * np.cos(2 * np.pi * frequencies * lags + delta)  # K(-t) differs from K(t)
    np.testing.assert_allclose(result.correlation, expected, rtol=0, atol=3e-3)


def test_errors_are_standard_errors_over_runs():
    runs = list(random_runs(7, n=600))
    result = spectral_conductivity(runs, **STATE)
    single = [spectral_conductivity(run, **STATE) for run in runs]
    assert result.n_blocks == 14  # each run has two blocks of at least four lags
    halves = [run.correlation() for run in runs]
    parts = [
        spectral_conductivity(VirialVelocityCorrelation(h.time_step, h.sums[k : k + 1], h.counts[k : k + 1]), **STATE)
        for h in halves
        for k in range(2)
    ]
    weights = np.array([part.n_samples for part in parts]) / 4200
    for curve in ("spectrum", "cumulative"):
        values = np.array([getattr(part, curve).value for part in parts])
        mean = np.average(values, axis=0, weights=weights)
        expected = np.sqrt(14 / 13 * np.sum((weights[:, None] * (values - mean)) ** 2, axis=0))
        np.testing.assert_allclose(getattr(result, curve).error, expected, rtol=1e-9, atol=1e-12)
    assert np.isinf(parts[0].spectrum.error).all()
    assert np.isinf(single[0].by_carrier["1"].error).all()
    assert np.isfinite(spectral_conductivity(runs[:2], **STATE).by_carrier["1"].error).all()
    assert "unknown" in repr(parts[0])
    assert f"{result.n_samples}" == "4200"


def test_errors_describe_the_scatter_of_repeated_runs():
    """Of 300 repetitions, integrals over their errors have the variance of Student's distribution for 32 blocks."""
    rng = np.random.default_rng(1)
    scores = []
    for _ in range(300):
        correlator = VirialVelocityCorrelator(np.zeros(2, dtype=int), max_lag=8)
        correlator.update(*rng.normal(size=(2, 4000, 2, 3)))
        result = virial_velocity_spectrum(correlator)
        scores.append(result.cumulative.value[1:] / result.cumulative.error[1:])
    assert result.n_blocks in {31, 32}
    assert np.std(scores) == pytest.approx((31 / 29) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volume": -1.0}, "volume is -1.0"),
        ({"temperature": np.nan}, "temperature is nan"),
        ({"driving_force": 0.0}, "driving_force is 0.0"),
        ({"labels": ["Ar"]}, "expected 2 different names"),
        ({"labels": ["Ar", "Ar"]}, "expected 2 different names"),
        ({"taper": "boxcar"}, "taper is 'boxcar'"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        spectral_conductivity(next(random_runs(1)), **STATE | changes)


def test_wrong_correlations_are_refused():
    one, other = next(random_runs(1)), next(random_runs(1, max_lag=30))
    with pytest.raises(InputError, match="correlations differ in time step, groups or lags"):
        virial_velocity_spectrum([one, other])
    with pytest.raises(InputError, match="no correlations"):
        virial_velocity_spectrum([])
    with pytest.raises(InputError, match="a ndarray is no virial-velocity correlation"):
        virial_velocity_spectrum([np.zeros(3)])

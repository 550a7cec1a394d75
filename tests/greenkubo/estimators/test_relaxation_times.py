"""A power law of relaxation times: its curve by quadrature, its posterior on exact and on sampled spectra."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from fluxan.greenkubo.estimators.gaussian_process import gaussian_process
from fluxan.greenkubo.estimators.mixture import _pooled
from fluxan.greenkubo.estimators.periodogram import Spectrum
from fluxan.greenkubo.estimators.relaxation_times import RELAXATION_TIMES, _log_curves, relaxation_times
from tests.exact_series import SHAPES, Shape, periodogram


def density(f, s, longest, span):
    """∫ τˢ L(fτ) d ln τ over its value at f = 0, τ from the time of corner `longest` down by `span`, ends faded in."""
    begin, end, step = np.log(longest), np.log(longest * span), RELAXATION_TIMES.step

    def weight(c):
        return np.exp(-s * (c - begin)) * np.clip(min(c - begin, end - c) / step + 1, 0, 1)

    ends = {"a": begin - step, "b": end + step, "points": [begin, end], "limit": 200}
    return quad(lambda c: weight(c) / (1 + (f * np.exp(-c)) ** 2), **ends)[0] / quad(weight, **ends)[0]


@pytest.mark.parametrize(("s", "longest", "span"), [(4, 4, 4), (4, 7, 6), (11, 9, 8), (8, 2, 10), (16, 20, 1)])
def test_curves_by_quadrature(s, longest, span):
    f = np.geomspace(1e-4, 0.5, 30)
    got = np.exp(_log_curves(f, np.array([[s, longest, span]]), RELAXATION_TIMES)[0])
    law = RELAXATION_TIMES.exponents[s], RELAXATION_TIMES.longest[longest] * f[0], RELAXATION_TIMES.spans[span]
    assert got == pytest.approx([density(x, *law) for x in f], rel=0.03)


def pooled(f, density, dof, time_step=1.0):
    """Bins over their geometric mean, and that mean."""
    return _pooled(Spectrum.of(f, density, dof=dof, time_step=time_step))


def test_a_crystal_is_described_better_than_by_a_smooth_curve():
    """The smooth curve ends its rise too early."""
    shape, gains, off, smooth_off, error = SHAPES["crystal"], [], [], [], []
    for seed in range(12):
        spectrum, unit = pooled(*periodogram(shape.sample(shape.length, rng=np.random.default_rng(seed))))
        found, smooth = relaxation_times(spectrum), gaussian_process(spectrum)
        exact, mean = np.log(2 * shape.integral / unit), found.weight @ found.mean
        gains.append(found.log_evidence - smooth.log_evidence)
        off.append(mean - exact)
        smooth_off.append(smooth.weight @ smooth.mean - exact)
        error.append(np.sqrt(found.weight @ (found.variance + found.mean**2) - mean**2))
    assert np.mean(gains) > 0.5
    assert np.mean(smooth_off) < np.mean(off) - 0.02
    assert abs(np.mean(off)) < 0.5 * np.std(off)
    assert np.count_nonzero(np.abs(off) < 2 * np.array(error)) >= 10


def test_units_of_frequency_cancel():
    f, density, dof = periodogram(SHAPES["crystal"].sample(20_000, rng=np.random.default_rng(1)))
    one, other = (relaxation_times(pooled(scale * f, density, dof, 1 / scale)[0]) for scale in (1.0, 1e3))
    assert other.weight @ other.mean == pytest.approx(one.weight @ one.mean, rel=1e-9)


def test_a_flat_spectrum_is_no_power_law():
    f, density, dof = periodogram(Shape(np.ones_like, 20_000).sample(20_000, rng=np.random.default_rng(1)))
    spectrum, _ = pooled(f, density, dof)
    assert relaxation_times(spectrum).log_evidence < gaussian_process(spectrum).log_evidence - 20
    assert relaxation_times(Spectrum.of(f[:15], density[:15], dof=dof, time_step=1.0)) is None

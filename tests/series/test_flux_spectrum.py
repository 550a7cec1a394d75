"""Power spectra against their definition, closed forms and identities."""

from __future__ import annotations

import numpy as np
import pytest
import xarray
from scipy import constants

from fluxan.correlation import Correlator
from fluxan.errors import InputError
from fluxan.series.flux_spectrum import power_spectrum
from tests import oracles_correlation as oracle

DT = 0.02


def vectors(n, n_channels=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, n_channels, 3))
    x[3:, -1] += x[:-3, 0]
    return x


def dataset(n=64, groups=2, seed=0):
    rng = np.random.default_rng(seed)
    own = {
        name: (("time", "carrier", "xyz"), rng.standard_normal((n, groups, 3))) for name in ("kinetic", "convective")
    }
    virial = rng.standard_normal((n, groups, groups, 3))
    return xarray.Dataset(
        {"potential": (("time", "owner", "carrier", "xyz"), virial), "time": ("time", np.arange(n) * DT), **own},
        {"owner": ["Ar", "Kr"], "carrier": ["Ar", "Kr"]},
    )


@pytest.mark.parametrize("n", [2, 33, 64])
def test_equals_the_definition(n):
    x = vectors(n)
    spectrum = power_spectrum(x, dt=DT)
    expected = np.mean([oracle.periodogram(x[:, :, axis], DT) for axis in range(3)], axis=0)
    np.testing.assert_allclose(spectrum.density, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(spectrum.frequencies, np.arange(n // 2 + 1) / (n * DT), rtol=1e-14)
    np.testing.assert_allclose(spectrum.wavenumbers, spectrum.frequencies * 1e12 / (constants.c * 100), rtol=1e-14)


@pytest.mark.parametrize("n", [999, 1000])
@pytest.mark.parametrize("settings", [{}, {"sides": "one"}, {"bandwidth": 1.0}, {"bandwidth": 7.3, "sides": "one"}])
def test_parseval_to_round_off(n, settings):
    x = vectors(n)
    products = np.einsum("tax,tbx->ab", x, x) / (3 * n)
    np.testing.assert_allclose(power_spectrum(x, dt=DT, **settings).band(), products, rtol=0, atol=1e-13)


def test_parseval_over_whole_segments():
    x = vectors(1000)
    spectrum = power_spectrum(x, dt=DT, segment=300)
    assert (spectrum.n_segments, spectrum.length) == (3, 300)
    np.testing.assert_allclose(spectrum.band(), np.einsum("tax,tbx->ab", x[:900], x[:900]) / 2700, rtol=0, atol=1e-13)


def test_bands_add_up():
    spectrum = power_spectrum(vectors(1000), dt=DT)
    cut = 8.123
    np.testing.assert_allclose(spectrum.band(high=cut) + spectrum.band(low=cut), spectrum.band(), atol=1e-13)
    with pytest.raises(InputError, match="no frequency of the spectrum lies between 30 and 31 THz: it reaches 25 THz"):
        spectrum.band(30, 31)


def test_the_correlators_segments_are_the_same_spectrum():
    x = vectors(5000)
    correlator = Correlator(6, max_lag=300, segment=500, time_step=DT)
    correlator.update(x.reshape(-1, 6) + 4)
    streamed = correlator.spectrum(remove_mean=True)
    direct = power_spectrum(x + 4, dt=DT, segment=500, remove_mean=True)
    mean = np.einsum("faxbx->fab", streamed.density.reshape(-1, 2, 3, 2, 3)) / 3
    np.testing.assert_allclose(mean, direct.density, rtol=0, atol=1e-12)
    np.testing.assert_allclose(3 * streamed.dof, direct.dof, rtol=1e-12)
    np.testing.assert_array_equal(streamed.frequencies, direct.frequencies)


def test_autoregressive_series():
    decay = 0.7
    x = oracle.autoregressive(300000, 3, decay=decay, seed=1)
    spectrum = power_spectrum(x, dt=DT, segment=1000)
    phase = np.cos(2 * np.pi * spectrum.frequencies * DT)
    expected = DT * (1 - decay**2) / (1 - 2 * decay * phase + decay**2)
    score = (spectrum.total - expected) / (expected * np.sqrt(2 / spectrum.dof))
    assert score.std() == pytest.approx(1, abs=0.12)
    assert np.abs(score).max() < 4.5


@pytest.mark.parametrize("window", ["boxcar", "hann"])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
@pytest.mark.parametrize("width", [1, 5])
def test_degrees_of_freedom_are_those_of_white_noise(window, overlap, width):
    rng = np.random.default_rng(2)
    totals = []
    for _ in range(500):
        noise = rng.standard_normal((160, 1, 3))
        spectrum = power_spectrum(noise, dt=1.0, segment=40, window=window, overlap=overlap)
        spectrum = spectrum if width == 1 else spectrum.smoothed(width / 40)
        totals.append(spectrum.total)
    totals = np.array(totals)
    np.testing.assert_allclose(totals.mean(axis=0), 1, atol=0.05)
    # 500 repetitions tell a variance to 6 %.
    np.testing.assert_allclose(2 * totals.mean(axis=0) ** 2 / totals.var(axis=0) / spectrum.dof, 1, atol=0.3)


def test_delay_is_the_phase_and_coherence():
    rng = np.random.default_rng(3)
    signal = rng.standard_normal((40003, 3))
    x = np.stack([signal[3:], signal[:-3]], axis=1)  # channel 1 is 3 samples late
    spectrum = power_spectrum(x, dt=1.0, segment=500)
    phase = np.angle(spectrum.density[1:50, 0, 1])
    np.testing.assert_allclose(phase, -2 * np.pi * spectrum.frequencies[1:50] * 3, atol=0.1)
    assert spectrum.coherence()[1:, 0, 1].mean() == pytest.approx(1, abs=0.03)
    independent = power_spectrum(rng.standard_normal((40000, 2, 3)), dt=1.0, segment=500)
    assert independent.coherence()[:, 0, 1].mean() == pytest.approx(np.mean(2 / independent.dof), rel=0.15)


def test_zero_frequency_is_the_integral_of_the_correlation():
    x = oracle.autoregressive(40000, 3, decay=0.8, seed=5)
    whole = power_spectrum(x, dt=DT, remove_mean=False).smoothed(2.0)
    values = np.einsum("kaa->k", _correlation(x)) / 3
    integral = DT * (values[0] + 2 * values[1:].sum())
    assert whole.total[0] == pytest.approx(integral, rel=0.15)
    assert integral == pytest.approx(DT * 9, rel=0.1)


def _correlation(x):
    correlator = Correlator(3, max_lag=60, pairs="auto")
    correlator.update(x)
    return np.einsum("kaa->ka", correlator.correlation().values)[:, :, None] * np.eye(3)


@pytest.mark.parametrize("by", ["carrier", "owner-carrier"])
def test_parts_of_a_dataset_add_up_to_the_total(by):
    total, split = (power_spectrum(dataset(), by=name) for name in ("total", by))
    np.testing.assert_allclose(split.total, total.total, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(split.parts.sum(axis=1), total.total, rtol=1e-11, atol=1e-13)
    labels = {"carrier": ("Ar", "Kr"), "owner-carrier": ("Ar←Ar", "Ar←Kr", "Kr←Ar", "Kr←Kr")}
    assert split.labels == labels[by]
    assert split.time_step == pytest.approx(DT)


def test_axes():
    x = vectors(100)
    mean, each = power_spectrum(x, dt=DT), [power_spectrum(x, dt=DT, axes=axis) for axis in "xyz"]
    np.testing.assert_allclose(np.mean([s.density for s in each], axis=0), mean.density, atol=1e-14)
    np.testing.assert_allclose(sum(s.dof for s in each), mean.dof)


def test_a_plot_of_total_and_parts(tmp_path):
    spectrum = power_spectrum(dataset(256), segment=64)
    for unit, label in (("THz", "frequency (THz)"), ("cm-1", "wavenumber (cm⁻¹)")):
        figure = spectrum.plot(unit=unit)
        (axes,) = figure.axes
        assert axes.get_xlabel() == label
        lines = {line.get_label(): line.get_ydata() for line in axes.lines}
        np.testing.assert_array_equal(lines["total"], spectrum.total)
        np.testing.assert_array_equal(lines["Kr"], spectrum.parts[:, 1])
        figure.savefig(tmp_path / "spectrum.png")
    with pytest.raises(InputError, match="unit is 'Hz'"):
        spectrum.plot(unit="Hz")


GAP = dataset().assign_coords(time=np.r_[np.arange(40), np.arange(41, 65)] * DT)


@pytest.mark.parametrize(
    ("flux", "settings", "message"),
    [
        (vectors(50), {}, "needs its time step: dt= in ps"),
        (vectors(50), {"dt": -1.0}, "dt is -1.0"),
        (np.zeros((50, 2)), {"dt": DT}, r"shape \(50, 2\), expected real numbers \(n, 3\)"),
        (np.where(np.arange(150).reshape(50, 3) == 100, np.nan, 1), {"dt": DT}, "flux of frame 33 is not finite"),
        (vectors(1), {"dt": DT}, "at least 2 frames, got 1"),
        (vectors(50), {"dt": DT, "segment": 51}, "segment is 51, expected 2 to 50"),
        (vectors(50), {"dt": DT, "window": "flat"}, "window is 'flat', expected one of boxcar, hann"),
        (vectors(50), {"dt": DT, "overlap": 1.0}, "overlap is 1.0"),
        (vectors(50), {"dt": DT, "axes": "xw"}, "axes is 'xw'"),
        (vectors(50), {"dt": DT, "sides": "both"}, "sides is 'both'"),
        (vectors(50), {"dt": DT, "bandwidth": 40.0}, "bandwidth is 40.0 THz, expected more than 0 and less than 25"),
        (dataset(), {"by": "atom"}, "by is 'atom', expected one of total, carrier, owner-carrier"),
        (np.zeros((0, 3)), {"dt": DT}, r"shape \(0, 3\)"),
        (GAP, {"dt": DT}, "not equidistant: 0.04"),
        (GAP, {}, "not equidistant: 0.04 ps between frames 39 and 40, 0.02 ps elsewhere"),
        (dataset().assign_attrs(time_unit="frame"), {}, "counts frames"),
        (3.0, {}, "expected a flux Dataset or the path of a flux file, got float"),
    ],
)
def test_wrong_input(flux, settings, message):
    with pytest.raises(InputError, match=message):
        power_spectrum(flux, **settings)


def test_quantities_that_are_undefined_are_refused():
    spectrum = power_spectrum(vectors(100)[:, :, :1].repeat(3, axis=2), dt=DT, axes="x")
    with pytest.raises(InputError, match="coherence needs an average"):
        spectrum.coherence()
    with pytest.raises(InputError, match="smooth it once"):
        spectrum.smoothed(3.0).smoothed(3.0)

"""Conductivities from what correlators keep, against exact integrals and against the flux itself."""

from __future__ import annotations

import numpy as np
import pytest

import fluxan
from fluxan import Correlator
from fluxan.errors import FileError, InputError, ShortRunError
from fluxan.greenkubo.blocking import blocking_levels
from tests.exact_series import SERIES

STATE = {"volume": 1.0, "temperature": 1.0, "units": "lj"}
SCHEMES = ("linear", "multitau")


def sample(name: str, length: int = 100_000, seed: int = 1) -> np.ndarray:
    return SERIES[name].sample(length, rng=np.random.default_rng([seed, *name.encode()]))


def seen(samples: np.ndarray, scheme: str = "multitau", **settings) -> Correlator:
    settings = {"max_lag": 4096, "pairs": "same-xyz"} | settings
    correlator = Correlator(samples.shape[1], scheme=scheme, **settings)
    correlator.update(samples)
    return correlator


def carriers(n: int = 60_000) -> np.ndarray:
    """Two, the first with 0.3 of the total and noise that the second cancels: it carries three tenths of the heat."""
    total = sample("B", n)
    noise = 0.5 * np.random.default_rng(9).standard_normal(total.shape)
    return np.stack([0.3 * total + noise, 0.7 * total - noise], axis=1)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["A", "B", "C", "F", "one mode", "gap"])
def test_exact_integrals(name, scheme):
    samples = sample(name)
    state = fluxan.green_kubo(seen(samples, scheme), **STATE)
    flux = fluxan.green_kubo(samples, dt=1.0, compare=(), **STATE)
    assert abs(state.kappa - SERIES[name].integral) < 2.5 * state.error
    assert abs(state.kappa - flux.kappa) < 1.5 * max(state.error, flux.error)
    assert state.error < 2.5 * flux.error


@pytest.mark.parametrize("name", ["A", "C"])
def test_many_realisations(name):
    exact = SERIES[name].integral
    results = [fluxan.green_kubo(seen(sample(name, seed=k)), compare=(), **STATE) for k in range(24)]
    values = np.array([result.kappa for result in results])
    off = np.abs(values - exact) / [result.error for result in results]
    assert np.sqrt(np.mean((values / exact - 1) ** 2)) < 1.5 * SERIES[name].bound(100_000)
    assert abs(values.mean() / exact - 1) < 3 * SERIES[name].bound(100_000) / np.sqrt(24)
    assert 12 <= np.count_nonzero(off < 1) <= 22
    assert np.count_nonzero(off < 2) >= 20


def test_time_step_and_units():
    samples = sample("B", 30_000)
    one = fluxan.green_kubo(seen(samples, time_step=0.02), **STATE)
    assert one.kappa == pytest.approx(0.02 * fluxan.green_kubo(seen(samples), **STATE).kappa, rel=0.01)
    assert one.diagnostics.length == pytest.approx(600)
    given = fluxan.green_kubo(seen(samples), dt=0.02, **STATE)
    assert given.kappa == one.kappa
    assert given.estimates["running"] == one.estimates["running"]
    metal = fluxan.green_kubo(seen(samples, time_step=0.002), volume=500.0, temperature=300.0)
    flux = fluxan.green_kubo(samples, dt=0.002, volume=500.0, temperature=300.0)
    assert metal.unit == flux.unit == "W/(m K)"
    assert abs(metal.kappa - flux.kappa) < metal.error


def test_segments_serve_cepstral_analysis():
    samples = sample("B")
    flux = fluxan.green_kubo(samples, dt=0.5, **STATE).estimates["cepstral"]
    state = fluxan.green_kubo(seen(samples, "linear", time_step=0.5), **STATE).estimates["cepstral"]
    assert abs(state.value - flux.value) < flux.error


def test_running_integral_is_that_of_the_flux():
    samples = sample("B")
    flux = fluxan.green_kubo(samples, dt=1.0, **STATE).estimates["running"]
    linear, multitau = (fluxan.green_kubo(seen(samples, s), **STATE).estimates["running"] for s in SCHEMES)
    assert linear.value == pytest.approx(flux.value, rel=1e-6)
    assert linear.details == flux.details
    # Averages of lags scatter less, which may move the plateau by some of them.
    assert multitau.value == pytest.approx(flux.value, abs=0.05 * flux.error)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_parts_add_up_and_are_right(scheme):
    flux = carriers()
    result = fluxan.green_kubo(seen(flux.reshape(-1, 6), scheme, pairs="all"), **STATE)
    assert result.by_carrier.sum() == pytest.approx(result.kappa, rel=1e-12)
    assert result.matrix.sum() == pytest.approx(result.kappa, rel=1e-12)
    np.testing.assert_allclose(result.matrix.sum(axis=0), result.by_carrier, rtol=1e-12)
    assert np.trace(result.tensor) / 3 == pytest.approx(result.kappa, rel=1e-12)
    np.testing.assert_allclose(result.tensor, result.tensor.T, rtol=0, atol=1e-12 * result.kappa)
    exact = np.array([0.3, 0.7]) * result.kappa
    assert (np.abs(result.by_carrier - exact) < 4 * result.by_carrier_error).all()
    assert any("no fluxes of species" in note for note in result.notes)
    whole = fluxan.green_kubo(flux, dt=1.0, **STATE)
    assert (np.abs(result.matrix - whole.matrix) < 2 * np.hypot(result.matrix_error, whole.matrix_error)).all()


def test_errors_of_fractions_cover():
    """Three tenths are missed by as much as the errors say."""
    off = []
    for k in range(24):
        total = sample("B", 20_000, seed=k)
        noise = 2 * np.random.default_rng(k).standard_normal(total.shape)
        parts = np.concatenate([0.3 * total + noise, 0.7 * total - noise], axis=1)
        result = fluxan.green_kubo(seen(parts), compare=(), **STATE)
        share = result.by_carrier[0] / result.kappa
        error = np.sqrt(result.by_carrier_error[0] ** 2 - (share * result.error) ** 2) / result.kappa
        off.append((share - 0.3) / error)
    assert 0.6 < np.sqrt(np.mean(np.square(off))) < 1.7


def test_tensor_without_unlike_components():
    result = fluxan.green_kubo(seen(sample("B", 20_000)), **STATE)
    assert np.array_equal(np.isnan(result.tensor), ~np.eye(3, dtype=bool))
    assert np.trace(result.tensor) / 3 == pytest.approx(result.kappa, rel=1e-12)
    assert any("pairs='all'" in note for note in result.notes)


@pytest.mark.parametrize(("name", "max_lag"), [("A", 300), ("C", 500), ("one mode", 31)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_short_lags_warn(name, max_lag, scheme):
    samples = sample(name)
    [warning] = [w for w in fluxan.green_kubo(seen(samples, scheme, max_lag=max_lag), **STATE).warnings if "lags" in w]
    needed = int(warning.split("max_lag of ")[1].split()[0])
    assert needed > max_lag
    enough = fluxan.green_kubo(seen(samples, scheme, max_lag=8000), **STATE)
    assert not any("lags" in w for w in enough.warnings)


def test_short_run_warns():
    result = fluxan.green_kubo(seen(sample("one mode", 250)), **STATE)
    assert any("times this run would give 10 %" in warning for warning in result.warnings)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_saved_states(tmp_path, scheme):
    correlator = seen(sample("B", 20_000), scheme, time_step=0.002)
    correlator.save(tmp_path / "state.nc")
    settings = {"volume": 1000.0, "temperature": 300.0}
    kappa = fluxan.green_kubo(correlator, **settings).kappa
    assert fluxan.green_kubo(tmp_path / "state.nc", **settings).kappa == kappa
    assert fluxan.green_kubo(Correlator.load(tmp_path / "state.nc"), **settings).kappa == kappa


@pytest.mark.parametrize("scheme", SCHEMES)
def test_seven_shards(scheme):
    samples = sample("B", 35_000)
    whole, start = seen(samples, scheme), 0
    shards = [Correlator(3, max_lag=4096, scheme=scheme, pairs="same-xyz")]
    for part in np.split(samples, [3000, 3001, 9000, 16_385, 20_000, 30_000]):
        shards.append(Correlator(3, max_lag=4096, scheme=scheme, pairs="same-xyz", start=start))
        shards[-1].update(part)
        start += len(part)
    for shard in shards[1:]:
        shards[0].combine(shard, contiguous=True)
    assert fluxan.green_kubo(shards[0], **STATE).kappa == pytest.approx(
        fluxan.green_kubo(whole, **STATE).kappa, rel=1e-6
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_independent_runs(scheme):
    together = seen(sample("B", seed=0), scheme)
    for seed in (1, 2, 3):
        together.combine(seen(sample("B", seed=seed), scheme))
    one, all_four = (fluxan.green_kubo(c, **STATE) for c in (seen(sample("B", seed=0), scheme), together))
    assert abs(all_four.kappa - SERIES["B"].integral) < 3 * all_four.error
    assert all_four.error < 0.75 * one.error


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_mean_carries_no_heat(scheme):
    samples = sample("B", 50_000)
    settings = {"volume": 1.0, "temperature": 1.0, "units": "lj", "compare": ()}
    level, moved = (
        fluxan.green_kubo(seen(x, scheme), **settings) for x in (samples, samples + np.array([30.0, 0.0, -4.0]))
    )
    assert abs(moved.kappa - level.kappa) < 0.5 * level.error


def test_levels_of_the_linear_scheme():
    """Means over neighbours have the covariances that sums over a triangle give."""
    samples = sample("B", 5000)
    correlator = seen(samples, "linear", max_lag=200, pairs="all")
    found = blocking_levels(correlator, 1.0)
    assert [level.width for level in found] == [1, 2, 4]
    correlation = correlator.correlation()
    values = correlation.values * (correlation.counts / correlation.counts[0])[:, None, None]
    both = np.concatenate([values[:0:-1].transpose(0, 2, 1), values])  # lags -200 to 200
    for level in found:
        w = level.width
        triangle = (w - np.abs(np.arange(1 - w, w))) / w**2
        for lag in range(32):
            middle = 200 + lag * w
            expected = np.tensordot(triangle, both[middle - w + 1 : middle + w], axes=1)
            np.testing.assert_allclose(level.values[lag].reshape(3, 3), expected, rtol=0, atol=1e-13)


def test_spectrum_of_a_level():
    """Against the exact spectrum, at frequencies of block means that averaging changes by a fifth."""
    series = SERIES["one mode"]
    found = blocking_levels(seen(sample("one mode", 400_000)), 0.5)
    level = found[3]
    assert (level.width, level.time_step) == (8, 4.0)
    spectrum = level.spectrum(found[0])
    exact = 0.5 * series.spectrum(0.5 * spectrum.frequencies)
    assert spectrum.frequencies[-1] == pytest.approx(0.25 / 4.0)
    assert abs(np.log(spectrum.density / exact).mean()) < 0.01
    assert np.abs(np.log(spectrum.density / exact)).max() < 0.2


@pytest.mark.parametrize("k", [1, 2, 4])
def test_spectrum_of_means_of_white_noise_is_flat(k):
    """Averaging changes nothing of it: what is put back is what aliases have too much."""
    found = blocking_levels(seen(sample("white", 400_000)), 1.0)
    spectrum = found[k].spectrum(found[0])
    lower, upper = np.array_split(np.log(spectrum.density), 2)
    assert abs(upper.mean() - lower.mean()) < 0.03


@pytest.mark.parametrize("scheme", SCHEMES)
def test_white_noise_scatters_as_the_flux_does(scheme):
    states, fluxes = [], []
    for k in range(16):
        samples = sample("white", 20_000, seed=k)
        result = fluxan.green_kubo(seen(samples, scheme, max_lag=1000), compare=(), **STATE)
        states.append((result.kappa - 0.5, result.error))
        fluxes.append(fluxan.green_kubo(samples, dt=1.0, compare=(), **STATE).kappa - 0.5)
    off, error = np.transpose(states)
    assert np.median(np.abs(off)) < 2 * np.median(np.abs(fluxes))
    assert np.count_nonzero(np.abs(off) < 2 * error) >= 12


def test_invalid_input_is_refused(tmp_path):
    flux = carriers(2000).reshape(-1, 6)
    cases = [
        (Correlator(4, max_lag=50), {}, InputError, "4 channels, expected x, y, z"),
        (seen(flux, pairs="auto"), {}, InputError, "channels 0 and 3"),
        (seen(flux), {"components": "multi"}, InputError, "two species"),
        (seen(flux), {"remove": "mean-virial"}, InputError, "mean virial"),
        (seen(flux), {"velocity": np.zeros((2000, 2, 3))}, InputError, "applies to arrays"),
        (seen(flux), {"method": "cepstral"}, InputError, "scheme='linear'"),
        (seen(flux, "linear", segment=4096), {"method": "cepstral"}, InputError, "full segment"),
        (seen(flux), {"volume": 0.0}, InputError, "volume is 0.0"),
        (seen(flux), {"temperature": None}, InputError, "give temperature="),
        (seen(flux), {"volume": None}, InputError, "give volume="),
        (seen(flux[:10]), {}, ShortRunError, "10 samples"),
        (Correlator(3, max_lag=50), {}, ShortRunError, "0 samples"),
        (seen(0 * flux), {}, InputError, "does not fluctuate"),
    ]
    for correlator, settings, kind, message in cases:
        with pytest.raises(kind, match=message):
            fluxan.green_kubo(correlator, **(STATE | settings))
    path = tmp_path / "state.nc"
    seen(flux).save(path)
    path.write_bytes(path.read_bytes().replace(b"fluxan correlator 1", b"fluxan correlator 9"))
    with pytest.raises(FileError, match="schema 'fluxan correlator 9', expected 'fluxan correlator 1'"):
        fluxan.green_kubo(path, **STATE)

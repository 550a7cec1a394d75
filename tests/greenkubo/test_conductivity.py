"""Conductivities of series with exact integrals, their parts, their units, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants

import fluxan
from fluxan.errors import FluxanError, InputError
from fluxan.greenkubo.diagnostics import disagreements
from fluxan.greenkubo.estimators.estimate import Estimate
from fluxan.greenkubo.estimators.ordinates import autocovariance
from fluxan.greenkubo.estimators.periodogram import Spectrum
from fluxan.greenkubo.fourier import amplitudes
from fluxan.greenkubo.stationarity import StationaryMean
from fluxan.greenkubo.zero_frequency import ZeroFrequencyEstimates
from fluxan.series.conversion import series_of_array
from fluxan.series.heat_flux_series import HeatFluxSeries
from tests.exact_series import SERIES, Series

LJ = {"dt": 1.0, "volume": 1.0, "temperature": 1.0, "units": "lj"}


def sample(name: str, length: int = 30_000, seed: int = 1) -> np.ndarray:
    return SERIES[name].sample(length, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("name", ["A", "B", "F"])
def test_exact_integrals(name):
    result = fluxan.green_kubo(sample(name, 100_000), **LJ)
    assert abs(result.kappa - SERIES[name].integral) < 3 * result.error
    assert result.error < 0.2 * result.kappa
    assert set(result.estimates) == {"default", "cepstral", "running"}
    assert result.unit == "reduced"


def test_reduced_units_follow_the_formula():
    flux = sample("B")
    one = fluxan.green_kubo(flux, **LJ).kappa
    other = fluxan.green_kubo(flux, dt=0.02, volume=300.0, temperature=0.7, units="lj").kappa
    assert other == pytest.approx(0.02 * one / (300 * 0.7**2), rel=1e-9)


def test_metal_units_against_si():
    """J in eV Å/ps, so in W m; time in s, volume in m³."""
    flux = sample("B")
    reduced = fluxan.green_kubo(flux, **LJ).kappa  # half the two-sided integral, per sample
    si = reduced * (constants.eV * 1e-10 / 1e-12) ** 2 * 0.002e-12 / (500e-30 * constants.k * 300**2)
    result = fluxan.green_kubo(flux, dt=0.002, volume=500.0, temperature=300.0)
    assert result.kappa == pytest.approx(si, rel=1e-9)
    assert result.unit == "W/(m K)"


@pytest.mark.parametrize("method", ["default", "cepstral", "running", "stacie"])
def test_every_method(method):
    series = SERIES["one mode"]
    result = fluxan.green_kubo(series.sample(20_000, rng=np.random.default_rng(3)), method=method, compare=(), **LJ)
    assert result.kappa == pytest.approx(series.integral, rel=0.35)
    assert result.estimates[method].value == result.kappa
    assert result.method == method


def test_parts_add_up_and_are_those_of_the_channels():
    """Two channels, each a mode of its own plus a share of a third: every S_ab(0) is known."""
    rng = np.random.default_rng(8)
    own = [Series(((v, tau),)) for v, tau in ((1.0, 10), (0.5, 40))]
    common = Series(((0.4, 15),))
    a, b, c = (series.sample(100_000, rng=rng) for series in (*own, common))
    result = fluxan.green_kubo(np.stack([a + c, b - 0.5 * c], axis=1), **LJ)
    k = [*(series.integral for series in own), common.integral]
    cross = np.array([[k[0] + k[2], -0.5 * k[2]], [-0.5 * k[2], k[1] + 0.25 * k[2]]])
    np.testing.assert_array_less(np.abs(result.cross - cross), 3.5 * result.parts.cross.error)
    np.testing.assert_array_less(np.abs(result.by_carrier - cross.sum(1)), 3.5 * result.by_carrier_error)
    assert (result.by_carrier_error < 0.15 * result.kappa).all()
    np.testing.assert_allclose(result.cross.sum(axis=1), result.by_carrier, rtol=1e-12)
    assert result.cross.sum() == pytest.approx(result.kappa, rel=1e-12)
    np.testing.assert_array_equal(result.matrix, result.cross)
    assert result.labels == ("0", "1")


def test_errors_of_parts_cover():
    """Thirty draws of two independent channels: shares are off by as much as they say."""
    parts = [Series(((1, 5), (0.3, 30))), Series(((0.25, 8),))]
    exact = [series.integral for series in parts]
    off = []
    for seed in range(30):
        rng = np.random.default_rng([7, seed])
        flux = np.stack([series.sample(10_000, rng=rng) for series in parts], axis=1)
        result = fluxan.green_kubo(flux, compare=(), **LJ)
        off.append((result.by_carrier - exact) / result.by_carrier_error)
    off = np.array(off)
    assert (np.abs(off.mean(axis=0)) < 0.75).all()
    assert (np.abs(off) < 2).mean() > 0.85
    assert (np.abs(off) < 1).mean() > 0.5
    assert off.std() > 0.6


def test_the_tensor_resolves_directions():
    """x conducts four times as well as y and z."""
    flux = sample("B", 100_000) * np.array([2.0, 1.0, 1.0])
    result = fluxan.green_kubo(flux, **LJ)
    exact = SERIES["B"].integral * np.diag([4.0, 1, 1])
    np.testing.assert_array_less(np.abs(result.tensor - exact), 3.5 * result.tensor_error)
    assert np.trace(result.tensor) / 3 == pytest.approx(result.kappa, rel=1e-12)
    np.testing.assert_array_equal(result.tensor, result.tensor.T)


def test_parts_of_a_dataset(liquid):
    result = fluxan.green_kubo(liquid)
    assert result.labels == ("Ar", "Kr")
    assert result.matrix.shape == (2, 2)
    assert result.matrix.sum() == pytest.approx(result.kappa, rel=1e-12)
    np.testing.assert_allclose(result.matrix.sum(axis=0), result.by_carrier, rtol=1e-12)
    np.testing.assert_allclose(result.cross.sum(axis=1), result.by_carrier, rtol=1e-12)
    np.testing.assert_allclose(result.cross, result.cross.T)
    # Argon at this density conducts some 0.11 W/(m K), krypton less; the mixture is no better than its parts.
    assert 0.05 < result.kappa < 0.2
    assert result.temperature == pytest.approx(float(liquid["temperature"].mean()))
    assert 0 < result.temperature_error < 2


def test_a_file_gives_what_its_dataset_gives(dataset, tmp_path):
    """Through a flux file, read in blocks; and through a record of another code."""
    from fluxan.series.flux_file import FluxFile
    from fluxan.series.schema import VARIABLES

    path = tmp_path / "flux.nc"
    file = FluxFile(path, ["Ag", "I"], {}, 1000)
    file.create({"time_unit": "ps"})
    file.write({name: dataset[name].values for name in VARIABLES})
    file.close()
    mine, theirs = fluxan.green_kubo(path), fluxan.green_kubo(dataset)
    assert (mine.kappa, mine.error) == (theirs.kappa, theirs.error)
    np.testing.assert_array_equal(mine.matrix, theirs.matrix)
    total = fluxan.carrier_flux(dataset).values
    record = HeatFluxSeries.of_samples(
        total,
        0.001,
        ("Ag", "I"),
        volume=np.array([1000.0]),
        observables={"temperature": dataset.temperature.values},
    )
    other = fluxan.green_kubo(record, components="single")
    single = fluxan.green_kubo(dataset, components="single")
    assert other.kappa == pytest.approx(single.kappa, rel=1e-10)
    assert other.error == pytest.approx(single.error, rel=1e-6)
    np.testing.assert_array_less(np.abs(other.by_carrier - single.by_carrier), single.by_carrier_error)


def test_table_of_another_code(tmp_path):
    flux = sample("B", 5000)
    path = tmp_path / "flux.npy"
    np.save(path, flux)
    state = {"dt": 0.002, "volume": 500.0, "temperature": 300.0}
    assert fluxan.green_kubo(path, units="metal", **state).kappa == pytest.approx(
        fluxan.green_kubo(flux, **state).kappa, rel=1e-12
    )


def test_the_temperatures_error_counts_twice(dataset):
    given = fluxan.green_kubo(dataset, temperature=300.0, components="single")
    found = fluxan.green_kubo(dataset, components="single")
    expected = np.hypot(given.error, 2 * found.kappa * found.temperature_error / found.temperature)
    assert given.temperature_error == 0
    assert found.error == pytest.approx(expected, rel=1e-3)
    assert found.temperature_error == pytest.approx(5 / np.sqrt(4000), rel=0.6)


def test_thinned_spectra_are_not_aliased():
    """A line a thousand times the noise, at a frequency that block means would fold to the lowest ones."""
    n = 40_000
    rng = np.random.default_rng(2)
    noise = sample("one mode", n)
    line = 30 * np.sin(2 * np.pi * 0.25013 * np.arange(n) + rng.uniform(0, 6, 3)[:, None]).T
    whole, thinned = (amplitudes(series_of_array(noise + line, dt=0.5), held=held) for held in (10**9, 3 * n // 8 + 1))
    assert (whole.thinning, thinned.thinning) == (1, 8)
    assert len(thinned.samples) < n / 8
    assert thinned.frequencies[-1] < 0.36 / (8 * 0.5)
    for low, high in ((0.0005, 0.005), (0.005, 0.03), (0.03, 0.08)):
        means = []
        for a in (whole, thinned):
            inside = (a.frequencies > low) & (a.frequencies < high)
            means.append((np.abs(a.total[inside]) ** 2).mean())
        assert means[1] == pytest.approx(means[0], rel=0.02)


def test_thinning_leaves_the_conductivity(monkeypatch):
    from fluxan.greenkubo import fourier

    flux = sample("A", 60_000)
    whole = fluxan.green_kubo(flux, **LJ)
    defaults = {"held": 60_000}
    monkeypatch.setattr(fourier.amplitudes, "__kwdefaults__", defaults)
    thinned = fluxan.green_kubo(flux, **LJ)
    assert abs(thinned.kappa - whole.kappa) < 0.7 * whole.error
    assert thinned.error == pytest.approx(whole.error, rel=0.35)


def test_long_files_are_read_in_blocks(dataset, monkeypatch):
    """Nothing larger than a block is asked of a Dataset, and blocks change nothing."""
    from fluxan.series import heat_flux_series as module

    whole = fluxan.green_kubo(dataset)
    monkeypatch.setattr(module, "BLOCK_SIZE", 18 * 700)
    asked = []
    isel = type(dataset).isel

    def counted(self, *args, **kwargs):
        asked.append(kwargs["time"].stop - kwargs["time"].start)
        return isel(self, *args, **kwargs)

    monkeypatch.setattr(type(dataset), "isel", counted)
    assert fluxan.green_kubo(dataset).kappa == whole.kappa
    assert asked == [700] * 5 + [500]


def test_autocovariance_is_the_sum_of_products():
    x = np.random.default_rng(1).standard_normal((50, 3))
    direct = [(x[: 50 - k] * x[k:]).sum() / (3 * (50 - k)) for k in range(20)]
    np.testing.assert_allclose(autocovariance(x, 20), direct, atol=1e-12)


def test_curves_lead_to_the_result():
    result = fluxan.green_kubo(sample("one mode", 100_000), dt=0.5, volume=2.0, temperature=1.0, units="lj")
    late = (result.cumulative.x > 60) & (result.cumulative.x < 100)
    assert result.cumulative.value[late].mean() == pytest.approx(result.kappa, abs=3 * result.error)
    assert result.spectrum.value[result.spectrum.x < 0.002].mean() == pytest.approx(result.kappa, rel=0.15)
    assert result.correlation.value[0] == pytest.approx(1.0, rel=0.1)
    assert result.correlation.x[1] == 0.5
    assert result.cumulative.value[0] == 0
    k = np.searchsorted(result.cumulative.x, 10.0)
    step = 0.5 * np.exp(-np.arange(k + 1) / 20)
    assert result.cumulative.value[k] == pytest.approx((step.sum() - 0.5 * (step[0] + step[-1])) / 2, rel=0.1)


def test_errors_of_curves_are_their_scatter():
    """At lags beyond the correlations there is nothing but the scatter."""
    correlation, cumulative = [], []
    for seed in range(40):
        flux = SERIES["one mode"].sample(20_000, rng=np.random.default_rng([6, seed]))
        result = fluxan.green_kubo(flux, compare=(), **LJ)
        correlation.append(result.correlation.value[[300, 700, 1100]] / result.correlation.error[0])
        late = result.cumulative.value[1000] - SERIES["one mode"].integral
        cumulative.append(late / result.cumulative.error[1000])
    assert np.std(correlation) == pytest.approx(1, abs=0.2)
    assert np.std(cumulative) == pytest.approx(1, abs=0.3)


def test_a_short_run_warns_with_the_length_needed():
    series = Series(((1.0, 60),))
    result = fluxan.green_kubo(series.sample(600, rng=np.random.default_rng(4)), **LJ)
    assert any("run" in warning and "or more" in warning for warning in result.warnings)
    enough = fluxan.green_kubo(series.sample(60_000, rng=np.random.default_rng(4)), **LJ)
    assert not enough.warnings
    assert enough.diagnostics.length_over_slowest > 300
    assert enough.diagnostics.slowest == pytest.approx(60, rel=0.7)


def test_a_flux_with_a_mean_warns_and_the_mean_is_subtracted():
    still = sample("one mode")
    quiet, driven = (fluxan.green_kubo(flux, **LJ) for flux in (still, still + np.array([0.0, 2.0, 0.0])))
    assert not any("mean" in warning for warning in quiet.warnings)
    assert any("the flux has a mean" in warning for warning in driven.warnings)
    assert driven.kappa == pytest.approx(quiet.kappa, rel=1e-6)
    assert driven.diagnostics.slowest == pytest.approx(quiet.diagnostics.slowest, rel=0.02)
    assert driven.estimates["running"].value == pytest.approx(quiet.estimates["running"].value, rel=0.1)


def test_an_axis_without_flux_warns():
    """A layer: the mean over three axes is not what flows within it."""
    layer = sample("one mode") * [1.0, 1.0, 0.0]
    result = fluxan.green_kubo(layer, **LJ)
    assert any("no part along z" in warning and "1.5 times" in warning for warning in result.warnings)
    assert result.kappa == pytest.approx(2 / 3 * SERIES["one mode"].integral, abs=4 * result.error)


@pytest.mark.parametrize("name", ["velocity", "volume", "kinetic"])
def test_a_missing_variable_is_named(dataset, name):
    with pytest.raises(InputError, match=f"lacks {name}"):
        fluxan.green_kubo(dataset.drop_vars(name))


def test_disagreeing_estimators_warn():
    estimates = {"default": Estimate(1.0, 0.05, "modes"), "cepstral": Estimate(1.4, 0.1, "cepstral")}
    found = list(disagreements(ZeroFrequencyEstimates(estimates, {}, 1.0), "default"))
    assert len(found) == 1
    assert "cepstral gives 1.40 times" in found[0]
    near = estimates | {"cepstral": Estimate(1.2, 0.1, "cepstral"), "running": Estimate(0.2, 0.01, "running")}
    assert list(disagreements(ZeroFrequencyEstimates(near, {}, 1.0), "default")) == []


def test_a_failed_comparison_is_noted():
    """The running integral of a flux that keeps its sign over all lags has no first dip."""
    swing = np.cos(np.pi * (np.arange(300) + 0.5) / 300)[:, None]
    flux = swing + 0.01 * np.random.default_rng(1).standard_normal((300, 3))
    result = fluxan.green_kubo(flux, **LJ)
    assert "running" not in result.estimates
    assert any(note.startswith("running gave no estimate: the correlation stays positive") for note in result.notes)
    with pytest.raises(InputError, match="stays positive"):
        fluxan.green_kubo(flux, method="running", **LJ)


def test_drifts_warn(dataset):
    quiet = fluxan.green_kubo(dataset)
    assert not any("drifts" in warning for warning in quiet.warnings)
    ramp = np.linspace(-1, 1, 4000)
    dataset["temperature"] = dataset["temperature"] + 10 * ramp
    dataset["potential_energy"] = dataset["potential_energy"] + 3 * ramp
    loud = fluxan.green_kubo(dataset)
    assert sum("drifts" in warning for warning in loud.warnings) == 2
    assert loud.diagnostics.temperature_drift == pytest.approx(20, abs=1)
    assert loud.diagnostics.energy_drift == pytest.approx(6, abs=0.5)
    assert "warning: the temperature drifts by +" in str(loud)


def test_level_error_covers():
    off = []
    for seed in range(200):
        level = StationaryMean.of(Series(((1.0, 5),)).sample(4000, components=1, rng=np.random.default_rng(seed))[:, 0])
        off.append(level.mean / level.error)
    assert 0.58 < (np.abs(off) < 1).mean() < 0.78
    assert np.std(off) == pytest.approx(1, abs=0.2)


def test_printed_result():
    text = str(fluxan.green_kubo(sample("B"), dt=0.001, volume=100.0, temperature=300.0))
    assert text.startswith("κ = ")
    assert "W/(m K)" in text


def _nan_in(flux):
    flux = flux.copy()
    flux[123, 1] = np.nan
    return flux


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flux": _nan_in(np.ones((200, 3)))}, "frame 123 is not finite"),
        ({"flux": np.ones((200, 4))}, r"shape \(200, 4\)"),
        ({"flux": np.ones((200, 2, 2))}, r"shape \(200, 2, 2\)"),
        ({"flux": np.random.default_rng(0).standard_normal((20, 3))}, r"20 samples \(20 ps\); a conductivity needs 64"),
        ({"flux": np.zeros((200, 3))}, "does not fluctuate"),
        ({"flux": np.array([["a"] * 3] * 200)}, "real numbers"),
        ({"dt": None}, "dt="),
        ({"dt": 0.0}, "dt is 0.0, expected a positive number in ps"),
        ({"dt": np.nan}, "dt is nan"),
        ({"volume": None}, "no volume"),
        ({"volume": 0.0}, "volume is 0.0, expected a positive number in Å³"),
        ({"temperature": None}, "give temperature="),
        ({"temperature": 0.0}, "temperature is 0.0, expected a positive number in K"),
        ({"temperature": -3}, "temperature is -3"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"units": "si"}, "units is 'si'"),
        ({"method": "guess"}, "method is 'guess'"),
        ({"compare": ("guess",)}, "compare is 'guess'"),
        ({"components": 2}, "components is 2"),
        ({"remove": "mean"}, "remove is 'mean'"),
        ({"remove": "mean-virial"}, "needs a Dataset"),
        ({"velocity": np.ones((199, 2, 3))}, r"velocity has the shape \(199, 2, 3\)"),
        ({"components": "multi"}, "two species or more"),
        ({"flux": "/nowhere/flux.nc"}, "no such file"),
        ({"flux": 7}, "expected a flux Dataset"),
    ],
)
def test_refused(change, message):
    arguments = {"flux": np.random.default_rng(0).standard_normal((200, 3)), **LJ} | change
    with pytest.raises(FluxanError, match=message) as caught:
        fluxan.green_kubo(arguments.pop("flux"), **arguments)
    assert "\n" not in str(caught.value)


def _with(dataset, **columns):
    for name, values in columns.items():
        dataset[name] = (dataset[name].dims, values)
    return dataset


def test_refused_datasets(dataset):
    time, volume = dataset["time"].values, dataset["volume"].values
    gap = time + np.where(np.arange(4000) > 99, 0.004, 0.0)
    with pytest.raises(InputError, match=r"times are not equidistant: 0\.005 ps between frames 99 and 100"):
        fluxan.green_kubo(_with(dataset.copy(), time=gap))
    with pytest.raises(InputError, match="times are not equidistant"):
        fluxan.green_kubo(_with(dataset.copy(), time=time**1.1))
    with pytest.raises(InputError, match="no volume"):
        fluxan.green_kubo(_with(dataset.copy(), volume=volume * np.nan))
    with pytest.raises(InputError, match=r"volume is 0\.0"):
        fluxan.green_kubo(_with(dataset.copy(), volume=volume * 0))
    with pytest.raises(InputError, match=r"temperature is 0\.0"):
        fluxan.green_kubo(_with(dataset.copy(), temperature=volume * 0))
    with pytest.raises(InputError, match="temperature of frame 7 is not finite"):
        fluxan.green_kubo(_with(dataset.copy(), temperature=np.where(np.arange(4000) == 7, np.nan, 300.0)))
    kinetic = dataset["kinetic"].values.copy()
    kinetic[2222, 1, 2] = np.inf
    with pytest.raises(InputError, match="frame 2222 is not finite"):
        fluxan.green_kubo(_with(dataset.copy(), kinetic=kinetic))
    frames = dataset.assign_attrs(time_unit="frame")
    with pytest.raises(InputError, match="counts frames"):
        fluxan.green_kubo(frames)
    assert fluxan.green_kubo(frames, dt=0.001).kappa == pytest.approx(fluxan.green_kubo(dataset).kappa, rel=1e-6)
    with pytest.raises(InputError, match="a Dataset holds its own"):
        fluxan.green_kubo(dataset, velocity=np.ones((4000, 2, 3)))


def test_a_cluster_is_given_its_volume(dataset):
    cluster = _with(dataset.copy(), volume=np.full(4000, np.nan))
    assert fluxan.green_kubo(cluster, volume=1000.0).kappa == fluxan.green_kubo(dataset).kappa


def test_flat_band_ends_at_the_corner():
    from fluxan.greenkubo.zero_frequency import flat_band

    series = SERIES["one mode"]
    f = np.arange(1, 20_000) / 40_000
    spectrum = Spectrum.of(f, series.spectrum(f), dof=6.0)
    assert flat_band(spectrum, 2 * series.integral) == pytest.approx(1 / (2 * np.pi * 20), rel=0.5)
    assert flat_band(Spectrum.of(f, np.ones_like(f), dof=6.0), 1.0) == f[-1]

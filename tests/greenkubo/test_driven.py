"""κ from the mean flux under a driving force, from series whose mean and correlations are known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray

import fluxan
from fluxan.errors import InputError, ShortRunError
from fluxan.greenkubo.driven import driven_conductivity
from fluxan.units import BOLTZMANN, CONDUCTIVITY

VOLUME, TEMPERATURE, DT = 9000.0, 300.0, 0.02
FIELD = np.array([0.0, 3e-3, 4e-3])
STRENGTH = 5e-3
KAPPA = 2.0


def run(n=4000, *, seed=0, noise=1.0, memory=0.9, rise=0.0, heating=0.0, target=TEMPERATURE):
    """A flux of two elements with the mean that κ requires, and its parts of κ; noise is relative to that of κ."""
    rng = np.random.default_rng(seed)
    parts = KAPPA * np.array([[0.5, 0.1], [0.1, 0.3]])
    mean = parts * VOLUME * TEMPERATURE * STRENGTH / CONDUCTIVITY
    steps = rng.standard_normal((n, 2, 2, 3)) * np.sqrt(1 - memory**2)
    steps[0] /= np.sqrt(1 - memory**2)
    for k in range(1, n):
        steps[k] += memory * steps[k - 1]
    grown = 1.0 - np.exp(-np.arange(n) * DT / rise) if rise else np.ones(n)
    # Four independent parts, S(0) = σ² Δt (1 + memory)/(1 − memory) of each.
    density = 2 * VOLUME * BOLTZMANN * TEMPERATURE**2 * KAPPA / CONDUCTIVITY
    width = np.sqrt(density / (4 * DT * (1 + memory) / (1 - memory)))
    virial = noise * width * steps + grown[:, None, None, None] * mean[..., None] * FIELD / STRENGTH
    own = np.zeros((n, 2, 3))
    temperature = TEMPERATURE * (1 + heating) + rng.normal(scale=5.0, size=n)
    time = {"time": np.arange(1, n + 1) * DT, "owner": ["Si", "C"], "carrier": ["Si", "C"]}
    columns = dict.fromkeys(("kinetic", "convective", "velocity"), (("time", "carrier", "xyz"), own))
    columns |= {name: ("time", np.full(n, value)) for name, value in (("volume", VOLUME), ("potential_energy", -1.0))}
    columns |= {"potential": (("time", "owner", "carrier", "xyz"), virial), "temperature": ("time", temperature)}
    attributes = {"driving_force": FIELD, "time_unit": "ps", "thermostat_temperature": target}
    return xarray.Dataset(columns, time, attributes), parts


def test_mean_flux_gives_kappa_and_its_parts():
    dataset, parts = run(noise=0.3)
    result = driven_conductivity(dataset)
    assert result.kappa == pytest.approx(KAPPA, abs=4 * result.error)
    assert result.error < 0.1 * KAPPA
    assert result.matrix.sum() == pytest.approx(result.kappa, rel=1e-12)
    np.testing.assert_allclose(result.by_carrier, result.matrix.sum(axis=0), rtol=1e-12)
    assert (np.abs(result.matrix - parts) < 4.5 * result.matrix_error).all()
    assert result.response @ FIELD / STRENGTH == pytest.approx(result.kappa, rel=1e-12)
    np.testing.assert_allclose(result.response, KAPPA * FIELD / STRENGTH, atol=4.5 * result.response_error.max())
    assert result.strength == pytest.approx(STRENGTH)
    assert result.labels == ("Si", "C")
    assert result.warnings == ()
    assert "κ" in repr(result)


def test_plain_mean_over_what_is_not_discarded():
    dataset, _ = run(n=1600)
    result = driven_conductivity(dataset, discard=0.0, temperature=TEMPERATURE)
    flux = fluxan.total_flux(dataset).values.mean(axis=0) @ FIELD / STRENGTH
    expected = flux * CONDUCTIVITY / (VOLUME * TEMPERATURE * STRENGTH)
    assert result.kappa == pytest.approx(expected, rel=1e-12)
    assert result.running.value[-1] == pytest.approx(expected, rel=1e-12)
    assert result.running.error[-1] == pytest.approx(result.error, rel=1e-12)
    assert result.running.x[-1] == pytest.approx(1600 * DT)
    later = driven_conductivity(dataset, discard=800 * DT, temperature=TEMPERATURE)
    halves = fluxan.total_flux(dataset).values[800:].mean(axis=0) @ FIELD / STRENGTH
    assert later.kappa == pytest.approx(halves * CONDUCTIVITY / (VOLUME * TEMPERATURE * STRENGTH), rel=1e-12)
    assert later.discarded == pytest.approx(16.0)


def test_errors_cover_the_true_value():
    """A standard error from 16 blocks: Student's t with 15 degrees of freedom, 1σ 67 %, 2σ 94 %."""
    scores = []
    for seed in range(150):
        dataset, _ = run(n=1600, seed=seed, noise=1.0, memory=0.8)
        result = driven_conductivity(dataset, temperature=TEMPERATURE)
        scores.append((result.kappa - KAPPA) / result.error)
    scores = np.abs(scores)
    assert 0.55 < (scores < 1).mean() < 0.79
    assert 0.88 < (scores < 2).mean() < 0.985


def test_error_of_linear_response_and_the_length_for_a_goal():
    """White noise of the strength that fluctuation and dissipation require has the expected error."""
    dataset, _ = run(n=6400, noise=0.0)
    rng = np.random.default_rng(4)
    # S(0) = 2 V k_B T² κ of every component, all of it in one part.
    density = 2 * VOLUME * BOLTZMANN * TEMPERATURE**2 * KAPPA / CONDUCTIVITY
    dataset["potential"][:, 0, 0] += rng.normal(scale=np.sqrt(density / DT), size=(6400, 3))
    result = driven_conductivity(dataset, temperature=TEMPERATURE)
    assert result.error == pytest.approx(result.expected_error * np.sqrt(KAPPA / result.kappa), rel=0.5)
    longer = result.length_for(0.5 * result.error / result.kappa)
    assert longer == pytest.approx(4 * result.length, rel=1e-9)


def test_the_temperatures_error_counts():
    dataset, _ = run()
    result = driven_conductivity(dataset)
    extra = result.kappa * result.temperature_error / result.temperature
    statistical = max(result.block_error, result.expected_error)
    assert result.error == pytest.approx(np.hypot(statistical, extra), rel=1e-12)
    assert driven_conductivity(dataset, temperature=TEMPERATURE).temperature_error == 0


def test_errors_are_not_below_those_of_linear_response():
    """Blocks shorter than correlations scatter too little about their own mean; κ itself tells how much is missing."""
    results = [driven_conductivity(run(memory=0.999, seed=seed)[0], temperature=TEMPERATURE) for seed in range(30)]
    too_small = [r.block_error < 0.7 * r.expected_error for r in results]
    assert sum(too_small) > 10
    assert all(r.error >= r.expected_error for r in results)
    inside = [abs(r.kappa - KAPPA) < 2 * r.error for r in results]
    assert sum(inside) >= 25


def test_long_runs_are_averaged_in_bins(monkeypatch):
    from fluxan.greenkubo import driven as module
    from fluxan.series import heat_flux_series

    dataset, _ = run(n=3200)
    whole = driven_conductivity(dataset, discard=0.0)
    monkeypatch.setattr(module, "_MAX_POINTS", 64)
    monkeypatch.setattr(heat_flux_series, "BLOCK_SIZE", 700)
    binned = driven_conductivity(dataset, discard=0.0)
    assert binned.kappa == pytest.approx(whole.kappa, rel=1e-12)
    assert binned.error == pytest.approx(whole.error, rel=1e-9)
    assert len(binned.running.x) == 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heating": 0.05}, "K above the thermostat's: the driving force heats"),
        ({"heating": -0.05}, "K below the thermostat's: thermalise longer"),
        ({"rise": 160.0, "noise": 0.1, "n": 16_000}, "the halves of the run differ: κ changes by "),
    ],
)
def test_doubts_are_told(settings, message):
    dataset, _ = run(**settings)
    result = driven_conductivity(dataset)
    assert any(message in warning for warning in result.warnings)


def test_correlations_longer_than_blocks_are_told():
    """Blocks of 225 samples: over half of all runs are doubted if a noise decays in 500, hardly any if it is white."""
    doubted = {}
    for memory in (0.998, 0.0):
        results = [driven_conductivity(run(memory=memory, seed=seed)[0]) for seed in range(25)]
        doubted[memory] = sum(any("correlated" in w or "halves" in w for w in r.warnings) for r in results)
    assert doubted[0.998] > 12
    assert doubted[0.0] < 4


def test_negative_kappa_is_told():
    dataset, _ = run(noise=0.1)
    dataset.attrs["driving_force"] = -FIELD
    assert any("κ is negative" in warning for warning in driven_conductivity(dataset).warnings)


def test_the_start_in_which_the_response_builds_up_is_discarded():
    dataset, _ = run(rise=0.5, noise=0.05)
    result = driven_conductivity(dataset)
    assert result.kappa == pytest.approx(KAPPA, abs=4 * result.error)
    assert result.warnings == ()


def test_what_cannot_be_used_is_refused(tmp_path):
    dataset, _ = run(n=200)
    with pytest.raises(InputError, match="under a driving force"):
        fluxan.green_kubo(dataset)
    with pytest.raises(InputError, match="discard is -1"):
        driven_conductivity(dataset, discard=-1)
    with pytest.raises(ShortRunError, match="200 samples, of which 190 are discarded"):
        driven_conductivity(dataset, discard=3.8)
    broken = dataset.copy(deep=True)
    broken["potential"][150, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="is not finite"):
        driven_conductivity(broken)
    del dataset.attrs["driving_force"]
    with pytest.raises(InputError, match="not of a run under a driving force"):
        driven_conductivity(dataset)

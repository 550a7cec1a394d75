"""The virial-velocity correlation against double loops, and its state against an uninterrupted run."""

from __future__ import annotations

import numpy as np
import pytest

from fluxan.correlation.virial_velocity import VirialVelocityCorrelator
from fluxan.errors import InputError, ShortRunError

GROUPS = np.array([1, 0, 2, 1, 0])


def series(n, n_atoms=5, seed=0):
    """Correlated u and v, with means: v follows u by three samples."""
    rng = np.random.default_rng(seed)
    u, v = rng.normal(0.3, 1, (2, n, n_atoms, 3))
    v[3:] += 2 * u[:-3]
    return u, v


def by_double_loop(u, v, groups, max_lag):
    """Sums and counts of all pairs of samples at each lag, (n_groups, n_lags) and (n_lags,)."""
    n = len(u)
    sums = np.zeros((groups.max() + 1, 2 * max_lag + 1))
    counts = np.zeros(2 * max_lag + 1, dtype=int)
    for s in range(n):
        for t in range(max(0, s - max_lag), min(n, s + max_lag + 1)):
            np.add.at(sums[:, t - s + max_lag], groups, (u[s] * v[t]).sum(axis=1))
            counts[t - s + max_lag] += 1
    return sums, counts


def updated(correlator, u, v, cuts=()):
    for a, b in zip([0, *cuts], [*cuts, len(u)], strict=True):
        correlator.update(u[a:b], v[a:b])
    return correlator


@pytest.mark.parametrize(("n", "max_lag"), [(5, 1), (40, 39), (128, 7), (300, 20), (400, 128), (520, 129), (700, 300)])
def test_every_lag_and_group_is_that_of_a_double_loop(n, max_lag):
    u, v = series(n)
    correlation = updated(VirialVelocityCorrelator(GROUPS, max_lag=max_lag, time_step=0.5), u, v).correlation()
    sums, counts = by_double_loop(u, v, GROUPS, max_lag)
    np.testing.assert_array_equal(correlation.counts.sum(axis=0), counts)
    np.testing.assert_allclose(correlation.values, (sums / counts).T, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(correlation.lags, np.arange(-max_lag, max_lag + 1))
    np.testing.assert_array_equal(correlation.times, 0.5 * correlation.lags)
    if max_lag > 3:
        assert correlation.lags[correlation.values.sum(axis=1).argmax()] == 3


def test_zero_lag_is_the_mean_over_all_samples():
    u, v = series(1000)
    correlation = updated(VirialVelocityCorrelator(GROUPS, max_lag=150), u, v).correlation()
    expected = np.einsum("tjx,tjx->", u, v) / 1000
    assert correlation.values[150].sum() == pytest.approx(expected, rel=1e-14)


def test_a_reversed_series_has_the_reversed_correlation():
    u, v = series(500)
    forward = updated(VirialVelocityCorrelator(GROUPS, max_lag=60), u, v).correlation().values
    backward = updated(VirialVelocityCorrelator(GROUPS, max_lag=60), u[::-1], v[::-1]).correlation().values
    np.testing.assert_allclose(backward, forward[::-1], rtol=0, atol=1e-12)
    exchanged = updated(VirialVelocityCorrelator(GROUPS, max_lag=60), v, u).correlation().values
    np.testing.assert_allclose(exchanged, forward[::-1], rtol=0, atol=1e-12)
    assert np.abs(forward - forward[::-1]).max() > 1


def same_bits(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), name


@pytest.mark.parametrize("cuts", [(1, 2, 3, 127, 128, 129), (400,), (64, 500, 650), tuple(range(1, 700))])
def test_interruptions_leave_every_bit(cuts):
    u, v = series(700)
    whole = updated(VirialVelocityCorrelator(GROUPS, max_lag=140), u, v)
    parts = VirialVelocityCorrelator(GROUPS, max_lag=140)
    for a, b in zip([0, *cuts], [*cuts, len(u)], strict=True):
        if parts.n_samples > 140:
            parts.correlation()  # a look at the result in between changes nothing
        parts = VirialVelocityCorrelator.from_state(parts.state())
        if b - a == 1:
            parts.update(u[a], v[a])
        else:
            parts.update(u[a:b], v[a:b])
    same_bits(parts.state(), whole.state())
    assert parts.correlation().values.tobytes() == whole.correlation().values.tobytes()


def test_a_state_is_a_copy():
    u, v = series(300)
    correlator = updated(VirialVelocityCorrelator(GROUPS, max_lag=20), u[:200], v[:200])
    state = correlator.state()
    before = {name: array.copy() for name, array in state.items()}
    correlator.update(u[200:], v[200:])
    same_bits(state, before)


def test_blocks_of_a_long_series():
    """Beyond 32 batches blocks are merged; each is the sum over its own pairs."""
    u, v = series(20_000, n_atoms=2)
    groups = np.array([0, 1])
    correlation = updated(VirialVelocityCorrelator(groups, max_lag=5, block=3000), u, v).correlation()
    sizes = correlation.n_samples
    assert sizes.sum() == 20_000
    assert len(sizes) >= 4
    assert sizes.min() >= 3000
    start = 0
    for size, values in zip(sizes, correlation.block_values, strict=True):
        stop = start + size
        for lag in range(-5, 6):
            later = np.arange(max(start, abs(lag)), stop)
            a, b = (later - lag, later) if lag >= 0 else (later, later + lag)
            expected = (u[a] * v[b]).sum(axis=2).mean(axis=0)
            np.testing.assert_allclose(values[lag + 5], expected, rtol=0, atol=1e-12)
        start = stop


def test_independent_runs_are_pooled():
    runs = [series(n, seed=n) for n in (300, 170, 420)]
    correlators = [updated(VirialVelocityCorrelator(GROUPS, max_lag=30), *run) for run in runs]
    first, *others = correlators
    for other in others:
        first.combine(other)
    expected = [by_double_loop(u, v, GROUPS, 30) for u, v in runs]
    sums, counts = (sum(parts) for parts in zip(*expected, strict=True))
    assert first.n_samples == 890
    np.testing.assert_allclose(first.correlation().values, (sums / counts).T, rtol=0, atol=1e-12)
    again = VirialVelocityCorrelator.from_state(first.state())
    same_bits(again.state(), first.state())
    empty = VirialVelocityCorrelator(GROUPS, max_lag=30)
    empty.combine(first)
    np.testing.assert_array_equal(empty.correlation().values, first.correlation().values)


def test_memory_of_the_state():
    correlator = VirialVelocityCorrelator(np.zeros(100, dtype=int), max_lag=1000)
    size = sum(array.size for array in correlator.state().values())
    assert size < 6 * (1000 + 256) * 100 + 33 * 2 * 2001 + 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": [0.0, 1.0], "max_lag": 3}, "groups must be"),
        ({"groups": [0, -1], "max_lag": 3}, "groups must be"),
        ({"groups": [], "max_lag": 3}, "groups must be"),
        ({"groups": [0, 1], "max_lag": 0}, "max_lag is 0"),
        ({"groups": [0, 1], "max_lag": 2.5}, "max_lag is 2.5"),
        ({"groups": [0, 1], "max_lag": 3, "block": 0}, "block is 0"),
        ({"groups": [0, 1], "max_lag": 3, "time_step": -1.0}, "time_step is -1.0"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    groups = arguments.pop("groups")
    with pytest.raises(InputError, match=message):
        VirialVelocityCorrelator(groups, **arguments)


def test_wrong_samples_are_refused_and_not_added():
    correlator = VirialVelocityCorrelator(GROUPS, max_lag=3)
    u, v = series(10)
    with pytest.raises(InputError, match=r"u has the shape \(4, 3\), expected \(5, 3\)"):
        correlator.update(u[0, :4], v[0, :4])
    with pytest.raises(InputError, match="u has 4 samples, v has 5"):
        correlator.update(u[:4], v[:5])
    broken = v.copy()
    broken[7, 2, 1] = np.nan
    with pytest.raises(InputError, match="v of atom 2 is not finite"):
        correlator.update(u, broken)
    assert correlator.n_samples == 0
    correlator.update(u[:3], v[:3])
    with pytest.raises(ShortRunError, match="3 samples have no pair at the longest lag of 3 samples"):
        correlator.correlation()


def test_other_settings_are_not_combined():
    correlator = updated(VirialVelocityCorrelator(GROUPS, max_lag=3), *series(10))
    for other in (
        VirialVelocityCorrelator(GROUPS, max_lag=4),
        VirialVelocityCorrelator(GROUPS, max_lag=3, time_step=2.0),
        VirialVelocityCorrelator(GROUPS[::-1], max_lag=3),
        "a correlator",
    ):
        with pytest.raises(InputError):
            correlator.combine(other)
    with pytest.raises(ShortRunError):
        correlator.combine(VirialVelocityCorrelator(GROUPS, max_lag=3))


@pytest.mark.parametrize("name", ["u", "settings", "counters"])
def test_an_incomplete_state_is_refused(name):
    state = updated(VirialVelocityCorrelator(GROUPS, max_lag=3), *series(10)).state()
    with pytest.raises(InputError, match="not the state of a virial-velocity correlator"):
        VirialVelocityCorrelator.from_state({key: array for key, array in state.items() if key != name})
    with pytest.raises(InputError):
        VirialVelocityCorrelator.from_state(state | {name: state[name][:1]})

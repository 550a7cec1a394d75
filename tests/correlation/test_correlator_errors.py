"""What users can do wrong, and the one line they get."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxan.correlation import Correlator
from fluxan.errors import FileError, InputError, OutputError

X = np.random.default_rng(0).standard_normal((3000, 3))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_channels": 0}, "n_channels is 0, expected a whole number of at least 1"),
        ({"n_channels": 2.5}, "n_channels is 2.5"),
        ({"max_lag": 0}, "max_lag is 0"),
        ({"scheme": "fft"}, "scheme is 'fft', expected 'linear' or 'multitau'"),
        ({"pairs": "cross"}, "pairs is 'cross', expected 'all'"),
        ({"pairs": "same-xyz", "n_channels": 4}, "multiple of 3 channels, got 4"),
        ({"pairs": [(0, 3)]}, r"pairs names \(0, 3\), channels are 0 to 2"),
        ({"pairs": [(0, 1), (0, 1)]}, r"pairs names \(0, 1\) twice"),
        ({"pairs": []}, "pairs is empty"),
        ({"pairs": [1, 2]}, "pairs must be a word or a list of pairs"),
        ({"time_step": 0.0}, "time_step is 0.0, expected a positive time"),
        ({"points_per_level": 4}, "points_per_level is 4"),
        ({"segment": 5}, "segment is 5, expected a whole number of at least 10"),
        ({"start": -1}, "start is -1"),
    ],
)
def test_settings(wrong, message):
    with pytest.raises(InputError, match=message):
        Correlator(**({"n_channels": 3, "max_lag": 10} | wrong))


@pytest.mark.parametrize("scheme", ["linear", "multitau"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(scheme, value):
    correlator = Correlator(3, max_lag=10, scheme=scheme)
    correlator.update(X[:100])
    correlator.update(X[100])
    bad = X[101:2000].copy()
    bad[70, 2] = value
    with pytest.raises(InputError, match=f"sample 171 of the series is {value} in channel 2"):
        correlator.update(bad)
    with pytest.raises(InputError, match="sample 101 of the series"):
        correlator.update(bad[70])
    correlator.update(X[101:])
    assert correlator.n_samples == 3000
    assert np.isfinite(correlator.correlation().values).all()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (X[:, :2], r"shape \(3000, 2\), expected \(n, 3\) or \(3,\)"),
        (X[0, :2], r"shape \(2,\)"),
        (X[None], r"shape \(1, 3000, 3\)"),
        (1.0, r"shape \(\)"),
        (X + 1j, "complex128, expected real numbers"),
        ([["a", "b", "c"]], "expected real numbers"),
    ],
)
def test_samples_of_a_wrong_kind(samples, message):
    correlator = Correlator(3, max_lag=10)
    with pytest.raises(InputError, match=message):
        correlator.update(samples)
    assert correlator.n_samples == 0


def test_large_finite_samples_are_taken():
    correlator = Correlator(3, max_lag=2)
    correlator.update(np.full(3, 1e308))  # their sum overflows, they do not
    assert correlator.n_samples == 1


def test_quantities_that_are_undefined_are_refused():
    linear, multitau = Correlator(3, max_lag=10), Correlator(3, max_lag=10, scheme="multitau")
    for ask in (linear.correlation, linear.mean, multitau.level_covariances):
        with pytest.raises(InputError, match="no samples yet"):
            ask()
    linear.update(X[:1000])
    with pytest.raises(InputError, match="1000 samples fill no segment of 1024"):
        linear.spectrum()
    with pytest.raises(InputError, match="need scheme='multitau'"):
        linear.level_covariances()
    with pytest.raises(InputError, match="need scheme='linear'"):
        multitau.spectrum()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "state.nc"
    correlator = Correlator(1, max_lag=10, scheme="multitau")
    correlator.update(X[:50, :1])
    correlator.save(path)
    return path


def test_missing_and_foreign_files(tmp_path, saved):
    with pytest.raises(FileError, match="no such file"):
        Correlator.load(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("not a state")
    with pytest.raises(FileError, match="schema 'none', expected 'fluxan correlator 1'"):
        Correlator.load(tmp_path / "text.nc")
    with netCDF4.Dataset(tmp_path / "other.nc", "w", format="NETCDF3_64BIT_DATA") as file:
        file.setncattr("Conventions", "AMBER")
    with pytest.raises(FileError, match="schema 'none', expected 'fluxan correlator 1'"):
        Correlator.load(tmp_path / "other.nc")
    (tmp_path / "newer.nc").write_bytes(saved.read_bytes().replace(b"fluxan correlator 1", b"fluxan correlator 9"))
    with pytest.raises(FileError, match="schema 'fluxan correlator 9'"):
        Correlator.load(tmp_path / "newer.nc")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_or_damaged_files_give_one_line(tmp_path, saved, data):
    content = saved.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content = content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    path = tmp_path / "damaged.nc"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"^[^\n]*(cut short or damaged|not a correlator of this version)[^\n]*$"):
        Correlator.load(path)


def test_an_output_that_cannot_be_written_leaves_the_old_one(tmp_path, saved):
    correlator = Correlator(1, max_lag=10)
    with pytest.raises(OutputError, match="cannot be written"):
        correlator.save(tmp_path / "no" / "state.nc")
    (tmp_path / "folder.nc").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        correlator.save(tmp_path / "folder.nc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.nc"]
    assert Correlator.load(saved).n_samples == 50

"""`Recording`, what all recorders share, against `decompose` of the same frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fluxan
from fluxan.errors import InputError, OutputError, TrajectoryError
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.md.recording import Recording
from fluxan.neighbors import build_graph
from fluxan.series import flux_writer as module
from fluxan.series.conversion import split_of_dataset
from fluxan.series.flux_writer import channels
from fluxan.series.schema import VARIABLES
from tests.systems import argon_krypton

MODEL = "shipped:ar-kr"
FRAMES = list(argon_krypton(9))


@pytest.fixture(scope="module")
def evaluator():
    return FluxEvaluator(fluxan.load_model(MODEL), FRAMES[0].numbers)


@pytest.fixture(scope="module")
def fluxes(evaluator):
    return [evaluator.flux(frame, build_graph(frame, evaluator.model.cutoff)) for frame in FRAMES]


@pytest.fixture
def record(evaluator, fluxes):
    def recorder(frames=range(9), **options):
        recording = Recording(evaluator, name="run", **options)
        for k in frames:
            recording.add(FRAMES[k], fluxes[k])
        return recording

    return recorder


def same(a, b):
    return all(np.array_equal(a[name].values, b[name].values) for name in VARIABLES)


def test_dataset_is_that_of_decompose(record, tmp_path):
    expected = fluxan.decompose(FRAMES, MODEL, progress=False)
    found = {"memory": record(), "file": record(output=tmp_path / "flux.nc", chunk=4)}
    for recording in found.values():
        dataset = recording.dataset()
        for name in VARIABLES:
            value = expected[name].values
            np.testing.assert_allclose(dataset[name], value, rtol=1e-12, atol=1e-12 * np.abs(value).max())
        for name in ("model_sha256", "groups_sha256", "route", "time_unit", "periodic", "fluxan_version"):
            assert dataset.attrs[name] == expected.attrs[name], name
        assert dataset.attrs["time_step"] == pytest.approx(0.01)
        assert dataset.attrs["n_atoms"] == 32
    assert same(found["memory"].dataset(), found["file"].dataset())


def test_chunk_size_and_early_reading_change_nothing(record, tmp_path, monkeypatch):
    whole = record(output=tmp_path / "whole.nc")
    chunks = record(output=tmp_path / "chunks.nc", chunk=2)
    monkeypatch.setattr(module, "MAX_DELAY", -1.0)
    hasty = record(output=tmp_path / "hasty.nc")
    with fluxan.open_flux(tmp_path / "hasty.nc") as early:
        assert early.sizes["time"] == 8  # on the disk before anybody asked, by twos
    assert same(whole.dataset(), chunks.dataset())
    assert same(whole.dataset(), hasty.dataset())


@pytest.mark.parametrize("n_channels", [3, 6, 12])
def test_correlator_receives_the_fluxes_of_the_dataset(record, fluxes, n_channels):
    correlator = fluxan.Correlator(n_channels, max_lag=3)
    recording = record(correlator=correlator)
    dataset = record().dataset()
    split = {3: "total", 6: "carrier", 12: "owner-carrier"}[n_channels]
    samples = split_of_dataset(dataset, split)[0].reshape(9, -1)
    np.testing.assert_allclose([channels(flux, n_channels) for flux in fluxes], samples, rtol=1e-12, atol=1e-14)
    assert correlator.n_samples == recording.n_frames == 9
    with pytest.raises(InputError, match="9 fluxes went into the correlator and were not kept"):
        recording.dataset()


def test_wrong_correlators_are_refused(record):
    with pytest.raises(
        InputError, match=r"4 channels; for 2 groups give 3 \(the total\), 6 \(carriers\) or 12 \(owner"
    ):
        record(correlator=fluxan.Correlator(4, max_lag=3))


def test_a_file_continues_after_the_requested_frame(record, tmp_path):
    path = tmp_path / "flux.nc"
    record(range(5), output=path, chunk=3).close()
    with pytest.raises(OutputError, match="exists; resume it, overwrite it"):
        record(output=path, chunk=3)
    record(range(3, 9), output=path, chunk=3, resume=3).close()
    record(output=tmp_path / "whole.nc", chunk=3).close()
    with fluxan.open_flux(path) as a, fluxan.open_flux(tmp_path / "whole.nc") as b:
        assert same(a, b)
    with pytest.raises(OutputError, match="it holds 9 frames, 40 were expected"):
        record(output=path, chunk=3, resume=40)
    with pytest.raises(OutputError, match="chunk_frames"):
        record(output=path, chunk=4, resume=3)
    record(range(2), output=path, overwrite=True).close()
    assert fluxan.open_flux(path).sizes["time"] == 2


def test_bad_fluxes_stop_it_and_keep_what_was_before(record, fluxes, tmp_path):
    recording = record(range(3), output=tmp_path / "flux.nc")
    bad = replace(fluxes[3], potential=fluxes[3].potential * np.nan)
    with pytest.raises(TrajectoryError, match=r"run, flux 3 at 0.03 ps: the flux is \[nan"):
        recording.add(FRAMES[3], bad)
    fewer = FRAMES[3].replace(
        positions=FRAMES[3].positions[1:],
        velocities=FRAMES[3].velocities[1:],
        numbers=FRAMES[3].numbers[1:],
        masses=None,
    )
    with pytest.raises(TrajectoryError, match="there are 31 atoms, there were 32 before"):
        recording.add(fewer, fluxes[3])
    with pytest.raises(TrajectoryError, match=r"atom 0 \(counted from 0\) is of element"):
        recording.add(FRAMES[3].replace(numbers=54 - FRAMES[3].numbers, masses=None), fluxes[3])
    assert recording.dataset().sizes["time"] == 3


def test_uneven_times_and_drifts_warn_once(record, evaluator, fluxes):
    recording = record(range(2))
    with pytest.warns(UserWarning, match="the frame at 0.05 ps is 0.04 ps after the one before, 0.01 ps was expected"):
        recording.add(FRAMES[5], fluxes[5])
    recording.add(FRAMES[8], fluxes[8])
    moving = FRAMES[0].replace(velocities=FRAMES[0].velocities + 30.0)
    with pytest.warns(UserWarning, match="the centre of mass moves"):
        Recording(evaluator, name="run").add(moving, fluxes[0])


def test_nothing_recorded_yet(record):
    with pytest.raises(InputError, match="no flux was recorded yet"):
        record(range(0)).dataset()

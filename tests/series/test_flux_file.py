"""The Dataset's shape, units and file: readable by others, growing safely."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
import xarray

import fluxan
from fluxan.errors import FileError, OutputError
from fluxan.series.flux_dataset import is_flux_file, open_flux
from fluxan.series.flux_file import FluxFile
from fluxan.series.schema import INTEGER, VARIABLES
from tests.systems import argon_krypton

LABELS = ("Ar", "Krypton ä")


def columns(n_frames, *, seed=0):
    rng = np.random.default_rng(seed)
    sizes = {"time": n_frames, "owner": 2, "carrier": 2, "xyz": 3}
    arrays = {name: rng.normal(size=[sizes[d] for d in dims]) for name, (dims, _, _) in VARIABLES.items()}
    return arrays | {name: rng.integers(-(2**62), 2**62, n_frames) for name in INTEGER}


def begun(path, *, chunk=4, **attributes):
    file = FluxFile(path, LABELS, {"model_sha256": "abc"} | attributes, chunk)
    file.create({"fluxan_version": "1"})
    return file


def test_file_gives_back_every_bit(tmp_path):
    file, first, second = begun(tmp_path / "flux.nc"), columns(4), columns(3, seed=1)
    file.write(first)
    file.write(second)
    file.close()
    with open_flux(tmp_path / "flux.nc") as dataset:
        assert dict(dataset.sizes)["time"] == 7
        assert list(dataset["carrier"].values) == list(LABELS)
        for name in VARIABLES:
            assert np.array_equal(dataset[name].values, np.concatenate([first[name], second[name]])), name


def test_file_is_classic_netcdf_that_others_read(tmp_path):
    file = begun(tmp_path / "flux.nc")
    file.write(columns(2))
    file.close()
    assert (tmp_path / "flux.nc").read_bytes()[:4] == b"CDF\x05"
    with xarray.open_dataset(tmp_path / "flux.nc", decode_times=False) as dataset:
        assert dataset["potential"].dims == ("time", "owner", "carrier", "xyz")
        assert dataset["potential"].attrs["units"] == "eV angstrom/ps"
        assert dataset["time"].attrs["units"] == "ps"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_file_that_grows_while_it_is_opened(tmp_path, monkeypatch, moment):
    """The number of whole frames and that of records are read at two moments."""
    file, parts = begun(tmp_path / "flux.nc"), [columns(4, seed=seed) for seed in range(2)]
    file.write(parts[0])
    opened = xarray.open_dataset

    def grown(*arguments, **options):
        if moment == "before":
            file.write(parts[1])
        dataset = opened(*arguments, **options)
        if moment == "after":
            file.write(parts[1])
        return dataset

    monkeypatch.setattr(xarray, "open_dataset", grown)
    with open_flux(tmp_path / "flux.nc") as dataset:
        for name in VARIABLES:
            assert np.array_equal(dataset[name].values, parts[0][name]), name
    file.close()


def test_incomplete_frames_are_not_read(tmp_path):
    """What a killed writer leaves: records, but not the count that says they are whole."""
    file = begun(tmp_path / "flux.nc")
    file.write(columns(4))
    for name in VARIABLES:
        file._file[name][4:8] = 1
    file.close()
    with open_flux(tmp_path / "flux.nc") as dataset:
        assert dataset.sizes["time"] == 4
    again = FluxFile(tmp_path / "flux.nc", LABELS, {"model_sha256": "abc"}, 4)
    assert again.resume() == 4
    again.close()


def test_resuming_keeps_whole_chunks_only(tmp_path):
    file = begun(tmp_path / "flux.nc", chunk=4)
    file.write(columns(4))
    file.write(columns(3))
    file.close()
    again = FluxFile(tmp_path / "flux.nc", LABELS, {"model_sha256": "abc"}, 4)
    assert again.resume() == 4
    again.close()


def test_resuming_another_job_is_refused(tmp_path):
    begun(tmp_path / "flux.nc").close()
    other = FluxFile(tmp_path / "flux.nc", LABELS, {"model_sha256": "another"}, 4)
    with pytest.raises(OutputError, match="begun with model_sha256 = 'abc', this job has 'another'"):
        other.resume()


@pytest.mark.parametrize("lost", [100, 1000, 3000])
def test_a_file_that_lost_its_end_is_refused(tmp_path, lost):
    """netCDF would read zeros there."""
    path = tmp_path / "flux.nc"
    file = begun(path)
    file.write(columns(40))
    file.close()
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(FileError, match=r"^[^\n]*flux\.nc is cut short: not all of its 40 frames are there[^\n]*$"):
        open_flux(path)


@pytest.mark.parametrize("content", [b"", b"CDF\x05", b"not netcdf at all", b"\x89HDF\r\n\x1a\n"])
def test_invalid_flux_files_are_refused(tmp_path, content):
    path = tmp_path / "flux.nc"
    path.write_bytes(content)
    assert not is_flux_file(path)
    with pytest.raises(FileError, match=r"flux\.nc is not a"):
        open_flux(path)
    with pytest.raises(OutputError, match="cannot resume"):
        FluxFile(path, LABELS, {}, 4).resume()
    with pytest.raises(FileError, match="no such file"):
        open_flux(tmp_path / "none.nc")


def test_full_disk_keeps_earlier_frames(small_disk):
    file = begun(small_disk / "flux.nc", chunk=100)
    written = 0
    free = os.statvfs(small_disk).f_bfree * os.statvfs(small_disk).f_frsize
    chunk = columns(100)
    size = sum(array.nbytes for array in chunk.values())
    while written * size / 100 < free - 2 * size:
        file.write(chunk)
        written += 100
    with pytest.raises(OutputError, match=r"frames \d+ to \d+ could not be written.*resume"):
        fill(file, chunk)
    file.close()
    assert written >= 100
    with open_flux(small_disk / "flux.nc") as dataset:
        assert dataset.sizes["time"] >= written
        assert np.array_equal(dataset["potential"].values[:100], columns(100)["potential"])


def fill(file, chunk):
    for _ in range(4):
        file.write(chunk)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_totals_and_carriers():
    dataset = fluxan.decompose(list(argon_krypton(3)), "shipped:ar-kr", progress=False)
    carried, total = fluxan.carrier_flux(dataset), fluxan.total_flux(dataset)
    assert carried.dims == ("time", "carrier", "xyz")
    assert total.dims == ("time", "xyz")
    expected = dataset["potential"].sum("owner") + dataset["kinetic"] + dataset["convective"]
    assert np.allclose(carried, expected, rtol=1e-14)
    assert np.allclose(total, expected.sum("carrier"), rtol=1e-14)
    assert total.attrs["units"] == "eV angstrom/ps"

"""`fluxan decompose --dask`."""

from __future__ import annotations

import numpy as np
import pytest
from distributed import LocalCluster

import fluxan
from fluxan.series.schema import VARIABLES
from tests.systems import argon_krypton


@pytest.fixture
def trajectory(tmp_path):
    path = tmp_path / "traj.nc"
    fluxan.convert(argon_krypton(6), path, double=True, model_text=fluxan.load_model("shipped:ar-kr").describe())
    return path


def test_a_cluster_by_its_address(run, trajectory, tmp_path):
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster:
        status, out, err = run(
            "decompose", trajectory, "--output", tmp_path / "a.nc", "--dask", cluster.scheduler_address, "--quiet"
        )
    assert (status, err) == (0, "")
    assert "6 frames" in out
    assert run("decompose", trajectory, "--output", tmp_path / "b.nc", "--quiet")[0] == 0
    with fluxan.open_flux(tmp_path / "a.nc") as a, fluxan.open_flux(tmp_path / "b.nc") as b:
        assert a.attrs["frames_planned"] == b.attrs["frames_planned"] == 6
        for name in VARIABLES:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_invalid_clusters_are_one_line_errors(run, trajectory, tmp_path):
    status, out, err = run("decompose", trajectory, "--output", tmp_path / "a.nc", "--dask", "nowhere", "--quiet")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "nowhere is no scheduler file" in err

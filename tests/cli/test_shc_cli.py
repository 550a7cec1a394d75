"""`fluxan shc` as a user meets it: the numbers of `fluxan.spectral_heat_current` as text, JSON, table and figure."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fluxan
from tests.systems import argon_krypton


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory):
    path = tmp_path_factory.mktemp("shc") / "traj.nc"
    fluxan.convert(argon_krypton(60), path, model_text=fluxan.load_model("shipped:ar-kr").describe())
    return path


def test_numbers_are_those_of_the_library(run, trajectory, tmp_path):
    table, figure = tmp_path / "shc.csv", tmp_path / "shc.png"
    options = ["--max-lag", 0.1, "--window", 0.2, "--temperature", 80, "--quiet"]
    status, out, err = run("shc", trajectory, *options, "--json", "--output", table, "--figure", figure)
    facts = json.loads(out)
    assert (status, err) == (0, f"plotted: {figure}\n")
    found = fluxan.spectral_heat_current(trajectory, max_lag=0.1, window=0.2, temperature=80, progress=False)
    assert facts["integral"] == found.integral
    assert facts["error"] is None
    assert facts["spectrum"]["value"] == found.spectrum.value.tolist()
    assert facts["cumulative_by_carrier"]["Kr"]["value"][-1] == found.cumulative_by_carrier["Kr"].value[-1]
    assert facts["correlation"]["Ar"] == found.correlation[:, 0].tolist()
    columns = np.genfromtxt(table, delimiter=",", names=True)
    np.testing.assert_allclose(columns["frequency_THz"], found.spectrum.x)
    np.testing.assert_allclose(columns["cumulative_Ar"], found.cumulative_by_carrier["Ar"].value)
    assert figure.stat().st_size > 1000


def test_table(run, trajectory):
    options = ["--max-lag", 0.1, "--direction", "x", "--driving-force", 1e-3, "--quiet"]
    status, out, _ = run("shc", trajectory, *options)
    found = fluxan.spectral_heat_current(
        trajectory, max_lag=0.1, direction=[2, 0, 0], driving_force=1e-3, progress=False
    )
    assert status == 0
    assert out.startswith(
        f"κ of the potential flux = {found.integral:.4g} ± unknown W/(m K), 60 samples".replace("-", "−")
    )
    assert out.splitlines()[-1].split()[0] == "all"
    assert "Ar" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-lag", 0.1], "give either --window, for a run in equilibrium, or --direction"),
        (["--max-lag", 0.1, "--direction", "1,b"], "--direction is '1,b', expected x, y, z, or three numbers"),
        (["--max-lag", -1, "--direction", "z"], "--max-lag is -1.0, expected a positive number in ps"),
        (["--max-lag", 5, "--direction", "z"], "has 60 frames, window and longest lag take 501"),
        (["--max-lag", 0.1, "--window", 0.1, "--driving-force", 1], "--driving-force goes with --direction"),
        (["--direction", "z"], "Missing option '--max-lag'"),
        (["--max-lag", 0.1, "--direction", "z", "--output", "/nowhere/a.csv"], "/nowhere/a.csv cannot be written"),
    ],
)
def test_errors_are_one_line(run, trajectory, options, message):
    status, _, err = run("shc", trajectory, *options, "--quiet")
    assert (status, err.count("\n")) == (2, 1)
    assert message in err

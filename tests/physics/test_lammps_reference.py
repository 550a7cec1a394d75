"""The flux of pair potentials against LAMMPS' own compute heat/flux, frame by frame."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fluxan

CASES = {"ar_liquid": ("Ar",), "arkr_mixture": ("Ar", "Kr"), "agi_zincblende": ("Ag", "I")}

AGI = """
kind = "vashishta"
cutoff = 9.5
truncation = "force"
screening = "exponential"
lambda_1 = 5.0
lambda_4 = 4.43
coulomb = 14.399645
[charges]
Ag = 0.5815
I = -0.5815
[pairs]
Ag-Ag = { H = 0.16, eta = 11, P = 0.0, C = 0.0 }
Ag-I = { H = 1310.0, eta = 9, P = 14.9, C = 0.0 }
I-I = { H = 5328.0, eta = 7, P = 29.8, C = 84.5 }
"""


@pytest.fixture(scope="module")
def agi(tmp_path_factory):
    path = tmp_path_factory.mktemp("agi") / "agi.toml"
    path.write_text(AGI, encoding="utf-8")
    return path


def model_of(case, agi):
    return {"ar_liquid": "shipped:ar", "arkr_mixture": "shipped:ar-kr", "agi_zincblende": agi}[case]


def lammps_columns(reference, case, name):
    """A vector of thermo.csv, (n_frames, 3)."""
    table = np.genfromtxt(reference / case / "thermo.csv", delimiter=",", names=True)
    return np.stack(
        [table[f"{name}{axis}"] for axis in ("_x", "_y", "_z")]
        if f"{name}_x" in table.dtype.names
        else [table[f"{name}{axis}"] for axis in "xyz"],
        axis=-1,
    )


def assert_close(mine, theirs):
    """The issue is the flux, not its zeros: differences count against the largest value."""
    assert mine.shape == theirs.shape
    assert np.abs(mine - theirs).max() <= 1e-7 * np.abs(theirs).max()


@pytest.mark.parametrize("route_through", ["dump", "convert"])
@pytest.mark.parametrize("case", CASES)
def test_flux_equals_lammps(case, route_through, reference, agi, tmp_path):
    path = reference / case / "traj.lammpstrj.gz"
    reader = {
        "elements": list(CASES[case]),
        "timestep": json.loads((reference / case / "case.json").read_text())["dt_ps"],
    }
    if route_through == "convert":
        fluxan.convert(path, tmp_path / "traj.nc", double=True, **reader)
        path, reader = tmp_path / "traj.nc", {}
    dataset = fluxan.decompose(path, model_of(case, agi), reader=reader, progress=False)
    assert dataset.sizes["time"] == 40
    assert_close(fluxan.total_flux(dataset).values, lammps_columns(reference, case, "Jall"))
    convective = dataset["kinetic"] + dataset["convective"]
    assert_close(convective.sum("carrier").values, lammps_columns(reference, case, "Jall_conv"))
    if len(CASES[case]) > 1:
        for element in CASES[case]:
            carried = fluxan.carrier_flux(dataset).sel(carrier=element).values
            assert_close(carried, lammps_columns(reference, case, f"J{element.lower()}"))
            mine = convective.sel(carrier=element).values
            assert_close(mine, lammps_columns(reference, case, f"J{element.lower()}_conv"))


@pytest.mark.parametrize("case", CASES)
def test_temperature_energy_and_volume_equal_lammps(case, reference, agi):
    reader = {"elements": list(CASES[case]), "timestep": 0.002}
    path = reference / case / "traj.lammpstrj.gz"
    dataset = fluxan.decompose(path, model_of(case, agi), reader=reader, progress=False)
    table = np.genfromtxt(reference / case / "thermo.csv", delimiter=",", names=True)
    # LAMMPS' 'metal' constants are not CODATA's last digits.
    assert dataset["temperature"].values == pytest.approx(table["temp_K"], rel=2e-6)
    assert dataset["potential_energy"].values == pytest.approx(table["pe_eV"], rel=1e-9)
    assert dataset["volume"].values == pytest.approx(table["vol_A3"], rel=1e-12)

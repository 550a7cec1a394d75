"""`fluxan extrapolate` as a user meets it: flux files of several sizes with known κ, and tables."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fluxan
from fluxan.greenkubo.size_extrapolation import extrapolate
from fluxan.series.flux_file import FluxFile
from fluxan.series.schema import VARIABLES
from fluxan.units import BOLTZMANN, CONDUCTIVITY
from tests.driven_runs import driven_file
from tests.exact_series import SERIES
from tests.systems import argon_krypton

ATOMS = (64, 216, 512)
TABLE = "# made by hand\nn_atoms,kappa,sigma\n64,1.02,0.03\n216,1.21,0.04\n\n512,1.29,0.05\n1000,1.38,0.06\n"


def flux_file(path, n_atoms, *, seed, temperature=300.0, label="Ar", recorded=True, per_atom=20.0):
    """A flux file of fluxan's with κ = 2 − 3 N^(−1/3) W/(m K)."""
    n, dt, volume = 8000, 0.5, per_atom * n_atoms
    kappa = 2 - 3 * n_atoms ** (-1 / 3)
    power = kappa * volume * BOLTZMANN * temperature**2 / (CONDUCTIVITY * dt * SERIES["B"].integral)
    columns = {
        name: np.zeros((n, *[{"xyz": 3}.get(d, 1) for d in dims[1:]])) for name, (dims, _, _) in VARIABLES.items()
    }
    columns["potential"][:, 0, 0] = np.sqrt(power) * SERIES["B"].sample(n, rng=np.random.default_rng(seed))
    columns |= {"time": dt * np.arange(n), "volume": np.full(n, volume), "temperature": np.full(n, temperature)}
    columns["frame_sha256"] = np.arange(1, n + 1)
    attributes = {"time_step": dt, "time_unit": "ps", "fluxan_version": "0", "periodic": 1}
    file = FluxFile(path, [label], {"model_sha256": "a", "trajectory_name": path.name}, 100)
    file.create(attributes | ({"n_atoms": n_atoms} if recorded else {}))
    file.write(columns)
    file.close()
    return path


@pytest.fixture(scope="module")
def fluxes(tmp_path_factory):
    """Two runs of each of three sizes."""
    folder = tmp_path_factory.mktemp("sizes")
    return [flux_file(folder / f"{n}-{seed}.nc", n, seed=n + seed) for n in ATOMS for seed in (0, 1)]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "kappa.csv"
    path.write_text(TABLE)
    return path


def test_flux_files_lead_to_the_known_limit(run, fluxes, tmp_path):
    status, out, err = run("extrapolate", *fluxes, "--json", "--figure", tmp_path / "size.svg")
    facts = json.loads(out)
    assert status == 0
    assert abs(facts["kappa"] - 2) < 3 * facts["error"] < 1
    assert facts["unit"] == "W/(m K)"
    assert facts["points"]["n_runs"] == [2, 2, 2]
    assert facts["points"]["size"] == list(ATOMS)
    single = [fluxan.green_kubo(path, compare=()) for path in fluxes]
    expected = extrapolate(
        np.repeat(ATOMS, 2),
        [one.kappa for one in single],
        [one.error for one in single],
        weights=np.ones(6),
        proportional=True,
    )
    assert facts["points"]["kappa"][0] == pytest.approx((single[0].kappa + single[1].kappa) / 2, rel=1e-13)
    assert (facts["kappa"], facts["error"]) == (expected.kappa, expected.error)
    assert facts["laws"]["inverse"]["weight"] == expected.laws["inverse"].weight
    assert [one["kappa"] for one in facts["files"]] == [one.kappa for one in single]
    assert err == f"plotted: {tmp_path / 'size.svg'}\n"
    assert "<svg" in (tmp_path / "size.svg").read_text()


def test_the_text_has_result_tables_and_reach(run, fluxes):
    status, out, _ = run("extrapolate", *fluxes, "--law", "inverse", "--against", "1/N")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].startswith("κ∞ = ")
    assert lines[0].endswith(" W/(m K)")
    assert lines[1].startswith("inverse law in 1/N, 3 sizes, 6 values; preferred by the values: ")
    words = [line.split()[0] for line in lines if line.strip()]
    assert {"64-0.nc", "512-1.nc", "64", "216", "512", "linear", "inverse", "constant"} <= set(words)
    assert any(line.startswith("extrapolated over 0.14 times the range of 1/N") for line in lines)


def test_sizes_from_the_volume_or_from_options(run, fluxes, tmp_path):
    bare = [flux_file(tmp_path / f"{n}.nc", n, seed=n, recorded=False) for n in ATOMS]
    facts = [
        json.loads(run("extrapolate", *bare, "--json", *options)[1])
        for options in ([], ["--atoms", "64,216,512"], ["--lengths", "4,6,8"], ["--direction", "y"])
    ]
    assert facts[0]["points"]["size"] == pytest.approx(np.cbrt(20 * np.array(ATOMS)), rel=1e-12)
    assert "not all files record their numbers of atoms" in facts[0]["notes"][0]
    assert [one["kappa"] for one in facts[1:3]] == pytest.approx([facts[0]["kappa"]] * 2, rel=1e-9)
    assert facts[3]["files"][0]["kappa"] == fluxan.green_kubo(bare[0]).directions.value[1]


def test_a_table_is_fitted_with_its_errors(run, table):
    status, out, _ = run("extrapolate", "--table", table, "--json")
    facts = json.loads(out)
    slope_and_kappa = np.polyfit(
        np.array([64, 216, 512, 1000]) ** (-1 / 3),
        [1.02, 1.21, 1.29, 1.38],
        1,
        w=1 / np.array([0.03, 0.04, 0.05, 0.06]),
    )
    assert status == 0
    assert facts["kappa"] == pytest.approx(slope_and_kappa[1], rel=1e-12)
    table.write_text("length,sigma,kappa\n8,0.03,1.0\n10,0.04,1.1\n")
    _, out, err = run("extrapolate", "--table", table)
    assert out.startswith("κ∞ = 1.50 ± 0.23\n")  # (11 − 8)/2 ± √(0.4² + 0.24²)/2
    assert "fluxan: warning: two sizes determine the linear law and nothing checks it" in err
    _, out, _ = run("extrapolate", "--table", table, "--proportional", "--law", "constant", "--json")
    assert json.loads(out)["law"] == "constant"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe\x00", "cannot be read: it is not a text file"),
        (b"", "has the columns (none), expected n_atoms or length, kappa and sigma"),
        (b"atoms,kappa\n64,1\n", "has the columns atoms, kappa, expected n_atoms or length, kappa and sigma"),
        (b"n_atoms,kappa,sigma\n64,1,0.1\n216,one,0.1\n", "line 3: kappa is 'one', expected a number"),
        (b"n_atoms,kappa,sigma\n64,1\n", "line 2: sigma is '', expected a number"),
        (b"n_atoms,kappa,sigma\n64,1,0.1\n216,1,-0.1\n", "error 2 of 2 is -0.1, expected a positive number"),
        (b"n_atoms,kappa,sigma\n64,nan,0.1\n216,1,0.1\n", "conductivity 1 of 2 is nan, expected a finite number"),
        (b"n_atoms,kappa,sigma\n64,1,0.1\n", "needs two sizes, and three to check its law; there is 1"),
        (b"n_atoms,kappa,sigma\n", "there is 0"),
    ],
)
def test_tables_that_cannot_be_used(run, tmp_path, content, message):
    path = tmp_path / "kappa.csv"
    if content is not None:
        path.write_bytes(content)
    status, out, err = run("extrapolate", "--table", path)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"fluxan: error: {path}")
    assert message in err


def test_wrong_options_are_one_line(run, fluxes, table, tmp_path):
    cases = [
        ([], "give either flux files or --table FILE"),
        ([fluxes[0], "--table", table], "give either flux files or --table FILE"),
        ([fluxes[0]], "1 flux file: an extrapolation needs two sizes"),
        (fluxes[:2], "needs two sizes, and three to check its law; there is 1"),
        ([fluxes[0], fluxes[0], fluxes[2]], "hold the same run"),
        ([fluxes[0], tmp_path / "none.nc"], "no such file"),
        ([fluxes[0], table], "kappa.csv"),
        ([*fluxes, "--atoms", "64,216"], "--atoms has 2 numbers, expected one for each of 6 files"),
        ([*fluxes, "--atoms", "a,b"], "--atoms a,b is not a list of numbers"),
        ([fluxes[0], fluxes[2], "--atoms", "1,2", "--lengths", "1,2"], "give --atoms or --lengths, not both"),
        ([fluxes[0], fluxes[2], "--direction", "w"], "--direction is w, expected x, y or z"),
        ([fluxes[0], fluxes[2], "--volume", "9"], "--volume is one number for cells of several sizes"),
        (["--table", table, "--against", "1/V"], "--against is 1/V, expected 1/L or 1/N"),
        (["--table", table, "--atoms", "1,2"], "--atoms 1,2 is for flux files"),
        (["--table", table, "--law", "cubic"], "--law is cubic, expected linear, inverse or constant"),
    ]
    for arguments, message in cases:
        status, out, err = run("extrapolate", *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert message in err


def test_files_that_do_not_belong_together(run, fluxes, tmp_path):
    hot = flux_file(tmp_path / "hot.nc", 1000, seed=5, temperature=310, per_atom=21)
    status, _, err = run("extrapolate", fluxes[0], fluxes[2], hot)
    assert status == 0
    assert "warning: temperatures go from 300 to 310: a part of the difference" in err
    assert "warning: volumes per atom go from 20 to 21" in err
    other = flux_file(tmp_path / "krypton.nc", 1000, seed=6, label="Kr")
    status, _, err = run("extrapolate", fluxes[0], other)
    assert status == 2
    assert f"{other} has the carriers Kr, {fluxes[0]} Ar" in err


def test_runs_under_a_driving_force(run, tmp_path):
    """κ = 2 − 3 N^(−1/3) along the force; errors as they are, and weights from them."""
    paths = []
    for n in np.repeat(ATOMS, 2):
        kappa, path = 2 - 3 * n ** (-1 / 3), tmp_path / f"{n}-{len(paths) % 2}.nc"
        run_of = {"n_atoms": n, "parts": [[kappa]], "labels": ["Ar"], "noise": 0.3, "n": 12_800, "seed": n + len(paths)}
        paths.append(driven_file(path, **run_of))
    status, out, err = run("extrapolate", *paths, "--json")
    facts, single = json.loads(out), [fluxan.driven_conductivity(path) for path in paths]
    assert status == 0
    expected = extrapolate(np.repeat(ATOMS, 2), [one.kappa for one in single], [one.error for one in single])
    assert (facts["kappa"], facts["error"]) == (expected.kappa, expected.error)
    assert abs(facts["kappa"] - 2) < 3 * facts["error"] < 1
    assert facts["points"]["size"] == list(ATOMS)
    assert err == ""
    other = driven_file(tmp_path / "x.nc", field=(5e-3, 0, 0), n_atoms=64, parts=[[1.25]], labels=["Ar"])
    _, out, err = run("extrapolate", *paths[2:], other)
    assert "x.nc" in out
    assert "the driving forces have different directions" in err
    status, _, err = run("extrapolate", *paths[2:], other, "--direction", "x")
    assert status == 2
    assert "216-0.nc has κ along its driving force (0 0.6 0.8) alone, not --direction x" in err
    status, _, err = run("extrapolate", *paths, "--method", "cepstral")
    assert (status, "--method is for fluxes in equilibrium" in err) == (2, True)


def test_decomposed_trajectories_need_no_option(run, tmp_path):
    for n_cells in (1, 2):
        # The noise makes each flux one of white noise, whose κ is above zero.
        rng = np.random.default_rng(n_cells)
        frames = [f.replace(velocities=rng.normal(size=f.positions.shape)) for f in argon_krypton(400, n_cells=n_cells)]
        fluxan.decompose(frames, "shipped:ar-kr", output=tmp_path / f"{n_cells}.nc", progress=False).close()
    _, out, _ = run("extrapolate", tmp_path / "1.nc", tmp_path / "2.nc", "--components", "single", "--json")
    facts = json.loads(out)
    assert (facts["of"], facts["points"]["size"]) == ("atoms", [4, 32])

"""`fluxan export`: what it writes and prints, and one line for what is not usable."""

from __future__ import annotations

import json

import pytest
from ase.build import bulk
from ase.io import write

from fluxan.potentials.load import load_model
from fluxan.trajectory.ase_write import ase_writer
from tests.lattice_dynamics.crystals import AR, harmonic_run


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    write(folder / "ar.xyz", bulk("Ar", a=5.3))
    with ase_writer(folder / "run.traj") as append:
        for frame in harmonic_run(AR, load_model("ar"), (3, 3, 3)):
            append(frame)
    return folder


@pytest.mark.parametrize(("program", "name"), [("dynasor", "force_constants.npy"), ("gkmx", "trajectory.nc")])
def test_runs(run, files, tmp_path, program, name):
    options = ["--timestep", "0.01", "--model", "ar", "--primitive", files / "ar.xyz", "--quiet"]
    status, printed, said = run("export", files / "run.traj", "--to", program, *options, "--output", tmp_path / "out")
    assert (status, said) == (0, "")
    assert printed == f"wrote 4 frames and force constants of second order for {program} to {tmp_path / 'out'}\n"
    assert (tmp_path / "out" / name).is_file()
    status, _, said = run("export", files / "run.traj", "--to", program, *options, "--output", tmp_path / "out")
    assert status == 2
    assert said.endswith("exists; choose another name or say --overwrite\n")


def test_unit_cells(run, files, tmp_path):
    options = ["--to", "kaldo", "--model", "ar", "--supercell", "2,2,2", "--quiet", "--json"]
    status, printed, said = run("export", files / "ar.xyz", *options, "--output", tmp_path / "out")
    assert (status, said) == (0, "")
    assert json.loads(printed)["third_order"] is True
    assert (tmp_path / "out" / "third.npz").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "phonopy"], "--to is 'phonopy'; expected dynasor, gkmx or kaldo"),
        (["--to", "gkmx"], "--to gkmx needs --primitive"),
        (["--to", "kaldo"], "--to kaldo needs --supercell"),
        (["--to", "kaldo", "--supercell", "2,x,2"], "--supercell 2,x,2: expected three numbers"),
        (["--to", "kaldo", "--supercell", "2,2"], "--supercell 2,2 is not three positive numbers, as in --supercell"),
        (["--to", "kaldo", "--supercell", "2,2,3"], "--supercell 2,2,3: kaldo's reader takes the unit cell wrongly"),
    ],
)
def test_mistakes_are_one_line(run, files, tmp_path, options, message):
    status, printed, said = run("export", files / "ar.xyz", *options, "--model", "ar", "--output", tmp_path / "out")
    assert (status, printed) == (2, "")
    assert said.startswith(f"fluxan: error: {message}")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()

"""LAMMPS on two MPI ranks: the numbers of one rank, and errors of one rank on both."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from fluxan.md.lammps.mpich import INSTALL
from tests.md.ranks_program import CASES, NAMES, PRESSURE, measured

ROOT = Path(__file__).parents[2]
TWO = 2


def on_ranks(*arguments):
    """Run a Python program on two ranks; ranks that wait for each other for ever fail the test."""
    done = subprocess.run(
        [Path(sys.executable).with_name("mpirun"), "-n", str(TWO), sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All cases on two ranks: what the program wrote to standard error, and what each rank saw."""
    folder = tmp_path_factory.mktemp("ranks")
    done = on_ranks("-m", "tests.md.ranks_program", folder, *CASES)
    return done.stderr, {case: [dict(np.load(folder / f"{case}-{rank}.npz")) for rank in range(TWO)] for case in CASES}


def error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_give_the_numbers_of_one(runs, case):
    with warnings.catch_warnings(action="ignore"):  # of the model that declares one hop too few
        one = measured(case)
    for here in runs[1][case]:
        for name in set(one) - {"before", "after"}:
            assert error(here[name], one[name]) < 1e-10, name
        for name in NAMES:
            if (case, name) == ("hnemd", "convective"):  # energies count from their means
                continue
            # The last frame, evaluated as a whole; recorded, positions and velocities are those LAMMPS gathers.
            assert error(here[name][-1], here[f"whole_{name}"]) < 1e-12


def test_atoms_have_moved_between_ranks(runs):
    for case in ("driven", "own"):
        first, second = runs[1][case]
        assert len(np.intersect1d(first["before"], second["after"])) > 5
        assert len(np.intersect1d(second["before"], first["after"])) > 5
        assert len(first["after"]) + len(second["after"]) == 144


def test_lennard_jones_is_lammps_own(runs):
    """Forces, energies, pressure and flux of a driven LAMMPS against its own pair style, both on two ranks."""
    for ours, theirs in zip(runs[1]["driven"], runs[1]["own"], strict=True):
        for name in ("energy", "f", "single", "pressure", "potential", "convective"):
            assert error(ours[name], theirs[name]) < 1e-9, name
    assert len(runs[1]["own"][0]["pressure"]) == len(PRESSURE)


def test_a_model_that_reaches_farther_than_it_says_is_evaluated_by_one_rank(runs):
    warning = "ToyModel: its energies depend on atoms farther than n_hops = 1 edges of 4.5 Å"
    assert runs[0].count(warning) == 1
    assert "rank 0 evaluates all atoms, and the others wait" in runs[0]


def lines_of(done):
    """What each rank printed, by topic."""
    found = defaultdict(dict)
    for line in done.stdout.splitlines():
        rank, _, rest = line.partition(" ")
        topic, _, text = rest.partition(": ")
        found[topic][rank] = text
    return found


def test_errors_of_one_rank_reach_both(tmp_path):
    found = lines_of(on_ranks("-m", "tests.md.ranks_errors", tmp_path))
    expected = {
        "no mpi4py": f"DependencyError: LAMMPS runs on 2 MPI ranks, for which fluxan needs mpi4py: {INSTALL}",
        "missing": "FileError: no model file nosuch.toml",
        "nothing yet": "InputError: LAMMPS: no flux was recorded yet",
        "forces": "ModelError: no more",
        "command": "ModelError: no more",
        "step": "(13, 3)",
        "not finite": "ModelError: NotFinite gives atom 39 the energy nan",
        "flux": "ModelError: NotFinite gives atom 39 the energy nan; energies must be finite",
        "no flux": "InputError: LAMMPS: no flux was recorded yet",
        "file": "4",
        "exists": f"OutputError: {tmp_path / 'flux.nc'} exists; resume it, overwrite it, or give another output",
        "disk": "OutputError: the disk is full",
        "unsendable": "UnsendableError: it fails",
        "correlation": "True",
    }
    owner = found.pop("owner")
    assert sorted(owner.values()) == ["False", "True"]
    for topic, text in expected.items():
        assert found[topic]["0"].removeprefix("RuntimeError: ") == text, topic
        assert found[topic]["1"].removeprefix("RuntimeError: ") == text, topic
    assert set(found) == set(expected)


def test_a_rank_without_atoms_and_a_lammps_on_one_rank_of_two():
    """Half of the box is empty; a LAMMPS of its own on every rank gives the same, with all the atoms."""
    found = lines_of(on_ranks("-m", "tests.md.ranks_slab"))
    size, n_atoms, flux = found["alone"]["0"].split(maxsplit=2)
    assert size == "1"
    assert found["alone"]["1"] == found["alone"]["0"]
    assert sorted(found["together"].values()) == [f"2 0 {flux}", f"2 {n_atoms} {flux}"]


def test_processes_that_another_mpi_has_started_are_refused():
    """Each of them would run alone, and all would write the same file."""
    done = subprocess.run(
        [sys.executable, "-c", "import fluxan; fluxan.md.lammps"],
        env=os.environ | {"OMPI_COMM_WORLD_SIZE": "4"},
        capture_output=True,
        text=True,
        check=False,
    )
    message = done.stderr.splitlines()[-1]
    assert message.startswith("fluxan.errors.DependencyError: Open MPI's mpirun has started 4 processes")
    assert str(Path(sys.executable).with_name("mpirun")) in message

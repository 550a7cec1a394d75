"""Studies of defects as a whole: a reference among the models, kills, what is refused, and what is told."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.io import write

from fluxan.errors import FluxanError, InputError, OutputError
from fluxan.generalization.advice import advice_on
from fluxan.generalization.defect_study import own_lattice, run_study
from fluxan.generalization.observations import labelled_by, observe, strained_crystals
from fluxan.generalization.study_config import read_study_config
from fluxan.generalization.study_table import slopes_of, table_of
from fluxan.md.ase import FluxanCalculator
from fluxan.training.training_job import linear_model
from tests.generalization.study_helper import LATTICE, write_study

LINE = """kind = "dislocation"
type = "diamond 30 degree partial"
element = "Si"
lattice_constant = 5.430949777
elastic = [151.4, 76.4, 56.4]
radius = 22.0
rim = 8.0
"""
MODEL = {"cutoff": 4.0, "triplet_cutoff": 3.8, "n_radial": 4, "first_shift": 1.8, "zetas": [1.0, 4.0]}


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """A linear model that resembles silicon, in a file."""
    calculator, crystal = FluxanCalculator("shipped:si"), bulk("Si", "diamond", a=LATTICE, cubic=True)
    moved = [crystal.repeat(2) for _ in range(6)]
    for k, atoms in enumerate(moved):
        atoms.rattle(0.05 * (k + 1) / 3, seed=k)
    model = linear_model(MODEL, [14])
    rows = observe(model, [labelled_by(a, calculator) for a in moved], strained=strained_crystals(crystal, calculator))
    rows.fit(model, {"energy": 100.0, "forces": 1.0, "virial": 100.0})
    path = tmp_path_factory.mktemp("truth") / "truth.safetensors"
    model.save(path)
    return path


def run(path, reference="shipped:si", **options):
    return run_study(read_study_config(path), FluxanCalculator(reference), FluxanCalculator, **options)


def test_a_reference_among_the_models_has_no_errors(tmp_path, truth):
    path = write_study(tmp_path, ("frames = 3", "frames = 6"))
    records = run(path, str(truth))
    assert len(records) == 4
    for record in records:
        assert record["reason"] == ""
        assert record["reference_norm"] > 0.1
        assert record["geometry"] < 1e-3 * record["reference_norm"]
        assert abs(record["energy"]) < 127 * 1e-6  # what the errors of the fit below allow
        ratio = own_lattice(bulk("Si", "diamond", a=LATTICE), FluxanCalculator(str(truth)))
        assert record["lattice_ratio"] == pytest.approx(ratio if record["lattice"] == "own" else 1.0, abs=1e-6)
        assert max(record["fit"].values()) < 1e-6
        assert record["parts"] is None or max(record["parts"].values()) < 1e-3 * record["reference_norm"]


def test_records_are_those_of_the_pieces(tmp_path):
    """Sizes, numbers of structures, and the lattice constant by hand."""
    records = run(write_study(tmp_path))
    first, _, third, _ = records
    assert [r["lattice"] for r in records] == ["reference", "own"] * 2
    assert first["L"] == pytest.approx(LATTICE / np.sqrt(2))  # half of two vectors of the primitive cell
    assert first["atoms"] == 15
    assert first["structures"] == 4
    assert third["structures"] == 4 + 2 + 13
    assert set(third["fit"]) == {"energy", "forces", "force_constants", "virial"}
    header, rows = table_of(records)
    assert all(len(row) == len(header) for row in rows)
    assert slopes_of(records)[0].verdict == "too few sizes"


def test_the_own_lattice_constant_is_where_the_stress_vanishes():
    crystal = bulk("Si", "diamond", a=1.01 * LATTICE)
    calculator = FluxanCalculator("shipped:si")
    assert own_lattice(crystal, calculator) == pytest.approx(1 / 1.01, abs=1e-6)
    assert own_lattice(bulk("Si", "diamond", a=1.15 * LATTICE), calculator) is None


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.suffix != ".png"
    }


def test_killed_at_any_time_it_comes_to_the_same_bytes(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fluxan", "defects", "study.toml", "--resume", "--json"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        write_study(folder, ('["energy", "forces"],', ""), ("cell = 4", "cell = 4\ntolerance = 1e-3"))
    began = time.monotonic()
    done = subprocess.run(command, cwd=whole, env=environment, capture_output=True, text=True, check=True)
    duration, kills, wait = time.monotonic() - began, 0, 1.0
    while True:
        process = subprocess.Popen(
            command, cwd=killed, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            printed, _ = process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills, wait = kills + 1, wait + duration / 6
            continue
        break
    assert kills
    assert process.returncode == 0
    assert contents(killed / "study-defects") == contents(whole / "study-defects")
    one, other = (json.loads(text.replace(str(f), "")) for text, f in ((done.stdout, whole), (printed, killed)))
    assert one == other
    with (whole / "study-defects" / "errors.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["geometry"]) for row in rows] == [record["geometry"] for record in one["records"]]


def test_a_folder_belongs_to_its_settings(tmp_path):
    path = write_study(tmp_path)
    records = run(path)
    with pytest.raises(OutputError, match="holds a study already; give --resume"):
        run(path)
    assert run(path, resume=True) == records
    changed = write_study(tmp_path, ("frames = 3", "frames = 4"))
    with pytest.raises(InputError, match=r"was begun with another \[training\]"):
        run(changed, resume=True)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("cell = 4", "cell = 3", r"evaluation.cell is 3, too small for training.cells up to 2"),
        ("cells = [2]", "cells = [1, 2]", r"training.cells has 1, a cell 3.84 A wide: .* give larger cells"),
        ("cells = [2]", "cells = [0]", "training.cells is 0; expected a whole number, 1 or more"),
        ("cells = [2]", "cells = 2", "training.cells is 2; expected a list"),
        ("frames = 3", "frame = 3", "training.frame is not a known key; did you mean frames"),
        ('kind = "vacancy"', 'kind = "void"', "kind is 'void'; expected one of vacancy"),
        ('kind = "vacancy"', 'kind = "interstitial"', "of kind 'interstitial' needs position, element"),
        ('kind = "vacancy"', 'kind = "vacancy"\nsite = 7', "site is 7; the crystal's cell has 2 atoms"),
        ('"forces"]', '"strain"]', "observations.sets: 'strain' is not known; expected one of energy"),
        ("cutoff = 4.0\ntriplet", "triplet", r"model.cutoff \(Å\) is missing"),
        ("[model]", '[model]\nkind = "equivariant"', "model.kind must be linear"),
        ('"own"]', '"mine"]', "evaluation.lattices: 'mine' is not known"),
        ("silicon.xyz", "carbon.xyz", "crystal.structure: 'carbon.xyz' names no file"),
        ("inward = 0.5", 'inward = "a"', "inward is 'a'; expected a number"),
        ("inward = 0.5", 'element = "Si"', "a defect of kind 'vacancy' has no element; it takes site, inward"),
        (
            "cell = 4",
            'cell = 4\nchemical_potentials = { Au = "x" }',
            "chemical_potentials.Au is 'x'; expected a number",
        ),
        ('vacancy"\ninward = 0.5', 'substitution"\nelement = "Ge"', "the chemical potential of Ge is missing"),
        ("[defects.vacancy]", '[defects."a/b"]', "a name has letters, digits"),
        ("[evaluation]", "[evaluations]", "evaluations is not a known key; did you mean evaluation"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(tmp_path, before, after, message):
    with pytest.raises(FluxanError, match=message):
        run(write_study(tmp_path, (before, after)))


class WithoutStress(Calculator):
    implemented_properties = ("energy", "forces")

    def __init__(self):
        super().__init__()
        self.silicon = FluxanCalculator("shipped:si")

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        copy = self.atoms.copy()
        copy.calc = self.silicon
        self.results = {"energy": copy.get_potential_energy(), "forces": copy.get_forces()}


def test_what_the_reference_cannot_give_is_told_if_it_is_needed(tmp_path):
    path = write_study(tmp_path / "needed")
    with pytest.raises(InputError, match="the reference does not give all of energy, forces and stress"):
        run_study(read_study_config(path), WithoutStress(), FluxanCalculator)
    path = write_study(tmp_path / "spared", (', "virial"]', "]"))
    records = run_study(read_study_config(path), WithoutStress(), FluxanCalculator)
    assert set(records[0]["fit"]) == {"energy", "forces", "force_constants"}


class Noisy(WithoutStress):
    """Forces of larger cells are not those of the energy."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if len(self.atoms) > 2:
            noise = np.sin(1e6 * self.atoms.positions)
            self.results["forces"] = self.results["forces"] + 0.05 * noise


def test_a_reference_that_cannot_be_relaxed_ends_the_study(tmp_path):
    path = write_study(tmp_path, (', "virial"]', "]"))
    with pytest.raises(InputError, match=r"vacancy: the reference, \d+ atoms: a force of"):
        run_study(read_study_config(path), Noisy(), FluxanCalculator)


class Failing(WithoutStress):
    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        if len(atoms) > 2:
            raise RuntimeError("SCF did not converge")
        super().calculate(atoms, properties, system_changes)


def test_a_reference_that_fails_is_reported_in_one_line(tmp_path):
    path = write_study(tmp_path, ("[2]", '[2]\naround = "crystal"'))
    with pytest.raises(InputError, match=r"the reference fails for a structure \(.*\): SCF did not converge"):
        run_study(read_study_config(path), Failing(), FluxanCalculator)


def test_a_crystal_that_is_not_at_rest_is_refused(tmp_path):
    path = write_study(tmp_path)
    moved = bulk("Si", "diamond", a=LATTICE)
    moved.positions[1] += 0.02
    write(tmp_path / "silicon.xyz", moved)
    with pytest.raises(InputError, match="on the perfect crystal; relax its atoms first"):
        run(path)


def test_another_crystal_in_the_same_file_is_refused_on_resuming(tmp_path):
    path = write_study(tmp_path)
    run(path)
    write(tmp_path / "silicon.xyz", bulk("Si", "diamond", a=1.01 * LATTICE))
    with pytest.raises(InputError, match="was begun with another crystal"):
        run(path, resume=True)


def test_a_model_in_another_basin_is_told_and_not_averaged_in(tmp_path):
    """Trained on energies of hardly displaced crystals alone, a model keeps nothing."""
    crystals = ("[2]", '[2]\naround = "crystal"\ndisplacement = 1e-3')
    path = write_study(tmp_path, crystals, ('["energy", "forces"],', '["energy"],'))
    records = run(path)
    lost = [record for record in records if record["observations"] == ["energy"]]
    assert lost
    for record in lost:
        assert record["geometry"] is None
        assert record["reason"].startswith(("model: ", "the model: ", "reference and model"))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("rim = 8.0", "rim = 5.0", "rim is 5 A; it has to be twice model.cutoff or more, 8 A"),
        ('"Si"\nlattice', '"Ge"\nlattice', "element is Ge; the crystal has Si"),
        ("constant = 5.43", "constant = 5.53", "lattice_constant is 5.53"),
    ],
)
def test_dislocations_of_another_crystal_are_refused(tmp_path, before, after, message):
    changes = [('kind = "vacancy"\ninward = 0.5\n', LINE.replace(before, after)), ("cell = 4\n", ""), ("[2]", "[3]")]
    with pytest.raises(FluxanError, match=message):
        run(write_study(tmp_path, *changes))


def test_a_dislocation_is_trained_on_crystals_and_relaxed_in_its_cylinder(tmp_path):
    changes = [('kind = "vacancy"\ninward = 0.5\n', LINE), ("cell = 4\n", ""), ("[2]", "[3]")]
    path = write_study(tmp_path, *changes)
    records = run(path)
    assert [record["reason"] for record in records] == [""] * 4
    assert {record["atoms"] for record in records} == {54}
    assert all(0.01 < record["geometry"] < 2 and record["parts"] is None for record in records)
    assert slopes_of(records) == []
    limits = [one.limit for one in advice_on(read_study_config(path), records)]
    assert limits[-1] in {"elastic", "core"}

"""Labelling in processes of their own: right numbers, failures, hangs, deaths, wrong units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from fluxan.active.label import Labeller, labelled, require_consistent
from fluxan.active.reference_settings import ReferenceSettings
from fluxan.errors import FileError, InputError
from fluxan.md.ase.calculator import frame_of_atoms
from fluxan.plain_files import write_json
from fluxan.trajectory.memory import atoms_of_frame
from tests.active.references import argon

FOLDER = str(Path(__file__).parent)


def settings(name, **options):
    return ReferenceSettings(calculator=f"references:{name}", folder=FOLDER, **options)


def frames(count, noise=0.1):
    rng = np.random.default_rng(3)
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    found = []
    for _ in range(count):
        moved = atoms.copy()
        moved.positions += rng.normal(scale=noise, size=(len(atoms), 3))
        found.append(frame_of_atoms(moved))
    return found


def test_labels_are_those_of_the_calculator(tmp_path):
    chosen = frames(5)
    with Labeller(settings("argon", workers=2, stress=True)) as labeller:
        answers = labeller.label(chosen, tmp_path)
        again = labeller.label(chosen, tmp_path)
    assert again == answers
    for frame, answer in zip(chosen, answers, strict=True):
        atoms = atoms_of_frame(frame)
        atoms.calc = argon()
        item = labelled(frame, answer, "exploration: x")
        assert item.energy == atoms.get_potential_energy()
        assert np.array_equal(item.forces, atoms.get_forces())
        stress = atoms.get_stress(voigt=False)
        assert np.allclose(item.virial, -frame.volume * stress, rtol=1e-14, atol=1e-14)


def test_what_is_on_disk_is_not_evaluated_again(tmp_path):
    write_json(tmp_path / "00001.json", {"failure": "was so before"})
    with Labeller(settings("argon")) as labeller:
        answers = labeller.label(frames(3), tmp_path)
    assert [("failure" in answer) for answer in answers] == [False, True, False]
    (tmp_path / "00000.json").write_text("{", encoding="utf-8")
    with Labeller(settings("argon")) as labeller, pytest.raises(FileError, match="remove it to have it made again"):
        labeller.label(frames(3), tmp_path)


def test_one_failure_in_four_is_logged_and_skipped(tmp_path):
    with Labeller(settings("faulty", workers=2)) as labeller:
        answers = labeller.label(frames(24), tmp_path)
    failed = [answer["failure"] for answer in answers if "failure" in answer]
    assert 1 <= len(failed) <= 12
    assert set(failed) == {"RuntimeError: SCF did not converge"}
    assert len(list(tmp_path.glob("*.json"))) == 24


def test_a_process_that_hangs_or_dies_is_replaced(tmp_path):
    chosen = frames(5, noise=0.01)
    for k, shift in ((1, 0.7), (3, 1.2)):
        positions = chosen[k].positions.copy()
        positions[0, 0] += shift
        chosen[k] = chosen[k].replace(positions=positions)
    with Labeller(settings("slow", workers=2, timeout=2.0)) as labeller:
        answers = labeller.label(chosen, tmp_path)
    assert answers[1] == {"failure": "timed out after 2 s"}
    assert answers[3] == {"failure": "its process died"}
    assert all("energy" in answers[k] for k in (0, 2, 4))


def test_numbers_that_are_not_finite_are_failures(tmp_path):
    with (
        Labeller(settings("not_finite")) as labeller,
        pytest.raises(InputError, match="forces of the reference: not finite"),
    ):
        labeller.label(frames(4), tmp_path)


@pytest.mark.parametrize(
    ("calculator", "message"),
    [
        ("references:raises", "cannot be made: RuntimeError: no licence"),
        ("references:nothing", "references has no function 'nothing'"),
        ("no_such_module:make", "no_such_module cannot be imported"),
        ("references", "expected module:name"),
    ],
)
def test_a_reference_that_cannot_be_made_is_one_line(tmp_path, calculator, message):
    chosen = ReferenceSettings(calculator=calculator, folder=FOLDER)
    with Labeller(chosen) as labeller, pytest.raises(InputError, match=message):
        labeller.label(frames(1), tmp_path)


def test_other_units_are_refused(tmp_path):
    (frame,) = frames(1, noise=0.05)
    with Labeller(settings("argon")) as labeller:
        require_consistent(frame, labeller, tmp_path / "right")
    with Labeller(settings("in_hartree")) as labeller, pytest.raises(InputError, match="energies in Hartree"):
        require_consistent(frame, labeller, tmp_path / "wrong")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either calculator .* or model"),
        ({"calculator": "a:b", "model": "shipped:ar"}, "either calculator .* or model"),
        ({"model": "shipped:ar", "workers": 0}, "reference.workers is 0"),
        ({"model": "shipped:ar", "timeout": -1.0}, "reference.timeout"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        ReferenceSettings(**options)

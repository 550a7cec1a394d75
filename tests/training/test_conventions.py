"""Sign and order of the stress: detected from files that ASE and other hands wrote, or refused."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from fluxan.errors import FileError, FluxanError, InputError
from fluxan.training.conventions import with_virials
from fluxan.trajectory.labelled_files import LabelKeys, LabelUnits, read_labelled
from tests.training_frames import crystal, labelled

EV_GPA = 160.21766
SHEARED = np.array([[0.0004, 0.0032, -0.0018], [0.0032, -0.0002, 0.0044], [-0.0018, 0.0044, 0.0001]])
#: How programs print a tensor Ξ/V: sign, and places of xx, yy, zz, yz, xz, xy.
PRINTED = {"ase": (-1, [0, 1, 2, 3, 4, 5]), "vasp": (1, [0, 1, 2, 5, 3, 4]), "lammps": (1, [0, 1, 2, 5, 4, 3])}


def strained_frames(noise=0.3, n_pairs=4):
    """Displaced crystals, each with a copy of the same fractional coordinates under another strain."""
    frames = []
    for seed in range(n_pairs):
        base = crystal(noise=noise, seed=seed)
        deform = np.eye(3) + (1 if seed % 2 else -1) * SHEARED
        frames += [base, base.replace(positions=base.positions @ deform, cell=base.cell @ deform)]
    return [labelled(frame) for frame in frames]


def six(item, program):
    sign, places = PRINTED[program]
    v = item.virial / item.frame.volume
    return (sign * np.array([v[0, 0], v[1, 1], v[2, 2], v[1, 2], v[0, 2], v[0, 1]]))[places]


def write_frames(path, items, stress_of, **info):
    images = []
    for item in items:
        atoms = ase.Atoms(item.frame.numbers, item.frame.positions, cell=item.frame.cell, pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=item.energy, forces=item.forces)
        atoms.info.update(info)
        if stress_of is not None:
            atoms.info["pressure_tensor"] = stress_of(item)
        images.append(atoms)
    write(path, images)
    return path


def read(path, unit="eV/A^3", key="pressure_tensor"):
    return list(read_labelled([path], LabelUnits(stress=unit), LabelKeys(stress=key)))


@pytest.mark.parametrize("suffix", ["xyz", "traj"])
@pytest.mark.parametrize("program", PRINTED)
def test_conventions_are_detected_from_a_strain(tmp_path, program, suffix):
    items = strained_frames()
    frames = read(write_frames(tmp_path / f"frames.{suffix}", items, lambda item: six(item, program)))
    found, convention = with_virials(frames)
    assert convention.sign == PRINTED[program][0]
    for item, expected in zip(found, items, strict=True):
        assert np.allclose(item.virial, expected.virial, rtol=1e-5, atol=1e-6)
        assert item.energy == pytest.approx(expected.energy, rel=1e-9)
        assert np.allclose(item.forces, expected.forces, atol=1e-7)


def test_a_database_of_ase(tmp_path):
    items = strained_frames()
    with connect(tmp_path / "frames.db") as database:
        for item in items:
            atoms = ase.Atoms(item.frame.numbers, item.frame.positions, cell=item.frame.cell, pbc=True)
            stress = six(item, "ase")
            atoms.calc = SinglePointCalculator(atoms, energy=item.energy, forces=item.forces, stress=stress)
            database.write(atoms)
    found, convention = with_virials(read(tmp_path / "frames.db", key="stress"))
    assert convention.sign == -1
    assert np.allclose(found[1].virial, items[1].virial, rtol=1e-9, atol=1e-10)
    assert np.allclose(found[1].forces, items[1].forces, rtol=1e-12)


def test_units_are_converted(tmp_path):
    items = strained_frames()
    path = write_frames(tmp_path / "frames.xyz", items, lambda item: EV_GPA * six(item, "vasp"))
    found, _ = with_virials(read(path, "GPa"))
    assert np.allclose(found[1].virial, items[1].virial, rtol=1e-5, atol=1e-6)


def test_nine_numbers_and_virials_have_a_sign_only(tmp_path):
    items = strained_frames()
    path = write_frames(tmp_path / "frames.xyz", items, lambda item: -item.virial / item.frame.volume)
    found, convention = with_virials(read(path))
    assert (convention.sign, "any order" in convention.evidence) == (-1, True)
    assert np.allclose(found[1].virial, items[1].virial, rtol=1e-5, atol=1e-6)
    path = write_frames(tmp_path / "virials.xyz", items, lambda item: item.virial)
    frames = list(read_labelled([path], LabelUnits(virial="eV"), LabelKeys(virial="pressure_tensor")))
    found, convention = with_virials(frames)
    assert convention.sign == 1
    assert np.allclose(found[1].virial, items[1].virial, rtol=1e-5, atol=1e-6)


def test_a_wrong_unit_is_refused(tmp_path):
    path = write_frames(tmp_path / "frames.xyz", strained_frames(), lambda item: EV_GPA * six(item, "ase"))
    with pytest.raises(InputError, match=r"frame 0: the numbers of the stress are 1[5-7]\d times what"):
        with_virials(read(path, "eV/A^3"))


@pytest.mark.parametrize(("written", "stated"), [("vasp", "ase"), ("ase", "vasp"), ("lammps", "vasp")])
def test_a_wrong_statement_is_refused(tmp_path, written, stated):
    path = write_frames(tmp_path / "frames.xyz", strained_frames(), lambda item: six(item, written))
    with pytest.raises(InputError, match=r"is stated as: stress positive under .* its energies say: stress positive"):
        with_virials(read(path), stated=stated)
    assert with_virials(read(path), stated=written)[1].evidence == "as stated"


def test_no_strain_and_no_statement_is_refused(tmp_path):
    items = [labelled(crystal(noise=0.1, seed=k)) for k in range(3)]
    path = write_frames(tmp_path / "frames.xyz", items, lambda item: six(item, "ase"))
    with pytest.raises(InputError, match=r"cannot be told from its energies; add two frames .* ase, vasp, lammps"):
        with_virials(read(path))
    assert with_virials(read(path), stated="ase")[1].sign == -1
    # What a model fitted to energies and forces says, exact here, takes the place of the strain.
    truth = np.array([item.virial for item in items])
    found, convention = with_virials(read(path), predicted=lambda: truth)
    assert convention.sign == -1
    assert "linear model" in convention.evidence
    assert np.allclose(found[2].virial, items[2].virial, rtol=1e-5, atol=1e-6)


def test_an_order_that_no_shear_shows_is_refused(tmp_path):
    # Only diagonal strains, of displaced crystals whose shear stress is not zero.
    frames = []
    for seed in range(2):
        base = crystal(noise=0.08, seed=seed)
        deform = np.diag([1.002, 0.999, 1.001])
        frames += [base, base.replace(positions=base.positions @ deform, cell=base.cell @ deform)]
    path = write_frames(tmp_path / "frames.xyz", [labelled(f) for f in frames], lambda item: six(item, "ase"))
    with pytest.raises(InputError, match="sign and order of the stress cannot be told"):
        with_virials(read(path))


def test_without_stress_there_is_nothing_to_detect(tmp_path):
    path = write_frames(tmp_path / "frames.xyz", strained_frames(), None)
    found, convention = with_virials(read(path))
    assert convention is None
    assert found[0].virial is None


def test_an_open_cell_has_no_stress(tmp_path):
    item = strained_frames()[0]
    atoms = ase.Atoms(item.frame.numbers, item.frame.positions, cell=item.frame.cell, pbc=[True, True, False])
    atoms.calc = SinglePointCalculator(atoms, energy=item.energy, forces=item.forces, stress=six(item, "ase"))
    write(tmp_path / "slab.xyz", [atoms, atoms])
    assert [frame.stress for frame in read(tmp_path / "slab.xyz", key="stress")] == [None, None]


def test_trajectories_are_named(tmp_path):
    path = write_frames(tmp_path / "a.xyz", strained_frames(), None, trajectory="melt 3")
    other = write_frames(tmp_path / "b.xyz", strained_frames(), None)
    names = [frame.labelled.trajectory for frame in read_labelled([path, other])]
    assert names == ["melt 3"] * 8 + ["b.xyz"] * 8


def test_velocities_need_a_unit_and_momenta_none(tmp_path):
    item = labelled(crystal(noise=0.1, temperature=50.0))
    atoms = ase.Atoms(item.frame.numbers, item.frame.positions, cell=item.frame.cell, pbc=True)
    atoms.arrays["vel"] = item.frame.velocities * 1e-3
    write(tmp_path / "vel.xyz", atoms)
    with pytest.raises(FluxanError, match=r"vel.xyz, frame 0: the unit of its velocities is not stated"):
        list(read_labelled([tmp_path / "vel.xyz"]))
    (frame,) = read_labelled([tmp_path / "vel.xyz"], LabelUnits(velocities="A/fs"))
    assert np.allclose(frame.labelled.frame.velocities, item.frame.velocities, atol=1e-4)


BAD = {
    "missing.xyz": (None, FileError, "file not found"),
    "labels.pckl": ("", FileError, "expected labelled frames in one of"),
    "cut.xyz": (
        '2\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3\nAr 0 0 0\n',
        FileError,
        "ASE cannot read",
    ),
    "empty.xyz": ("", FileError, "no frame|cannot read"),
    "nan.xyz": (
        '1\nLattice="9 0 0 0 9 0 0 0 9" energy=nan Properties=species:S:1:pos:R:3\nAr 0 0 0\n',
        FluxanError,
        "frame 0: energy is not finite",
    ),
    "five.xyz": (
        '1\nLattice="9 0 0 0 9 0 0 0 9" virials="1 2 3 4 5" Properties=species:S:1:pos:R:3\nAr 0 0 0\n',
        FluxanError,
        "virials has 5 numbers, expected 6 or 9",
    ),
    "unit.xyz": (
        '1\nLattice="9 0 0 0 9 0 0 0 9" stress="1 2 3 2 5 6 3 6 9" Properties=species:S:1:pos:R:3\nAr 0 0 0\n',
        FluxanError,
        "the unit of its stress is not stated",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, name):
    text, error, message = BAD[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    units = LabelUnits(stress="" if name == "unit.xyz" else "GPa")
    with pytest.raises(error, match=message) as caught:
        list(read_labelled([tmp_path / name], units))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_units_name_the_known_ones():
    with pytest.raises(InputError, match=r"unit 'psi' of stress is not known; expected one of eV/A\^3, GPa"):
        LabelUnits(stress="psi").factor("stress")

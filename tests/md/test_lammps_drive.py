"""Models that move LAMMPS' atoms: against LAMMPS' own forces, against ASE, and when they fail."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase import units
from ase.md.verlet import VelocityVerlet

import fluxan
from fluxan.errors import InputError, ModelError
from fluxan.md.ase import FluxanCalculator
from fluxan.md.lammps import FluxRecorder, drive
from fluxan.potentials.base import Potential
from fluxan.potentials.equivariant import EquivariantNetwork
from tests.lammps_helper import lammps_instance
from tests.md.lammps_systems import CUTOFF, SORTED, argon, arrays, crystal, frame_of, lj_cut
from tests.message_passing import scaled_up

NVE = "fix move all nve"
PRESSURE = ("press", "pxx", "pyy", "pzz", "pxy", "pxz", "pyz")


@pytest.fixture
def lmp():
    with lammps_instance() as instance:
        yield instance


def network(model=EquivariantNetwork):
    """Two layers that pass messages, soft atoms with hard cores."""
    return scaled_up(model([18, 36], cutoff=4.5, n_features=4, seed=2, zbl=True), 1.2)


@pytest.mark.parametrize("style", ["metal", "real"])
@pytest.mark.parametrize("steps", [0, 50])
def test_lennard_jones_is_lammps_own(style, steps):
    """Forces, energies of all and of single atoms, pressure: in a tilted box, with atoms sorted meanwhile."""
    found = []
    for driven in (True, False):
        with lammps_instance() as lmp:
            lmp.command(SORTED)
            crystal(lmp, units=style, tilt="0.5 -0.3 0.4")
            lmp.commands_string(f"{NVE}\ncompute single all pe/atom\ncompute total all reduce sum c_single")
            lmp.command("thermo_style custom step temp pe etotal press c_total")
            if driven:
                drive(lmp, argon(), elements=["Ar"])
            else:
                lj_cut(lmp, style)
            lmp.command(f"run {steps}")
            values = {name: lmp.get_thermo(name) for name in ("pe", "etotal", *PRESSURE)}
            single = lmp.numpy.extract_compute("single", 1, 1)
            order = np.argsort(lmp.numpy.extract_atom("id")[: len(single)])
            vectors = dict(zip("xvf", arrays(lmp, "x", "v", "f"), strict=True))
            found.append(values | vectors | {"single": single[order]})
    ours, theirs = found
    for name, expected in theirs.items():
        scale = theirs["press"] if name in PRESSURE else expected
        assert np.abs(np.subtract(ours[name], expected)).max() < 1e-9 * np.abs(scale).max(), name


@pytest.mark.parametrize(
    "what",
    [
        "fix move all npt temp 90 90 0.1 tri 0 0 0.5\nrun 100",
        "minimize 0 1e-6 100 1000",
        "fix relax all box/relax tri 0\nminimize 0 1e-6 20 100",
    ],
)
def test_barostats_and_minimisers_do_as_with_lammps_own(what):
    found = []
    for driven in (True, False):
        with lammps_instance() as lmp:
            crystal(lmp, tilt="0.5 -0.3 0.4")
            lmp.command("displace_atoms all random 0.1 0.1 0.1 7")
            if driven:
                drive(lmp, argon(), elements=["Ar"])
            else:
                lj_cut(lmp)
            lmp.commands_string(what)
            found.append([lmp.get_thermo(name) for name in ("vol", "xy", "xz", "yz", "pe", "press")])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-7)


def test_trajectory_is_that_of_ase(lmp):
    """A model that passes messages, 100 steps; masses make up for LAMMPS' constants, which are not ASE's."""
    crystal(lmp, types=2, n=2, timestep=0.002)
    masses, ratio = np.array([39.948, 83.798]), 1 / (1000 * units.fs) ** 2 / lmp.extract_global("mvv2e")
    assert ratio == pytest.approx(1, abs=1e-7)  # 5.5e-8, which alone would move atoms apart by 4e-9 Å
    for kind in (1, 2):
        lmp.command(f"mass {kind} {float(masses[kind - 1] * ratio)!r}")
    lmp.command(NVE)
    model = network()
    drive(lmp, model, elements="Ar Kr")
    start = frame_of(lmp, "Ar Kr")
    atoms = ase.Atoms(start.numbers, positions=start.positions, cell=start.cell, pbc=True)
    atoms.set_masses(masses[(start.numbers == 36).astype(int)])
    atoms.set_velocities(start.velocities / (1000 * units.fs))
    atoms.calc = FluxanCalculator(model)
    VelocityVerlet(atoms, 2 * units.fs).run(100)
    lmp.command("run 100")
    moved = frame_of(lmp, "Ar Kr").positions - atoms.positions
    moved -= np.rint(moved @ np.linalg.inv(start.cell)) @ start.cell
    assert np.abs(moved).max() < 1e-9
    assert np.abs(atoms.positions - start.positions).max() > 0.1


def test_message_passing_conserves_energy_for_10_ps(lmp):
    crystal(lmp, types=2, n=2, hot=60)
    lmp.command(NVE)
    drive(lmp, network(), elements="Ar Kr")
    lmp.command("run 0 post no")
    energies = []
    for _ in range(100):
        lmp.command("run 25 pre no post no")
        energies.append(lmp.get_thermo("etotal") / 32)
    slope = np.polyfit(0.1 * np.arange(100), energies, 1)[0]
    assert abs(10 * slope) < 1e-5


class Counting(EquivariantNetwork):
    """Counts its evaluations."""

    count = 0

    def forward(self, graph):
        Counting.count += 1
        return super().forward(graph)


@pytest.mark.parametrize("style", ["metal", "real"])
def test_recorder_shares_the_evaluation_that_moves_the_atoms(lmp, style):
    lmp.command(SORTED)
    crystal(lmp, units=style, types=2, n=2)
    lmp.command(NVE)
    model = network(Counting)
    drive(lmp, model, elements="Ar Kr")
    recorder = FluxRecorder(lmp, model, elements="Ar Kr", every=5)
    recorder.run(5)  # checks the route
    before = Counting.count
    recorder.run(20)
    assert Counting.count - before == 21  # one for the setup and one a step
    expected = fluxan.heat_flux(frame_of(lmp, "Ar Kr"), network())
    last = recorder.dataset().isel(time=-1)
    for name in ("potential", "kinetic", "convective"):
        limit = 1e-9 * np.abs(getattr(expected, name)).max()
        np.testing.assert_allclose(last[name].values, getattr(expected, name), atol=limit, rtol=0)


def test_recorder_of_another_model_on_a_driven_lammps(lmp):
    crystal(lmp, n=2)
    lmp.command(NVE)
    drive(lmp, argon(), elements=["Ar"])
    other = EquivariantNetwork([18], cutoff=4.5, n_features=4)
    recorder = FluxRecorder(lmp, other, elements=["Ar"], every=5, groups=["a", "b"] * 16)
    recorder.run(5)
    expected = fluxan.heat_flux(frame_of(lmp, "Ar"), other, groups=["a", "b"] * 16)
    np.testing.assert_allclose(recorder.dataset()["potential"].values[-1], expected.potential, rtol=1e-8, atol=1e-12)


class Failing(Potential):
    """Fails at some evaluations, counted from 1."""

    cutoff = CUTOFF

    def __init__(self, *when):
        super().__init__()
        self.good, self.when, self.count = argon(), when, 0

    def forward(self, graph):
        self.count += 1
        if self.count in self.when:
            raise ModelError("no more")
        return self.good(graph)


@pytest.fixture
def argon_crystal(lmp):
    crystal(lmp)
    lmp.command(NVE)
    return lmp


WAYS = {
    "command": lambda lmp, _: lmp.command("run 50"),
    "commands_string": lambda lmp, _: lmp.commands_string("run 50\nrun 50\nrun 50"),
    "commands_list": lambda lmp, _: lmp.commands_list(["run 50", "run 50"]),
    "cmd": lambda lmp, _: lmp.cmd.run(50),
    "file": lambda lmp, path: lmp.file(str(path)),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_model_raises_stops_the_run_and_is_raised(argon_crystal, way, tmp_path):
    script = tmp_path / "in.run"
    script.write_text("run 50\nrun 50\n", encoding="utf-8")
    model = Failing(12)
    drive(argon_crystal, model, elements=["Ar"])
    with pytest.raises(ModelError, match="no more"):
        WAYS[way](argon_crystal, script)
    assert argon_crystal.extract_global("ntimestep") == 11
    assert model.count == 12
    assert np.isfinite(argon_crystal.numpy.extract_atom("v")).all()
    argon_crystal.command("run 3")  # the next run is not held up
    assert argon_crystal.extract_global("ntimestep") == 14


def test_a_fault_at_the_first_step_and_while_minimising(argon_crystal):
    model = Failing(1, 5)
    driver = drive(argon_crystal, model, elements=["Ar"])
    with pytest.raises(ModelError, match="no more"):
        driver.run(10)
    assert argon_crystal.extract_global("ntimestep") == 0
    with pytest.raises(ModelError, match="no more"):
        argon_crystal.command("minimize 0 1e-8 100 1000")
    assert model.count == 5
    driver.check()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("a slip")])
def test_interrupts_and_errors_are_raised(argon_crystal, error, monkeypatch):
    driver = drive(argon_crystal, argon(), elements=["Ar"])

    def fails(*_arguments, **_options):
        raise error

    argon_crystal.command("run 2")
    monkeypatch.setattr(driver._evaluation, "at", fails)
    with pytest.raises(type(error)):
        argon_crystal.command("run 10")


def test_a_recorder_keeps_what_it_had_when_the_model_fails(argon_crystal):
    model = Failing(100)
    drive(argon_crystal, model, elements=["Ar"])
    recorder = FluxRecorder(argon_crystal, model, elements=["Ar"], every=5)
    model.when = ()
    recorder.run(10)
    model.when = (model.count + 14,)
    with pytest.raises(ModelError, match="no more"):
        recorder.run(50)
    assert recorder.dataset().sizes["time"] == 5


def test_other_forces_are_refused(argon_crystal):
    lj_cut(argon_crystal)
    with pytest.raises(
        InputError, match=r"LAMMPS has pair_style lj/cut, whose forces would come on top of the model's"
    ):
        drive(argon_crystal, argon(), elements=["Ar"])
    argon_crystal.commands_string("pair_style zero 5.0\npair_coeff * *")
    drive(argon_crystal, argon(), elements=["Ar"])
    argon_crystal.command("run 0")
    assert argon_crystal.extract_global("pair_style") == "zero"


def test_driven_twice_and_released(argon_crystal):
    driver = drive(argon_crystal, argon(), elements=["Ar"])
    with pytest.raises(InputError, match="driven by a model already"):
        drive(argon_crystal, argon(), elements=["Ar"])
    driver.release()
    argon_crystal.command("run 0")
    assert argon_crystal.get_thermo("pe") == 0.0
    with drive(argon_crystal, "shipped:ar", elements=["Ar"]):
        argon_crystal.command("run 0")
        assert argon_crystal.get_thermo("pe") < 0.0
    assert not argon_crystal.has_id("fix", "fluxan")


def test_models_that_do_not_fit(argon_crystal):
    with pytest.raises(ModelError, match="does not know Kr"):
        drive(argon_crystal, argon(), elements=["Kr"])
    with pytest.raises(InputError, match="LAMMPS has 1 atom types but elements names 2"):
        drive(argon_crystal, argon(), elements=["Ar", "Ar"])
    with pytest.raises(fluxan.FluxanError, match="nosuch"):
        drive(argon_crystal, "nosuch.toml", elements=["Ar"])
    assert not argon_crystal.has_id("fix", "fluxan")

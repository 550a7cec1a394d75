"""`fluxan md` and `fluxan watch` as a user meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

import fluxan
from fluxan.series.flux_file import FluxFile
from fluxan.series.schema import VARIABLES

SHORT = ["--time", "4", "--thermalise", "0.4", "--quiet"]


@pytest.fixture
def crystal(tmp_path):
    """32 atoms of argon in a file that ASE alone reads."""
    path = tmp_path / "POSCAR"
    write(path, bulk("Ar", "fcc", a=5.5, cubic=True).repeat(2), format="vasp")
    return path


@pytest.fixture
def md(run, crystal, tmp_path):
    """Run that crystal; the output is named."""

    def runner(*options, output="flux.nc"):
        common = ["--model", "shipped:ar", "--temperature", "60", "--timestep", "4", *SHORT]
        return run("md", crystal, *common, "--output", tmp_path / output, *options)

    return runner


def test_a_conductivity_in_one_command(run, md, tmp_path):
    status, out, err = md()
    assert status == 0
    assert err.splitlines()[0] == "32 atoms, 0.4 ps at 60 K, then 4 ps nve, a flux every 20 fs"
    assert "2 ps " in out
    assert "κ = " in out
    assert "total energy changed by " in out
    again = json.loads(run("kappa", tmp_path / "flux.nc", "--json")[1])
    printed = next(line for line in out.splitlines() if line.startswith("κ = "))
    assert printed.startswith(f"κ = {again['kappa']:.2g}"[:7])
    correlator = fluxan.Correlator.load(tmp_path / "flux.correlation.nc")
    with fluxan.open_flux(tmp_path / "flux.nc") as dataset:
        assert correlator.n_samples == dataset.sizes["time"] == 200
        total = fluxan.total_flux(dataset).values
    mean_square = np.diag(correlator.correlation().values[0]).sum()
    assert mean_square == pytest.approx((total**2).sum(axis=1).mean())


@pytest.mark.parametrize("name", ["ar-liquid", "agi"])
def test_shipped_structures(run, tmp_path, name):
    options = ["--time", "1.5", "--thermalise", "0.02", "--quiet", "--json", "--output", tmp_path / "flux.nc"]
    status, out, _ = run("md", f"shipped:{name}", *options)
    facts = json.loads(out)
    assert status == 0
    assert facts["n_frames"] == (75 if name == "ar-liquid" else 150)
    assert abs(facts["energy_drift"]) < 1e-5
    assert facts["kappa"] is None or facts["error"] > 0


def test_extending_gives_the_bits_of_a_long_run(md, tmp_path):
    assert md("--time", "2.3")[0] == 0
    status, _, err = md("--time", "4", "--resume")
    assert status == 0
    assert "continued at 2 ps" in err
    assert md("--time", "4", output="whole.nc")[0] == 0
    with fluxan.open_flux(tmp_path / "flux.nc") as a, fluxan.open_flux(tmp_path / "whole.nc") as b:
        assert a.attrs["frames_planned"] == b.attrs["frames_planned"] == 200
        for name in VARIABLES:
            assert np.array_equal(a[name].values, b[name].values), name
    saved = [(tmp_path / f"{name}.correlation.nc").read_bytes() for name in ("flux", "whole")]
    assert saved[0] == saved[1]


def test_it_stops_when_the_error_is_small_enough(md):
    status, out, _ = md("--until-error", "99%", "--time", "40", "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["reached"]
    assert facts["length"] < 40
    assert facts["error"] < 0.99 * facts["kappa"]
    again = json.loads(md("--until-error", "99%", "--time", "40", "--json", "--resume")[1])
    assert again == facts


def test_nothing_is_overwritten_and_other_settings_are_refused(md, tmp_path):
    assert md("--time", "1")[0] == 0
    status, _, err = md("--time", "1")
    assert status == 2
    assert "flux.nc exists; resume it, overwrite it, or give another output" in err
    status, _, err = md("--time", "1", "--resume", "--seed", "3")
    assert status == 2
    assert "begun with seed = 0, now it is 3" in err
    (tmp_path / "flux.restart.npz").write_bytes((tmp_path / "flux.restart.npz").read_bytes()[:2000])
    status, _, err = md("--time", "1", "--resume")
    assert status == 2
    assert "flux.restart.npz is no restart file that can be read" in err
    (tmp_path / "flux.restart.npz").unlink()
    status, _, err = md("--time", "1", "--resume")
    assert status == 2
    assert "cannot resume" in err
    assert md("--time", "1", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ensemble", "npt"], "ensemble is 'npt', expected one of nve, langevin, nvt"),
        (["--temperature", "-3"], "temperature is -3.0, expected a positive number"),
        (["--time", "0.001"], "less than the 0.02 ps from flux to flux"),
        (["--until-error", "much"], "expected a share of κ below 1, as in 5%"),
        (["--repeat", "2,2"], "expected one whole number or three"),
        (["--timestep", "400"], "step "),
    ],
)
def test_bad_input_is_one_line(md, options, message):
    status, _, err = md(*options)
    assert status == 2
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_structure_without_temperature_is_refused(run, crystal):
    assert "give --temperature" in run("md", crystal, "--model", "shipped:ar")[2]
    assert "carries no model" in run("md", crystal, "--temperature", "60")[2]
    assert "there are shipped:ar-liquid, shipped:agi" in run("md", "shipped:gold")[2]
    crystal.write_text("nonsense")
    assert "neither a trajectory that fluxan knows nor a structure" in run("md", crystal, "--temperature", "60")[2]


def test_a_run_ended_by_a_signal_can_be_resumed(crystal, tmp_path):
    command = [sys.executable, "-m", "fluxan.cli", "md", crystal, "--model", "shipped:ar", "--temperature", "60"]
    command += ["--time", "4000", "--thermalise", "0", "--quiet", "--output", tmp_path / "flux.nc"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "flux.nc").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1].endswith("continue with the same command and --resume")


def test_watch_once_prints_the_state(run, md, tmp_path):
    md()
    status, out, _ = run("watch", tmp_path / "flux.nc", "--once")
    assert status == 0
    assert "200 of 200 (100%), 4 ps" in out
    for name in ("temperature", "energy drift", "κ"):
        assert name in out
    facts = json.loads(run("watch", tmp_path / "flux.nc", "--json")[1])
    assert facts["finished"]
    status, out, _ = run("watch", tmp_path / "flux.nc")  # ends, since all is done
    assert status == 0
    assert len(out.splitlines()) == 1


def test_watch_waits_for_a_file_and_survives_its_replacement(tmp_path):
    from fluxan.report.monitor import Watcher
    from tests.regression.killing import expected

    path = tmp_path / "flux.nc"
    watcher = Watcher(path)
    assert "No such file" in watcher.look().trouble
    for planned in (10, 20):
        file = FluxFile(path, ("Ar", "Kr"), {}, 2)
        file.create({"frames_planned": planned, "time_step": 1.0})
        assert watcher.look().frames == 0
        for _ in range(2):
            file.write(expected(np.arange(file.n_frames, file.n_frames + 2)))
        seen = watcher.look()
        assert (seen.frames, seen.planned) == (4, planned)
        assert seen.rate > 0
        assert dict(seen.lines())["time left"]
        file.close()
    path.write_text("broken")
    assert "not a NetCDF file" in watcher.look().trouble

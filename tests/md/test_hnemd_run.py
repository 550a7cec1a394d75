"""Runs of HNEMD: the work of the driving force, what is recorded, what is refused, and interruptions."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet

import fluxan
from fluxan.correlation.virial_velocity import VirialVelocityCorrelator
from fluxan.errors import InputError, OutputError, TrajectoryError
from fluxan.greenkubo.driven import driven_conductivity
from fluxan.greenkubo.spectral_conductivity import spectral_conductivity
from fluxan.md.ase.momenta import draw_momenta
from fluxan.md.example_systems import find_example
from fluxan.md.hnemd import driving_choice
from fluxan.md.hnemd.driven_calculator import DrivenCalculator
from fluxan.md.hnemd.driving_choice import DrivingChoice
from fluxan.md.hnemd.hnemd_run import HnemdRun
from fluxan.md.hnemd.hnemd_settings import HnemdSettings
from fluxan.md.hnemd.spectrum_file import load_correlation
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.system import Frame
from fluxan.trajectory.memory import atoms_of_frame
from fluxan.units import CONDUCTIVITY
from tests.message_passing import scaled_up

SETTINGS = HnemdSettings(
    temperature=40.0,
    time=0.48,
    timestep=4.0,
    flux_every=2,
    thermalise=0.08,
    checkpoint_every=6,
    driving_force=(0.02, 0.01, 0.0),
    max_lag=0.08,
)


def argon(n_cells=2):
    atoms = bulk("Ar", "fcc", a=5.35, cubic=True).repeat(n_cells)
    return Frame(atoms.positions, None, np.array(atoms.cell), atoms.numbers)


def mixture():
    frame = argon()
    return frame.replace(numbers=np.resize([18, 36], 32), masses=None)


def lennard_jones():
    return find_example("ar-liquid").model()


def network():
    return scaled_up(EquivariantNetwork([18, 36], cutoff=4.5, n_features=4, seed=2, zbl=True), 1.2)


def finish(run):
    with closing(run):
        for _ in run.blocks():
            pass
        if isinstance(run, HnemdRun):
            run.save_spectrum()


@pytest.mark.parametrize("kind", ["one element", "two elements, message passing"])
def test_energy_grows_by_the_work_of_the_driving_force(kind):
    """Without a thermostat dE/dt = J·F_e, in a run of 0.1 ps, up to the error of the integrator."""
    frame, model = (argon(), lennard_jones()) if kind == "one element" else (mixture(), network())
    field, timestep = np.array([0.25, -0.1, 0.15]), 1.0
    atoms = atoms_of_frame(frame)
    draw_momenta(atoms, 60.0, np.random.default_rng(3))
    atoms.calc = DrivenCalculator(model, field=field)
    forces = atoms.get_forces(md=True)
    atoms.calc.velocity_lag = 0.5e-3 * timestep
    dynamics = VelocityVerlet(atoms, timestep=timestep * units.fs)
    powers, energies = [], []
    for step in range(101):
        if step:
            forces = dynamics.step(forces)
        powers.append(atoms.calc.flux(atoms).total @ field)
        energies.append(atoms.get_total_energy())
    gain = np.array(energies) - energies[0]
    work = np.concatenate([[0.0], np.cumsum(0.5e-3 * timestep * (np.array(powers[1:]) + powers[:-1]))])
    assert np.abs(gain).max() > 5e-4
    np.testing.assert_allclose(gain, work, atol=2e-3 * np.abs(gain).max())


@pytest.mark.parametrize("kind", ["one element", "two elements, message passing"])
def test_recorded_flux_counts_energies_from_their_means(tmp_path, kind):
    frame, model = (argon(), lennard_jones()) if kind == "one element" else (mixture(), network())
    run = HnemdRun(frame, model, SETTINGS, output=tmp_path / "flux.nc")
    seen = []
    recorded = run._recording.add
    run._recording.add = lambda frame, flux: (seen.append(frame), recorded(frame, flux))
    finish(run)
    zero = run._energy_zero
    assert len(set(np.round(zero, 9))) == len(set(frame.numbers.tolist()))
    with fluxan.open_flux(tmp_path / "flux.nc") as dataset:
        assert dataset.attrs["ensemble"] == "hnemd"
        np.testing.assert_array_equal(dataset.attrs["driving_force"], SETTINGS.driving_force)
        total = fluxan.total_flux(dataset).values
        for k in (0, 27, 59):
            expected = fluxan.heat_flux(seen[k], model).total - zero @ seen[k].velocities
            np.testing.assert_allclose(total[k], expected, atol=1e-9 * np.abs(total).max())
        assert np.abs(np.asarray(seen[5].masses) @ seen[5].velocities).max() < 1e-9


def test_spectral_heat_current_integrates_to_the_mean_flux(tmp_path):
    """Σ_j ⟨W_jᵀF̂·v_j⟩ at lag zero is ⟨J_pot·F̂⟩, so that the spectrum adds up to the potential part of κ."""
    finish(HnemdRun(mixture(), network(), SETTINGS, output=tmp_path / "flux.nc"))
    correlation, labels, field = load_correlation(tmp_path / "flux.spectrum.nc")
    np.testing.assert_array_equal(field, SETTINGS.driving_force)
    assert labels == ("Ar", "Kr")
    result = driven_conductivity(tmp_path / "flux.nc")
    direction = np.array(SETTINGS.driving_force) / result.strength
    with fluxan.open_flux(tmp_path / "flux.nc") as dataset:
        by_carrier = dataset["potential"].values.sum(axis=1).mean(axis=0) @ direction
    expected = by_carrier * CONDUCTIVITY / (result.volume * result.temperature * result.strength)
    spectrum = spectral_conductivity(
        correlation,
        volume=result.volume,
        temperature=result.temperature,
        driving_force=result.strength,
        labels=labels,
    )
    assert spectrum.integral == pytest.approx(expected.sum(), rel=1e-10)
    for label, value in zip(labels, expected, strict=True):
        assert spectrum.cumulative_by_carrier[label].value[-1] == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_interruptions_leave_no_trace(tmp_path):
    """Stopped after any step, in any phase, and continued: the same bits in the flux file and in the spectrum."""
    finish(HnemdRun(argon(), lennard_jones(), SETTINGS, output=tmp_path / "whole.nc"))
    rng = np.random.default_rng(0)
    path = tmp_path / "parts.nc"
    for _ in range(60):
        run = HnemdRun(
            argon(), lennard_jones(), SETTINGS, output=path, resume=path.with_suffix(".restart.npz").exists()
        )
        stop_after(run, int(rng.integers(3, 60)))
        finish(run)
        if run.n_frames == SETTINGS.n_frames:
            break
    assert run.n_frames == SETTINGS.n_frames
    with fluxan.open_flux(tmp_path / "whole.nc") as whole, fluxan.open_flux(path) as parts:
        for name in whole.variables:
            np.testing.assert_array_equal(whole[name].values, parts[name].values, err_msg=name)
    one, other = (load_correlation(tmp_path / f"{name}.spectrum.nc")[0] for name in ("whole", "parts"))
    np.testing.assert_array_equal(one.sums, other.sums)
    np.testing.assert_array_equal(one.counts, other.counts)


def stop_after(run, steps):
    """Set `run.stop` during that step, as a signal does."""
    original, left = run._calculator.calculate, [steps]

    def calculate(*arguments, **keywords):
        left[0] -= 1
        run.stop = run.stop or left[0] == 0
        return original(*arguments, **keywords)

    run._calculator.calculate = calculate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ensemble": "nve"}, "without a thermostat the atoms heat up"),
        ({"ensemble": "langevin"}, "friction would damp the flux"),
        ({"driving_force": (0.0, 0.0, 0.0)}, "the driving force is zero"),
        ({"driving_force": (np.nan, 0.0, 0.0)}, "three finite numbers"),
        ({"max_lag": -1.0}, "max_lag is -1"),
        ({"temperature": -3.0}, "temperature is -3"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(InputError, match=message):
        replace(SETTINGS, **change)


def test_a_driving_force_that_heats_is_told(tmp_path):
    run = HnemdRun(argon(), lennard_jones(), replace(SETTINGS, driving_force=(1.5, 0, 0)), output=tmp_path / "flux.nc")
    with pytest.raises(TrajectoryError, match=r"step \d+ of the production: the driving force heats the atoms to"):
        finish(run)


def test_melting_is_told(tmp_path):
    """A solid whose atoms leave their sites after the driving force has set in."""
    run = HnemdRun(argon(), lennard_jones(), SETTINGS, output=tmp_path / "flux.nc")
    for _ in run.blocks():
        if run.phase == "produce":
            break
    assert run._solid == {18}
    rng = np.random.default_rng(0)
    run.atoms.positions += rng.normal(scale=0.6 * 3.78, size=(32, 3)) * 0.35
    run._sites.reference = run.atoms.positions + 2.0 * rng.normal(size=(32, 3))
    with pytest.raises(TrajectoryError, match="most Ar atoms have left the sites"):
        run._refuse_melting()
    run.close()


def test_a_liquid_may_diffuse_but_not_a_mixture(tmp_path):
    run = HnemdRun(argon(), lennard_jones(), SETTINGS, output=tmp_path / "liquid.nc")
    run._sites.reference = run._sites.reference + np.random.default_rng(0).normal(scale=3.0, size=(32, 3))
    finish(run)
    assert run._solid == set()
    run = HnemdRun(mixture(), network(), SETTINGS, output=tmp_path / "mixture.nc")
    moved = run._sites.reference.copy()
    moved[mixture().numbers == 36] += np.random.default_rng(1).normal(scale=3.0, size=(16, 3))
    run._sites.reference = moved
    with pytest.raises(InputError, match=r"Kr atoms diffuse in a mixture .*Green-Kubo"):
        finish(run)


def test_clusters_are_refused(tmp_path):
    with pytest.raises(InputError, match="cluster"):
        HnemdRun(argon().replace(cell=None), lennard_jones(), SETTINGS, output=tmp_path / "flux.nc")


def test_no_spectrum_without_lags(tmp_path):
    finish(HnemdRun(argon(), lennard_jones(), replace(SETTINGS, max_lag=0.0), output=tmp_path / "flux.nc"))
    assert not (tmp_path / "flux.spectrum.nc").exists()


@pytest.fixture
def prescribed(monkeypatch):
    """Conductivities by driving force instead of those of the runs; returns the dictionary of results so far."""
    seen = {}

    def result(path):
        with fluxan.open_flux(path) as dataset:
            strength = float(np.linalg.norm(dataset.attrs["driving_force"]))
        seen[path.name] = strength
        kappa = 2.0 * (1 + 40.0 * strength**2)
        return SimpleNamespace(kappa=kappa, error=2e-4 / strength, nonlinear="", unit="W/(m K)")

    monkeypatch.setattr(driving_choice, "driven_conductivity", result)
    return seen


def choices(tmp_path, **options):
    return DrivingChoice(argon(), lennard_jones(), SETTINGS, duration=0.32, output=tmp_path / "flux.nc", **options)


def test_the_chosen_run_is_continued_by_the_production(tmp_path, prescribed):
    """Checks begin with the same thermalised atoms; the production has the first frames of the chosen check."""
    levels = []
    checks = choices(tmp_path)
    assert checks.production_begun() is None
    choice = checks.choose(finish, levels.append)
    assert [level.strength for level in levels] == sorted(prescribed.values(), reverse=True)
    ratio = levels[0].strength / levels[1].strength
    assert ratio in (pytest.approx(2), pytest.approx(3))
    assert 40.0 * choice.level.strength**2 < 0.06
    checks.adopt(choice)
    settings = checks.settings_for(choice)
    assert checks.production_begun() == settings
    assert np.linalg.norm(settings.driving_force) == pytest.approx(choice.level.strength)
    np.testing.assert_allclose(np.cross(settings.driving_force, SETTINGS.driving_force), 0, atol=1e-15)
    run = HnemdRun(argon(), lennard_jones(), settings, output=tmp_path / "flux.nc", resume=True)
    begun = run.n_frames
    assert begun > 30
    finish(run)
    whole = HnemdRun(argon(), lennard_jones(), settings, output=tmp_path / "whole.nc")
    finish(whole)
    with fluxan.open_flux(tmp_path / "flux.nc") as parts, fluxan.open_flux(tmp_path / "whole.nc") as dataset:
        np.testing.assert_array_equal(parts["potential"].values, dataset["potential"].values)


def test_checks_are_continued_and_files_protected(tmp_path, prescribed):
    first = choices(tmp_path).choose(finish, lambda _: None)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("flux.check*.nc")}
    with pytest.raises(OutputError, match="exists; resume it, overwrite it"):
        choices(tmp_path)
    again = choices(tmp_path, resume=True).choose(finish, lambda _: None)
    assert again.level.strength == first.level.strength
    lengths = {}
    for path in [path for path in times if "spectrum" not in path.name]:
        with fluxan.open_flux(path) as dataset:
            lengths[path] = dataset.sizes["time"]
    assert set(lengths.values()) == {40}
    choices(tmp_path, overwrite=True)
    assert not list(tmp_path.glob("flux.*"))


def test_a_rejected_driving_force_is_followed_by_a_smaller_one(tmp_path, prescribed):
    checks = choices(tmp_path)
    choice = checks.choose(finish, lambda _: None)
    checks.adopt(choice)
    checks.reject(choice.level.strength, "the flux fluctuates too much")
    assert checks.production_begun() is None
    levels = []
    smaller = choices(tmp_path, resume=True).choose(finish, levels.append)
    assert smaller.level.strength == pytest.approx(choice.level.strength / 2)
    assert [level.failure for level in levels if level.strength == choice.level.strength] == [
        "the flux fluctuates too much"
    ]


def test_failures_lead_to_smaller_driving_forces(tmp_path, prescribed):
    def follow(run):
        if run.strength > 0.03:
            raise TrajectoryError("the atoms heat up")
        finish(run)

    levels = []
    choices(tmp_path).choose(follow, levels.append)
    assert levels[0].failure == "the atoms heat up"
    assert levels[0].strength == pytest.approx(3 * levels[1].strength)


def test_short_checks_end_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(
        driving_choice,
        "driven_conductivity",
        lambda _: SimpleNamespace(kappa=1.0, error=0.9, nonlinear="", unit="W/(m K)"),
    )
    with pytest.raises(InputError, match=r"runs of 0\.32 ps are too short .* κ = 1\.00 ± 0\.90"):
        choices(tmp_path).choose(finish, lambda _: None)


def test_the_correlators_state_is_that_of_its_samples():
    """A restart file keeps it, and what it keeps is enough."""
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 300, 5, 3))
    whole, parts = (VirialVelocityCorrelator([0, 0, 1, 1, 1], max_lag=20, time_step=0.01) for _ in range(2))
    whole.update(u, v)
    parts.update(u[:111], v[:111])
    parts = VirialVelocityCorrelator.from_state(parts.state())
    parts.update(u[111:], v[111:])
    np.testing.assert_array_equal(whole.correlation().sums, parts.correlation().sums)

"""`FluxRecorder` on ASE's dynamics, against the flux of each frame by itself."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet

import fluxan
from fluxan.errors import InputError, ModelError, OutputError
from fluxan.md.ase import FluxanCalculator, FluxRecorder, frame_of_atoms
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.series.schema import VARIABLES
from tests.message_passing import scaled_up


@pytest.fixture
def atoms():
    crystal = bulk("Ar", "fcc", a=5.5, cubic=True).repeat((2, 2, 2))
    crystal.numbers[::3] = 36
    crystal.set_masses(None)
    MaxwellBoltzmannDistribution(crystal, temperature_K=60, rng=np.random.default_rng(1))
    Stationary(crystal)
    return crystal


def models():
    return {
        "lennard-jones": fluxan.load_model("shipped:ar-kr"),
        "network": scaled_up(EquivariantNetwork([18, 36], cutoff=4.5, n_features=4, seed=2), 1.2),
    }


def run(atoms, recorder, *, steps=20, interval=5):
    frames, dyn = [], VelocityVerlet(atoms, 2 * units.fs)
    dyn.attach(recorder, interval=interval)
    dyn.attach(lambda: frames.append(frame_of_atoms(atoms)), interval=interval)
    dyn.run(steps)
    return frames


@pytest.mark.parametrize("name", ["lennard-jones", "network"])
@pytest.mark.parametrize("ours", [True, False])
def test_flux_is_that_of_each_frame(atoms, name, ours):
    model = models()[name]
    atoms.calc = FluxanCalculator(model) if ours else LennardJones(epsilon=0.0103, sigma=3.4, rc=8.0)
    recorder = FluxRecorder(atoms, model)
    frames = run(atoms, recorder)
    dataset = recorder.dataset()
    assert dataset.sizes["time"] == len(frames) == 5
    np.testing.assert_allclose(dataset["time"], 0.01 * np.arange(5), atol=1e-12)
    for k, frame in enumerate(frames):
        expected = fluxan.heat_flux(frame, model)
        found = dataset.isel(time=k)
        for part in ("potential", "kinetic", "convective", "velocity"):
            value = getattr(expected, part)
            np.testing.assert_allclose(found[part], value, rtol=1e-9, atol=1e-10 * np.abs(value).max(), err_msg=part)


@pytest.mark.parametrize("name", ["lennard-jones", "network"])
def test_one_evaluation_gives_forces_and_flux(atoms, name):
    """The model runs once per step, whether a flux is recorded or not."""
    calls = {}
    for recorded in (True, False):
        model, moving = models()[name], atoms.copy()
        moving.calc = FluxanCalculator(model)
        recorder = FluxRecorder(moving, model) if recorded else lambda: None
        run(moving, recorder, steps=4, interval=2)  # the route is checked here
        before, count = moving.calc.n_evaluations, []
        hook = model.register_forward_hook(lambda *_, count=count: count.append(1))
        run(moving, recorder, steps=20, interval=2)
        hook.remove()
        calls[recorded] = len(count), moving.calc.n_evaluations - before
    assert calls[True] == calls[False]
    assert calls[True][1] == 20
    assert calls[True][0] or name == "lennard-jones"  # which has closed forms, and no forward pass


def test_file_memory_and_correlator_agree(atoms, tmp_path):
    model = models()["lennard-jones"]
    found = {}
    correlators = {n: fluxan.Correlator(n, max_lag=4) for n in (3, 6, 12)}
    for name, options in {
        "memory": {},
        "file": {"output": tmp_path / "flux.nc"},
        **{n: {"correlator": c} for n, c in correlators.items()},
    }.items():
        moving = atoms.copy()
        moving.calc = FluxanCalculator(model)
        recorder = FluxRecorder(moving, model, **options)
        run(moving, recorder)
        recorder.flush()
        found[name] = recorder
    memory, file = found["memory"].dataset(), found["file"].dataset()
    for name in VARIABLES:
        np.testing.assert_array_equal(memory[name], file[name], err_msg=name)
    carriers = fluxan.carrier_flux(memory).values.reshape(5, 6)
    for n, samples in ((3, fluxan.total_flux(memory).values), (6, carriers)):
        direct = fluxan.Correlator(n, max_lag=4)
        direct.update(samples)
        expected = direct.correlation().values
        np.testing.assert_allclose(
            correlators[n].correlation().values, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max()
        )
    with pytest.raises(InputError, match="correlator"):
        found[12].dataset()


def test_bad_use(atoms, tmp_path):
    with pytest.raises(ModelError, match="give model="):
        FluxRecorder(atoms)
    atoms.calc = FluxanCalculator(models()["lennard-jones"])
    with pytest.raises(InputError, match="5 channels; for 2 groups give 3"):
        FluxRecorder(atoms, correlator=fluxan.Correlator(5, max_lag=4))
    (tmp_path / "flux.nc").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        FluxRecorder(atoms, output=tmp_path / "flux.nc")

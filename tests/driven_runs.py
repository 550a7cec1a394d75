"""Flux files of runs under a driving force whose mean flux is known, with white noise, and spectra beside them."""

from __future__ import annotations

import numpy as np

from fluxan.correlation.virial_velocity import VirialVelocityCorrelator
from fluxan.md.hnemd.spectrum_file import save_correlation, spectrum_beside
from fluxan.series.flux_file import FluxFile
from fluxan.series.schema import VARIABLES
from fluxan.units import BOLTZMANN, CONDUCTIVITY

TEMPERATURE, DT = 300.0, 0.02
#: κ by owner and carrier, W/(m K).
PARTS = np.array([[1.0, 0.2], [0.2, 0.6]])


def driven_file(
    path,
    *,
    parts=PARTS,
    labels=("Si", "C"),
    field=(0.0, 3e-3, 4e-3),
    n_atoms=100,
    n=3200,
    seed=0,
    noise=1.0,
    jump=0.0,
    heating=0.0,
    spectrum=False,
    planned=None,
):
    """Write the flux of a run with κ = Σ `parts` along a field (1/Å); its errors are `noise` times those expected.

    κ is larger by the fraction `jump` in the second half; the temperature of the run, by `heating`.
    """
    rng, field, parts = np.random.default_rng(seed), np.array(field), np.array(parts)
    volume, groups = 20.0 * n_atoms, len(labels)
    columns = {
        name: np.zeros((n, *[{"xyz": 3}.get(d, groups) for d in dims[1:]])) for name, (dims, _, _) in VARIABLES.items()
    }
    # The noise of linear response, S(0) = 2 V k_B T² κ, in equal parts.
    density = 2 * volume * BOLTZMANN * TEMPERATURE**2 * parts.sum() / CONDUCTIVITY
    columns["potential"] += parts[..., None] * field * (volume * TEMPERATURE / CONDUCTIVITY)
    columns["potential"][n // 2 :] *= 1 + jump
    columns["potential"] += noise * np.sqrt(density / DT) / groups * rng.standard_normal(columns["potential"].shape)
    columns |= {"time": DT * np.arange(1, n + 1), "volume": np.full(n, volume)}
    columns["temperature"] = rng.normal(TEMPERATURE * (1 + heating), 3.0, size=n)
    columns["frame_sha256"] = np.arange(1, n + 1)
    attributes = {"time_step": DT, "time_unit": "ps", "periodic": 1, "n_atoms": n_atoms, "ensemble": "hnemd"}
    attributes |= {"driving_force": field, "thermostat_temperature": TEMPERATURE, "frames_planned": planned or n}
    file = FluxFile(path, labels, {"model_sha256": "a", "trajectory_name": path.name}, 100)
    file.create(attributes)
    file.write(columns)
    file.close()
    if spectrum:
        correlator = VirialVelocityCorrelator(np.arange(groups), max_lag=20, time_step=DT)
        u, v = rng.normal(size=(2, 1000, groups, 3))
        correlator.update(u, u + v)
        save_correlation(spectrum_beside(path), correlator.correlation(), labels, field)
    return path

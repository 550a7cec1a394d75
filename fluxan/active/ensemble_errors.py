"""Errors of an ensemble's mean on labelled frames, beside the spread of its members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.active.explore import uncertainty_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.active.ensemble import Ensemble
    from fluxan.active.explore_settings import ExploreSettings
    from fluxan.trajectory.labelled_frame import LabelledFrame

#: Pairs of spread and error that a record keeps, at most.
_MAX_PAIRS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class EnsembleErrors:
    """Mean prediction against labels, frame by frame.

    Attributes
    ----------
    energies : (n_frames,) float64
        Energy of the mean less that of the label, eV per atom.
    mean_energies : (n_frames,) float64
        Energy of the mean, eV.
    force_errors : tuple of (n_atoms,) float64
        Length of the error of each atom's mean force, eV/Å.
    force_spreads : tuple of (n_atoms,) float64
        `EnsemblePrediction.force_spread`, eV/Å.
    uncertainties : (n_frames,) float64
        What the choice of frames goes by.
    """

    energies: np.ndarray
    mean_energies: np.ndarray
    force_errors: tuple[np.ndarray, ...]
    force_spreads: tuple[np.ndarray, ...]
    uncertainties: np.ndarray

    def rmse(self) -> dict[str, float]:
        """Root mean square errors: energy, eV/atom, and forces, eV/Å per component."""
        forces = np.concatenate(self.force_errors)
        return {
            "energy": float(np.sqrt((self.energies**2).mean())),
            "forces": float(np.sqrt((forces**2).mean() / 3)),
            "n_frames": len(self.energies),
        }

    def worst(self) -> int:
        """Index of the frame with the largest force error of an atom."""
        return int(np.argmax([errors.max() for errors in self.force_errors]))

    def calibration(self) -> dict[str, list[float]]:
        """Spread and error of atoms, evenly chosen where there are many."""
        spreads, errors = np.concatenate(self.force_spreads), np.concatenate(self.force_errors)
        every = max(1, -(-len(spreads) // _MAX_PAIRS))
        return {"uncertainty": spreads[::every].tolist(), "error": errors[::every].tolist()}


def ensemble_errors(ensemble: Ensemble, frames: Sequence[LabelledFrame], settings: ExploreSettings) -> EnsembleErrors:
    """Evaluate an ensemble on labelled frames.

    Parameters
    ----------
    ensemble : Ensemble
        The members.
    frames : sequence of LabelledFrame
        With energy and forces.
    settings : ExploreSettings
        Says which spread is the uncertainty.
    """
    energies, means, errors, spreads, uncertainties = [], [], [], [], []
    for item in frames:
        found = ensemble.evaluate(item.frame)
        mean = float(found.energies.mean())
        means.append(mean)
        energies.append((mean - _number(item.energy)) / item.frame.n_atoms)
        errors.append(np.linalg.norm(found.forces.mean(axis=0) - item.forces, axis=1))
        spreads.append(found.force_spread)
        by_flux = settings.uncertainty == "flux"
        uncertainties.append(
            uncertainty_of(ensemble, item.frame, settings) if by_flux else float(found.force_spread.max())
        )
    return EnsembleErrors(np.array(energies), np.array(means), tuple(errors), tuple(spreads), np.array(uncertainties))


def flux_spread(ensemble: Ensemble, frames: Sequence[LabelledFrame]) -> dict[str, float] | None:
    """Root mean square over frames of the spread of each element's heat flux, eV Å/ps; None without velocities."""
    from ase.data import chemical_symbols

    moving = [item.frame for item in frames if item.frame.velocities is not None]
    if not moving:
        return None
    squares: dict[str, list[float]] = {}
    for frame in moving:
        spread = ensemble.evaluate(frame, flux=True).flux_spread
        for z, value in zip(np.unique(frame.numbers), spread, strict=True):
            squares.setdefault(chemical_symbols[int(z)], []).append(float(value) ** 2)
    return {symbol: float(np.sqrt(np.mean(values))) for symbol, values in squares.items()}


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)

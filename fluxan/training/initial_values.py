"""Initial values of a model: energies of single atoms, standard deviations of descriptors, unit of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.errors import InputError, ModelError
from fluxan.potentials.behler_parrinello import BehlerParrinello
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.potentials.linear_potential import LinearPotential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluxan.potentials.base import Potential
    from fluxan.training.dataset import TrainingSet

#: Energies per atom of sets whose offsets are left out may differ by this among compositions, eV.
_MAX_DIFFERENCE = 0.1


def fitted_offsets(training_set: TrainingSet) -> np.ndarray:
    """Energy of an atom of each element, (n_elements,) eV, by least squares of the energies on the composition.

    Where compositions leave them undetermined, as in a set of one stoichiometry, the solution of least norm is taken:
    the fit depends on their sum over a frame alone.

    Raises
    ------
    InputError
        A frame has no energy.
    """
    training_set.require(["energy"])
    energies = np.array([item.energy for item in training_set.frames])
    return np.linalg.lstsq(training_set.composition, energies, rcond=1e-10)[0]


def given_offsets(offsets: str | Mapping[str, float], training_set: TrainingSet) -> np.ndarray:
    """Offsets that a user asks for, (n_elements,) eV.

    Parameters
    ----------
    offsets : "fit", "none" or mapping
        By least squares, zero, or eV by symbol.
    training_set : TrainingSet
        The frames.

    Raises
    ------
    InputError
        An element has no offset, or there are none at all and frames differ in stoichiometry and energy per atom.
    """
    from ase.data import atomic_numbers, chemical_symbols

    if offsets == "fit":
        return fitted_offsets(training_set)
    if offsets == "none":
        _refuse_mixed(training_set)
        return np.zeros(len(training_set.elements))
    if isinstance(offsets, str):
        raise InputError(f"model.offsets is {offsets!r}; expected fit, none, or a table of eV by element")
    unknown = [symbol for symbol in offsets if atomic_numbers.get(symbol) not in training_set.elements]
    if unknown:
        raise InputError(f"model.offsets names {unknown[0]}, which no frame contains")
    missing = [chemical_symbols[z] for z in training_set.elements if chemical_symbols[z] not in offsets]
    if missing:
        raise InputError(f"model.offsets has no energy of {', '.join(missing)}")
    return np.array([float(offsets[chemical_symbols[z]]) for z in training_set.elements])


def set_initial_values(model: Potential, training_set: TrainingSet, offsets: np.ndarray) -> None:
    """Set what a network does not learn: offsets, standard deviations of its input, unit of its output.

    Parameters
    ----------
    model : BehlerParrinello, LinearPotential or EquivariantNetwork
        Is changed in place.
    training_set : TrainingSet
        Frames with energies.
    offsets : (n_elements,) array
        eV, for the elements of the training set.

    Raises
    ------
    ModelError
        The model is of another kind.
    """
    places = [(model.elements or ()).index(z) for z in training_set.elements]
    values = torch.as_tensor(offsets)
    unit = energy_unit(training_set, offsets)
    if isinstance(model, BehlerParrinello):
        model.standardise(training_set.graphs(model.cutoff))
        model.offsets[places] = values.to(model.offsets)
        model.energy_scale.fill_(unit)
    elif isinstance(model, LinearPotential):
        model.offsets[places] = values.to(model.offsets)
    elif isinstance(model, EquivariantNetwork):
        model.shift[places] = values.to(model.shift)
        model.scale.fill_(unit)
    else:
        raise ModelError(f"{type(model).__name__} is no model that fluxan trains")


def energy_unit(training_set: TrainingSet, offsets: np.ndarray) -> float:
    """Unit of a network's output, eV: the root mean square force times 1 Å, or the spread of energies per atom."""
    forces = [item.forces for item in training_set.frames if item.forces is not None]
    if forces:
        unit = float(np.sqrt(np.mean(np.concatenate(forces) ** 2)))
    else:
        composition = training_set.composition
        energies = np.array([item.energy for item in training_set.frames]) - composition @ offsets
        unit = float(np.std(energies / composition.sum(axis=1)))
    return unit if unit > 0 else 1.0


def _refuse_mixed(training_set: TrainingSet) -> None:
    composition = training_set.composition
    shares = composition / composition.sum(axis=1, keepdims=True)
    energies = np.array([item.energy for item in training_set.frames if item.energy is not None])
    if len(energies) < len(shares) or np.ptp(shares, axis=0).max() < 1e-12:
        return
    spread = float(np.ptp(energies / composition.sum(axis=1)))
    if spread > _MAX_DIFFERENCE:
        raise InputError(
            f"the frames differ in stoichiometry, and in energy by {spread:.3g} eV/atom, and model.offsets is none: "
            "no network learns energies of single atoms well; set model.offsets to fit, or give them"
        )

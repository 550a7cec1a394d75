"""Mean square of the virial heat flux over the Maxwell-Boltzmann distribution of velocities, in closed form.

With ``J_pot = Σ_j W_j v_j`` and independent momenta, ``⟨v_i,a v_j,b⟩ = δ_ij δ_ab k_B T/m_i``, so that
``⟨|J_pot|²⟩ = Σ_j (k_B T/m_j) ‖W_j‖²`` with the Frobenius norm. Molecular dynamics conserves the total momentum. At a
total momentum of zero ``⟨v_i,a v_j,b⟩ = δ_ab k_B T (δ_ij/m_i − 1/M)``, M being the total mass, and
``(k_B T/M) ‖Σ_j W_j‖²`` is subtracted. ``Σ_j W_j = −V · stress``: under pressure both terms are of one order.

No velocities are drawn, so the mean has no sampling noise, and frames without velocities can be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.errors import InputError
from fluxan.units import BOLTZMANN, MASS_VELOCITY2

if TYPE_CHECKING:
    from fluxan.system import Frame


def flux_power(model: object, frame: Frame, *, temperature: float, fixed_momentum: bool = True) -> float:
    """Mean square of the virial heat flux of a frame over Maxwell-Boltzmann velocities, ⟨|J_pot|²⟩.

    Parameters
    ----------
    model : Potential or what `fluxan.load_model` takes
        The model; message-passing models included.
    frame : Frame
        Velocities are not needed.
    temperature : float
        K.
    fixed_momentum : bool
        Whether the total momentum is zero, as in molecular dynamics, or free.

    Returns
    -------
    float
        (eV Å/ps)².

    Raises
    ------
    InputError
        The temperature is not a positive finite number.
    ModelError
        The model does not know an element, or fails the check of its route to the flux.
    """
    from fluxan.flux.evaluate import atomic_virial

    require_temperature(temperature)
    virial = torch.as_tensor(atomic_virial(frame, model))
    masses = torch.as_tensor(np.array(frame.masses))
    return float(
        mean_square_flux(
            virial,
            masses,
            torch.zeros(frame.n_atoms, dtype=torch.int64),
            1,
            temperature=temperature,
            fixed_momentum=fixed_momentum,
        )
    )


def require_temperature(temperature: object) -> float:
    """Return a temperature, K, or raise `InputError` unless it is a positive finite number."""
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float, np.number)):
        raise InputError(f"temperature is {temperature!r}; expected a number of K")
    if not (np.isfinite(temperature) and temperature > 0):
        raise InputError(f"temperature is {temperature} K; it must be positive and finite")
    return float(temperature)


def mean_square_flux(
    virial: torch.Tensor,
    masses: torch.Tensor,
    frame_of_atom: torch.Tensor,
    n_frames: int,
    *,
    temperature: float,
    carriers: torch.Tensor | None = None,
    fixed_momentum: bool = True,
) -> torch.Tensor:
    """Mean square of the flux of each frame of a batch over Maxwell-Boltzmann velocities, differentiable.

    Parameters
    ----------
    virial : (n_atoms, 3, 3) tensor
        W_j, eV.
    masses : (n_atoms,) tensor
        u.
    frame_of_atom : (n_atoms,) int64 tensor
        Frame of each atom.
    n_frames : int
        Number of frames.
    temperature : float
        K.
    carriers : (n_atoms,) int64 tensor, optional
        Group of each atom, counted from 0: the mean squares of the fluxes that the groups carry are added up. Without
        groups the result is the mean square of the total flux.
    fixed_momentum : bool
        Whether the total momentum of each frame is zero.

    Returns
    -------
    (n_frames,) tensor
        ⟨|J_pot|²⟩ or Σ_β ⟨|J_β|²⟩, (eV Å/ps)².
    """
    # ⟨v²⟩ of one direction of atom j is thermal / m_j, Å²/ps².
    thermal = BOLTZMANN * temperature / MASS_VELOCITY2
    squares = thermal / masses * virial.square().sum(dim=(1, 2))
    power = virial.new_zeros(n_frames).index_add(0, frame_of_atom, squares)
    if not fixed_momentum:
        return power
    n_groups = 1 if carriers is None else int(carriers.max()) + 1
    slots = frame_of_atom * n_groups + (0 if carriers is None else carriers)
    sums = virial.new_zeros(n_frames * n_groups, 3, 3).index_add(0, slots, virial)
    total_mass = masses.new_zeros(n_frames).index_add(0, frame_of_atom, masses)
    return power - thermal / total_mass * sums.square().sum(dim=(1, 2)).reshape(n_frames, n_groups).sum(dim=1)


def without_mean_virial(
    virial: torch.Tensor, frame_of_atom: torch.Tensor, carriers: torch.Tensor, n_frames: int
) -> torch.Tensor:
    """Subtract from each W_j the mean over the atoms of its frame and group, (n_atoms, 3, 3) eV.

    The part of the flux that is removed, ``Σ_β ⟨W⟩_β Σ_{j∈β} v_j``, is proportional to the elements' mass fluxes. It
    vanishes at zero mass flux, where the way in which a model shares the energy of a pair between two elements decides
    its size and nothing else.
    """
    n_groups = int(carriers.max()) + 1
    slots = frame_of_atom * n_groups + carriers
    counts = virial.new_zeros(n_frames * n_groups).index_add(0, slots, virial.new_ones(len(virial))).clamp(min=1)
    sums = virial.new_zeros(n_frames * n_groups, 3, 3).index_add(0, slots, virial)
    return virial - (sums / counts[:, None, None])[slots]

"""The driving force of HNEMD, which does work at the rate J·F_e."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError
from fluxan.units import MASS_VELOCITY2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from fluxan.system import Flux, Frame

#: Largest velocity of the centre of mass, relative to that of single atoms, that counts as rest.
_AT_REST: Final = 1e-6
#: Largest component along an open direction, relative to the field, that counts as round-off.
_PARALLEL: Final = 1e-9


class DrivingForce:
    """A driving force ``F_j = E_j F_e + W_jᵀ F_e``, minus the part of it that moves the centre of mass.

    Its power is ``Σ_j v_j · F_j = J · F_e`` for atoms whose centre of mass is at rest. The part that is subtracted is
    ``m_j/M Σ_k F_k``, which is the mean for equal masses; subtracting the mean from unequal ones would leave the power
    ``−Σ_j v_j · F̄``.

    Parameters
    ----------
    field : (3,) array_like
        F_e, 1/Å.
    masses : (n_atoms,) array_like
        Masses, u.
    energy_zero : (n_atoms,) array_like, optional
        Energy of each atom that counts as zero, eV, the same for all atoms of an element. The flux J is then
        ``Σ_j (E_j − zero_j) v_j + Σ_j W_j v_j``, which for one element is the same flux. For several, the atomic
        energies of isolated elements, often thousands of eV, would act as constant forces that displace the elements
        against each other; in a solid the conductivity does not depend on them.

    Attributes
    ----------
    field : (3,) float64
        The parameter of the same name.
    masses, energy_zero : (n_atoms,) float64
        The parameters of the same names; zeros by default.

    Raises
    ------
    InputError
        The field is not three finite numbers.
    """

    def __init__(
        self, field: Sequence[float] | ArrayLike, *, masses: ArrayLike, energy_zero: ArrayLike | None = None
    ) -> None:
        self.field = field_vector(field)
        self.masses = np.asarray(masses, dtype=np.float64)
        self.energy_zero = np.zeros_like(self.masses) if energy_zero is None else np.asarray(energy_zero, np.float64)

    def forces(self, virial_force: np.ndarray, energies: np.ndarray, velocities: np.ndarray) -> np.ndarray:
        """Driving force on every atom, (n_atoms, 3) eV/Å.

        Parameters
        ----------
        virial_force : (n_atoms, 3) array
            W_jᵀ F_e, eV/Å.
        energies : (n_atoms,) array
            Potential energies U_j, eV.
        velocities : (n_atoms, 3) array
            Velocities, Å/ps.
        """
        kinetic = 0.5 * MASS_VELOCITY2 * self.masses * (velocities**2).sum(axis=1)
        forces = virial_force + (energies - self.energy_zero + kinetic)[:, None] * self.field
        return forces - self.masses[:, None] * (forces.sum(axis=0) / self.masses.sum())


def advanced(velocities: np.ndarray, forces: np.ndarray, masses: np.ndarray, time: float) -> np.ndarray:
    """Velocities (n_atoms, 3) Å/ps a short time (ps) later under forces in eV/Å and for masses in u.

    Velocity Verlet computes forces at full steps, when velocities are those of half a step before. Advanced by the
    model's forces, their kinetic energies are of second order in the time step, as everything else is.
    """
    return velocities + time / MASS_VELOCITY2 * forces / masses[:, None]


def require_periodic(frame: Frame, field: np.ndarray) -> None:
    """Refuse a field along a direction that is not periodic, in which no steady flux can flow.

    Raises
    ------
    InputError
        The field has a component along such a direction.
    """
    if not field.any():
        return
    if frame.cell is None:
        raise InputError("these atoms are a cluster; a driving force needs a periodic direction in which heat can flow")
    along = np.linalg.solve(np.asarray(frame.cell).T, field)
    lengths = np.abs(along) * np.linalg.norm(frame.cell, axis=1)
    for axis, length, periodic in zip("abc", lengths, frame.pbc, strict=True):
        if not periodic and length > _PARALLEL * np.linalg.norm(field):
            raise InputError(
                f"the driving force has a component along cell vector {axis}, along which the atoms are not periodic: "
                "no steady flux can flow there; choose a periodic direction"
            )


def field_vector(field: object) -> np.ndarray:
    """The vector F_e, (3,) 1/Å.

    Raises
    ------
    InputError
        It is not three finite numbers.
    """
    try:
        vector = np.array(field, dtype=np.float64)
    except (TypeError, ValueError):
        vector = np.empty(0)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise InputError(f"the driving force F_e is {field!r}; expected three finite numbers, in 1/Å")
    return vector


def require_at_rest(velocities: np.ndarray, masses: np.ndarray) -> None:
    """Refuse atoms (n_atoms, 3) Å/ps whose centre of mass moves, of which the flux would be mistaken for a response.

    Raises
    ------
    InputError
        The centre of mass moves.
    """
    drift = masses @ velocities / masses.sum()
    if np.linalg.norm(drift) > _AT_REST * np.sqrt((velocities**2).sum(axis=1).mean()):
        raise InputError(
            f"the centre of mass moves at {np.linalg.norm(drift):.3g} Å/ps, and with it all energy: bring it to rest "
            "before the driving force sets in (LAMMPS: velocity all zero linear; ASE: Stationary)"
        )


def counted_from(flux: Flux, energy_zero: np.ndarray, velocities: np.ndarray, groups: np.ndarray) -> Flux:
    """A flux with potential energies counted from a zero of each atom, (n_atoms,) eV, given velocities and groups."""
    n_groups = len(flux.convective)
    sums = [np.bincount(groups, energy_zero * v, minlength=n_groups) for v in velocities.T]
    return replace(flux, convective=flux.convective - np.stack(sums, axis=1))


def species_means(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Mean of a value of each atom over the atoms of its element, (n_atoms,)."""
    _, species = np.unique(numbers, return_inverse=True)
    species = species.ravel()
    return (np.bincount(species, values) / np.bincount(species))[species]

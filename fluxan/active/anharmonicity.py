"""How much of the forces along a trajectory is not harmonic: a harmonic reference and the measure σ^A.

F. Knoop, T. A. R. Purcell, M. Scheffler, C. Carbogno, Phys. Rev. Materials 4, 083809 (2020) measure the anharmonicity
of a solid by the part of its forces that second-order force constants Φ do not describe,

``σ^A = std(F − F²) / std(F)`` with ``F²_i = −Σ_j Φ_ij u_j``,

where u are the displacements from the reference positions and the standard deviations are over atoms, directions and
frames. It is 0 for a harmonic crystal, and near 1 where force constants say nothing of the forces.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import DependencyError, InputError
from fluxan.units import BOLTZMANN, MASS_VELOCITY2

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonopy import Phonopy

    from fluxan.system import Frame

#: Largest force on an atom of the reference positions, eV/Å; beyond it the structure is not a minimum of the energy.
MOST_RESIDUAL_FORCE = 0.05
#: Tolerance in which phonopy finds symmetry, Å.
SYMMETRY_TOLERANCE = 1e-4


class HarmonicReference:
    """Forces of the harmonic approximation around a structure.

    Parameters
    ----------
    frame : Frame
        Reference positions: a minimum of the energy, in the cell of the trajectory.
    force_constants : (n_atoms, n_atoms, 3, 3) array_like
        Second derivatives of the energy with respect to the positions, eV/Å², of all pairs in this cell.

    Attributes
    ----------
    frame : Frame
        The reference positions.
    force_constants : (n_atoms, n_atoms, 3, 3) float64
        eV/Å².

    Raises
    ------
    InputError
        The force constants have another shape or are not finite.
    """

    def __init__(self, frame: Frame, force_constants: np.ndarray) -> None:
        constants = np.array(force_constants, dtype=np.float64)
        shape = (frame.n_atoms, frame.n_atoms, 3, 3)
        if constants.shape != shape:
            raise InputError(
                f"force constants have shape {constants.shape}, expected {shape}, those of all pairs in the cell of "
                "the trajectory; phonopy gives them with is_compact_fc=False"
            )
        if not np.isfinite(constants).all():
            i, j = np.argwhere(~np.isfinite(constants))[0][:2]
            raise InputError(f"force constants of atoms {i} and {j} are not finite; compute them again")
        self.frame, self.force_constants = frame, constants
        self._matrix = constants.transpose(0, 2, 1, 3).reshape(3 * frame.n_atoms, 3 * frame.n_atoms)

    @classmethod
    def from_forces(cls, frame: Frame, forces: Any, *, displacement: float = 0.01) -> HarmonicReference:
        """Force constants by finite displacements, as few of them as the symmetry of the structure allows (phonopy).

        Pairs are not cut off: the force constants are those of the periodic cell, including those between an atom and
        the images of others, which is what a trajectory in this cell needs.

        Parameters
        ----------
        frame : Frame
            Reference positions with a periodic cell: a minimum of the energy.
        forces : callable, ASE calculator or Potential
            Source of forces. A callable takes positions, (n_atoms, 3) Å, and returns forces, (n_atoms, 3) eV/Å.
        displacement : float
            Length of the displacements, Å.

        Raises
        ------
        InputError
            The frame has no periodic cell or unknown elements, or its forces exceed `MOST_RESIDUAL_FORCE`.
        DependencyError
            phonopy is not installed.
        """
        if not displacement > 0:
            raise InputError(f"displacement is {displacement} Å; it must be positive")
        phonons, evaluate = _phonopy_of(frame), forces_callable(frame, forces)
        residual = evaluate(frame.positions)
        _check_residual(residual)
        phonons.generate_displacements(distance=displacement)
        displaced = [cell.positions for cell in phonons.supercells_with_displacements or () if cell]
        # Forces that the reference positions have already are no response to the displacement.
        phonons.forces = np.array([evaluate(positions) - residual for positions in displaced])
        phonons.produce_force_constants(calculate_full_force_constants=True)
        phonons.symmetrize_force_constants()
        return cls(frame, np.asarray(phonons.force_constants))

    def displacements(self, positions: np.ndarray) -> np.ndarray:
        """Displacements from the reference positions without that of the crystal as a whole.

        Parameters
        ----------
        positions : (n_atoms, 3) array
            Wrapped or unwrapped, Å.

        Returns
        -------
        (n_atoms, 3) ndarray
            Those of the nearest images, Å.

        Raises
        ------
        InputError
            The positions have another shape.
        """
        if np.shape(positions) != self.frame.positions.shape:
            raise InputError(f"positions have shape {np.shape(positions)}, expected {self.frame.positions.shape} in Å")
        moved = np.asarray(positions) - self.frame.positions
        cell = self.frame.cell
        if cell is not None:
            from ase.geometry import find_mic

            # A crystal that drifts by half a cell would be torn apart: its drift is removed as a mean angle first.
            angles = 2 * np.pi * moved @ np.linalg.inv(cell)
            drift = np.angle(np.exp(1j * angles).mean(axis=0)) / (2 * np.pi) * np.array(self.frame.pbc)
            moved = find_mic(moved - drift @ cell, cell, self.frame.pbc)[0]
        return moved - moved.mean(axis=0)

    def harmonic_forces(self, positions: np.ndarray) -> np.ndarray:
        """``F_i = −Σ_j Φ_ij u_j``, of the displacements of the nearest images.

        An atom that has left its reference position for that of another has a large displacement, and large forces.

        Parameters
        ----------
        positions : (n_atoms, 3) array
            Å.

        Returns
        -------
        (n_atoms, 3) ndarray
            eV/Å.
        """
        return -(self._matrix @ self.displacements(positions).ravel()).reshape(-1, 3)

    def sample(self, temperature: float, random: np.random.Generator) -> Frame:
        """A frame of the classical canonical distribution: positions and velocities, at rest as a whole.

        In normal coordinates of the mass-weighted force constants, with eigenvalues λ, each mode has the variance
        ``k_B T/λ``.

        Parameters
        ----------
        temperature : float
            K.
        random : numpy.random.Generator
            Source of random numbers.

        Raises
        ------
        InputError
            A mode is unstable: the structure is no minimum.
        """
        masses = np.repeat(np.asarray(self.frame.masses), 3)
        eigenvalues, modes = self._modes
        kT = BOLTZMANN * temperature
        moved = modes @ (np.sqrt(kT / eigenvalues) * random.standard_normal(len(eigenvalues))) / np.sqrt(masses)
        velocities = random.standard_normal(len(masses)) * np.sqrt(kT / (masses * MASS_VELOCITY2))
        velocities = velocities.reshape(-1, 3)
        weights = np.asarray(self.frame.masses)[:, None]
        velocities -= (weights * velocities).sum(axis=0) / weights.sum()
        return self.frame.replace(positions=self.frame.positions + moved.reshape(-1, 3), velocities=velocities)

    @cached_property
    def _modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of the mass-weighted force constants, eV/(Å² u), and their vectors, without translations."""
        masses = np.repeat(np.asarray(self.frame.masses), 3)
        matrix = self._matrix / np.sqrt(np.outer(masses, masses))
        eigenvalues, modes = np.linalg.eigh(0.5 * (matrix + matrix.T))
        along = np.tile(np.eye(3), (self.frame.n_atoms, 1)) * np.sqrt(masses / masses[::3].sum())[:, None]
        kept = np.argsort(np.square(modes.T @ along).sum(axis=1))[: len(masses) - 3]
        if eigenvalues[kept].min() <= 1e-6 * eigenvalues.max():
            raise InputError(
                f"the structure has an unstable mode (λ = {eigenvalues[kept].min():.3g} eV/(Å² u)): it is no minimum; "
                "relax it, or begin with molecular dynamics"
            )
        return eigenvalues[np.sort(kept)], modes[:, np.sort(kept)]


def sigma_a(forces: np.ndarray, harmonic: np.ndarray, *, by: str = "all") -> np.ndarray | float:
    """Anharmonicity ``std(F − F²)/std(F)`` (Knoop et al. 2020).

    Parameters
    ----------
    forces, harmonic : (n_frames, n_atoms, 3) or (n_atoms, 3) array
        Forces and harmonic forces, eV/Å.
    by : {"all", "frame", "atom"}
        One number, (n_frames,) or (n_atoms,) numbers; those of atoms are ratios of standard deviations of one atom's
        forces over frames and directions.

    Raises
    ------
    InputError
        Shapes differ, a force is not finite, or forces do not vary, so that there is nothing to compare.
    """
    axes = {"all": (0, 1, 2), "frame": (1, 2), "atom": (0, 2)}
    if by not in axes:
        raise InputError(f"by is {by!r}; choose {', '.join(map(repr, axes))}")
    total, second = np.asarray(forces, dtype=np.float64), np.asarray(harmonic, dtype=np.float64)
    if total.shape != second.shape or total.ndim not in (2, 3) or total.shape[-1] != 3:
        raise InputError(f"forces have shapes {total.shape} and {second.shape}; expected (n_frames, n_atoms, 3) twice")
    if not (np.isfinite(total).all() and np.isfinite(second).all()):
        raise InputError("forces are not finite; look at the frames for atoms that nearly coincide")
    total, second = np.atleast_3d(total.T).T, np.atleast_3d(second.T).T
    spread = total.std(axis=axes[by])
    if not (spread > 0).all():
        raise InputError(f"forces do not vary (by={by!r}); the anharmonicity needs atoms that vibrate")
    ratio = (total - second).std(axis=axes[by]) / spread
    return float(ratio) if by == "all" else ratio


def forces_callable(frame: Frame, forces: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Function from positions, (n_atoms, 3) Å, to forces, (n_atoms, 3) eV/Å, of a callable, ASE calculator or model."""
    import torch

    if isinstance(forces, torch.nn.Module):
        evaluate = _of_model(frame, forces)
    elif hasattr(forces, "get_forces") and hasattr(forces, "get_property"):
        evaluate = _of_calculator(frame, forces)
    elif callable(forces):
        evaluate = forces
    else:
        kind = type(forces).__name__
        raise InputError(f"forces are a {kind}; expected a function of positions, an ASE calculator or a model")

    def checked(positions: np.ndarray) -> np.ndarray:
        found = np.asarray(evaluate(positions), dtype=np.float64)
        if found.shape != frame.positions.shape or not np.isfinite(found).all():
            raise InputError(f"the source of forces returned shape {found.shape}, or values that are not finite")
        return found

    return checked


def _of_model(frame: Frame, model: Any) -> Callable[[np.ndarray], np.ndarray]:
    import torch

    from fluxan.flux.energies import atomic_energies, detached, model_graph, to_numpy
    from fluxan.neighbors import build_graph
    from fluxan.training.prediction import forces_of

    def evaluate(positions: np.ndarray) -> np.ndarray:
        graph = model_graph(model, build_graph(frame.replace(positions=positions), float(model.cutoff)))
        r_ij = graph.r_ij.detach().requires_grad_()
        energies = atomic_energies(model, graph.replace(r_ij=r_ij))
        (g_ij,) = torch.autograd.grad(energies.sum(), r_ij, allow_unused=True)
        if g_ij is None:
            raise detached(model)
        return to_numpy(forces_of(graph, g_ij))

    return evaluate


def _of_calculator(frame: Frame, calculator: Any) -> Callable[[np.ndarray], np.ndarray]:
    from ase import Atoms

    atoms = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    atoms.calc = calculator

    def evaluate(positions: np.ndarray) -> np.ndarray:
        atoms.positions = positions
        return atoms.get_forces()

    return evaluate


def _phonopy_of(frame: Frame) -> Phonopy:
    """The structure in phonopy, with itself as the supercell."""
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError:
        raise DependencyError(
            "force constants by finite displacements need phonopy: pip install fluxan[phonons]"
        ) from None
    if frame.cell is None or not all(frame.pbc):
        raise InputError("the reference structure is not periodic in all directions; phonopy needs a periodic cell")
    if (frame.numbers == 0).any():
        atom = int(np.flatnonzero(frame.numbers == 0)[0])
        raise InputError(f"the element of atom {atom} of the reference structure is unknown; give its atomic number")
    atoms = PhonopyAtoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, masses=frame.masses)
    return Phonopy(atoms, np.eye(3, dtype=int), primitive_matrix=np.eye(3), symprec=SYMMETRY_TOLERANCE)


def _check_residual(residual: np.ndarray) -> None:
    largest = np.linalg.norm(residual, axis=1)
    if largest.max() > MOST_RESIDUAL_FORCE:
        raise InputError(
            f"the force on atom {int(largest.argmax())} of the reference structure is {largest.max():.3g} eV/Å, more "
            f"than {MOST_RESIDUAL_FORCE}; relax the positions first"
        )

"""Normal modes of a supercell from its force constants.

The mass-weighted force constants of the supercell are diagonalised as they are. Their modes are those of all wave
vectors commensurate with the supercell, as standing waves; no primitive cell is needed. Modes that symmetry relates, by
a degeneracy at one wave vector or in the star of a wave vector, have one frequency in the supercell: they form a set,
over which their spectra are averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.errors import DependencyError, FileError, InputError
from fluxan.flux.energies import model_graph, to_numpy
from fluxan.neighbors import build_graph
from fluxan.training.prediction import forces_of
from fluxan.units import MASS_VELOCITY2

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.potentials.base import Potential
    from fluxan.system import Frame

#: Neighbouring frequencies this close belong to one set, THz: force constants are symmetric to about that accuracy.
DEGENERACY = 1e-3
#: Largest distance of an atom from its site in the file of force constants, Å.
LARGEST_DISPLACEMENT = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class PhononModes:
    """Modes of a supercell, in ascending order of frequency, without the three translations.

    Attributes
    ----------
    masses : (n_atoms,) float64
        u, in the order of the atoms of the trajectory.
    eigenvectors : (n_modes, n_atoms, 3) float64
        Real and orthonormal: ``Σ_j e_sj · e_s'j = δ_ss'``.
    mode_frequencies : (n_modes,) float64
        Harmonic frequencies ω_s/2π, THz; an imaginary frequency as a negative number.
    set_of_mode : (n_modes,) int64
        Set of degenerate modes to which each belongs, counted from 0.
    """

    masses: np.ndarray
    eigenvectors: np.ndarray
    mode_frequencies: np.ndarray
    set_of_mode: np.ndarray

    @property
    def n_sets(self) -> int:
        """Number of sets of degenerate modes."""
        return int(self.set_of_mode[-1]) + 1

    @property
    def degeneracies(self) -> np.ndarray:
        """Number of modes in each set, (n_sets,)."""
        return np.bincount(self.set_of_mode)

    @property
    def frequencies(self) -> np.ndarray:
        """Mean harmonic frequency of each set, (n_sets,) THz."""
        return np.bincount(self.set_of_mode, self.mode_frequencies) / self.degeneracies

    def project(self, velocities: np.ndarray) -> np.ndarray:
        """Velocities of the modes, ``v_s = Σ_j √m_j e_sj · v_j``.

        Parameters
        ----------
        velocities : (n_frames, n_atoms, 3) array
            Å/ps.

        Returns
        -------
        mode_velocities : (n_frames, n_modes) float64
            √u Å/ps; the mean square of each is k_B T in equilibrium.
        """
        weighted = self.eigenvectors * np.sqrt(self.masses)[:, None]
        return velocities.reshape(len(velocities), -1) @ weighted.reshape(len(weighted), -1).T


def phonon_modes(force_constants: np.ndarray, masses: np.ndarray, *, degeneracy: float = DEGENERACY) -> PhononModes:
    """Normal modes of a supercell.

    Parameters
    ----------
    force_constants : (n_atoms, n_atoms, 3, 3) array
        ``∂²U/∂r_i∂r_j``, eV/Å², as phonopy and dynasor have them (not compact).
    masses : (n_atoms,) array
        u.
    degeneracy : float
        Largest distance between neighbouring frequencies of one set, THz.

    Raises
    ------
    InputError
        Shapes do not fit, values are not finite, or the force constants are not symmetric.
    """
    masses, phi = np.asarray(masses, dtype=np.float64), np.asarray(force_constants, dtype=np.float64)
    n_atoms = len(masses)
    if phi.shape != (n_atoms, n_atoms, 3, 3):
        expected = f"({n_atoms}, {n_atoms}, 3, 3): one block for each pair of atoms of the supercell"
        raise InputError(f"force constants have shape {phi.shape}, expected {expected}")
    if n_atoms < 2 or not np.isfinite(phi).all() or not (np.isfinite(masses).all() and masses.min() > 0):
        raise InputError("force constants and masses must be finite, masses positive, and of two or more atoms")
    matrix = phi.transpose(0, 2, 1, 3).reshape(3 * n_atoms, -1)
    if np.abs(matrix - matrix.T).max() > 0.05 * np.abs(matrix).max():
        raise InputError("force constants of atoms i, j and of j, i differ by over 5 % of the largest; symmetrise them")
    root = np.repeat(np.sqrt(masses), 3)
    dynamical = 0.5 * (matrix + matrix.T) / np.outer(root, root) / MASS_VELOCITY2
    squares, vectors = np.linalg.eigh(_without_translations(dynamical, np.sqrt(masses)))
    # The projection has put the translations at the top of the spectrum.
    squares, vectors = squares[:-3], vectors[:, :-3].T.reshape(-1, n_atoms, 3)
    frequencies = np.sign(squares) * np.sqrt(np.abs(squares)) / (2 * np.pi)
    sets = np.concatenate([[0], np.cumsum(np.diff(frequencies) > degeneracy)])
    return PhononModes(masses, vectors, frequencies, sets)


def _without_translations(dynamical: np.ndarray, root_masses: np.ndarray) -> np.ndarray:
    """The matrix (ps⁻²) on the complement of the translations, which get an eigenvalue above all others."""
    unit = (root_masses / np.linalg.norm(root_masses))[:, None, None] * np.eye(3)
    onto = unit.reshape(-1, 3)
    rest = np.eye(len(dynamical)) - onto @ onto.T
    return rest @ dynamical @ rest + 4 * np.abs(dynamical).sum(axis=1).max() * onto @ onto.T


def model_force_constants(frame: Frame, model: Potential, *, displacement: float = 0.01) -> np.ndarray:
    """Force constants of a model by central differences of its forces, without use of symmetry.

    Parameters
    ----------
    frame : Frame
        Supercell with the atoms at the minimum of the energy.
    model : Potential
        Evaluated 6 n_atoms times.
    displacement : float
        Å.

    Returns
    -------
    force_constants : (n_atoms, n_atoms, 3, 3) float64
        eV/Å², symmetrised.
    """

    def forces(positions: np.ndarray) -> np.ndarray:
        graph = model_graph(model, build_graph(frame.replace(positions=positions), model.cutoff))
        r_ij = graph.r_ij.detach().requires_grad_()
        (g_ij,) = torch.autograd.grad(model(graph.replace(r_ij=r_ij)).sum(), r_ij)
        return to_numpy(forces_of(graph, g_ij))

    n_atoms = frame.n_atoms
    matrix = np.empty((3 * n_atoms, 3 * n_atoms))
    for k in range(3 * n_atoms):
        step = np.zeros(3 * n_atoms)
        step[k] = displacement
        plus, minus = (forces(frame.positions + sign * step.reshape(-1, 3)) for sign in (1, -1))
        matrix[k] = -(plus - minus).ravel() / (2 * displacement)
    matrix = 0.5 * (matrix + matrix.T)
    return matrix.reshape(n_atoms, 3, n_atoms, 3).transpose(0, 2, 1, 3)


def phonopy_modes(path: str | Path, frame: Frame, *, degeneracy: float = DEGENERACY) -> PhononModes:
    """Modes from a phonopy file, for the atoms of a trajectory in their own order.

    Parameters
    ----------
    path : str or Path
        phonopy_params.yaml or phonopy_disp.yaml, with force constants or forces in the file or beside it.
    frame : Frame
        Frame of the trajectory, with the same supercell; its atoms may be in another order than phonopy's.
    degeneracy : float
        See `phonon_modes`.

    Raises
    ------
    DependencyError
        phonopy is not installed.
    FileError
        phonopy cannot read the file, or finds no force constants.
    InputError
        The supercell of the file is not that of the frame.
    """
    try:
        import phonopy
    except ImportError:
        raise DependencyError(f"{path}: phonopy is needed to read it; pip install fluxan[phonons]") from None
    try:
        loaded = phonopy.load(path, is_compact_fc=False, log_level=0)
    except Exception as error:  # phonopy raises what it meets
        raise FileError(f"{path}: phonopy cannot read it ({error}); expected a phonopy_params.yaml") from error
    if loaded.force_constants is None:
        raise FileError(f"{path}: phonopy finds no force constants; write them with INCLUDE_FORCE_CONSTANTS = .TRUE.")
    order = nearest_sites(loaded.supercell.scaled_positions, loaded.supercell.numbers, frame, str(path))
    return phonon_modes(loaded.force_constants[np.ix_(order, order)], np.asarray(frame.masses), degeneracy=degeneracy)


def nearest_sites(sites: np.ndarray, numbers: np.ndarray, frame: Frame, name: str) -> np.ndarray:
    """Site of each atom of a frame.

    Parameters
    ----------
    sites : (n_atoms, 3) array
        Fractional coordinates of the sites in the cell of the frame.
    numbers : (n_atoms,) array
        Atomic numbers of the sites.
    frame : Frame
        Its atoms may be in another order than the sites, and displaced.
    name : str
        Of what the sites were taken from, for messages.

    Returns
    -------
    (n_atoms,) ndarray
        Index of the nearest site, another one for each atom.

    Raises
    ------
    InputError
        The atoms do not lie on the sites, or are of other elements.
    """
    if frame.cell is None or len(sites) != frame.n_atoms:
        raise InputError(f"{name} has {len(sites)} atoms in its supercell, the frame {frame.n_atoms} in its cell")
    fractional = np.linalg.solve(frame.cell.T, frame.positions.T).T
    apart = fractional[:, None] - sites
    distances = np.linalg.norm((apart - np.rint(apart)) @ frame.cell, axis=2)
    order = distances.argmin(axis=1)
    if distances.min(axis=1).max() > LARGEST_DISPLACEMENT or len(set(order.tolist())) < len(order):
        atom = int(distances.min(axis=1).argmax())
        far = f"atom {atom} (counted from 0) is {distances[atom].min():.2f} Å from the nearest site"
        raise InputError(f"{name}: the frame's atoms do not lie on the sites of its supercell: {far}; is it the same?")
    if (numbers[order] != frame.numbers).any():
        raise InputError(f"{name}: the elements of its supercell are not those of the frame")
    return order

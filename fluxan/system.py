"""Records of a frame of a trajectory (`Frame`), a model's input (`Graph`) and a heat flux (`Flux`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from fluxan.display import Displayed, cell_lengths, formula, names, vector
from fluxan.errors import InputError
from fluxan.units import BOLTZMANN, MASS_VELOCITY2

if TYPE_CHECKING:
    import torch

PERIODIC = (True, True, True)
#: Largest coordinate, Å, and velocity, Å/ps: beyond it differences of coordinates are too imprecise for a flux.
LARGEST = 1e7


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frame(Displayed):
    """One frame of a trajectory.

    Arrays are read-only. They are copied at construction, unless they are arrays of another frame.

    Attributes
    ----------
    positions : (n_atoms, 3) float64
        Positions, Å.
    velocities : (n_atoms, 3) float64 or None
        Velocities, Å/ps; None where the file has none.
    cell : (3, 3) float64 or None
        Cell vectors in rows, Å; None for a cluster.
    numbers : (n_atoms,) int64
        Atomic numbers; 0 is unknown.
    masses : (n_atoms,) float64
        Masses, u; by default the elements' standard masses.
    time : float
        Time of the frame, ps.
    pbc : tuple of 3 bool
        Whether each cell direction is periodic; an open direction keeps its cell vector.

    Raises
    ------
    InputError
        Wrong shapes, non-finite values (the first such atom is named), singular cell, unknown element.
    """

    positions: np.ndarray
    velocities: np.ndarray | None
    cell: np.ndarray | None
    numbers: np.ndarray
    masses: np.ndarray | None = None
    time: float = 0.0
    pbc: tuple[bool, bool, bool] = PERIODIC

    def __post_init__(self) -> None:
        """Convert to float64 arrays and check them."""
        put = object.__setattr__
        put(self, "positions", _vectors(self.positions, "positions", "Å"))
        n_atoms = len(self.positions)
        if self.velocities is not None:
            put(self, "velocities", _vectors(self.velocities, "velocities", "Å/ps", n_atoms))
        put(self, "numbers", _numbers(self.numbers, n_atoms))
        put(self, "masses", _masses(self.masses, self.numbers))
        put(self, "time", _numeric([self.time], "time", "a number of ps").item())
        if not np.isfinite(self.time):
            raise InputError(f"time is {self.time} ps; it must be finite")
        if np.shape(self.pbc) not in ((), (3,)):
            raise InputError(f"pbc is {self.pbc!r}, expected one truth value for each cell vector")
        pbc = tuple(np.broadcast_to(np.asarray(self.pbc, dtype=bool), 3).tolist())
        put(self, "pbc", (False, False, False) if self.cell is None else pbc)
        if self.cell is not None:
            put(self, "cell", _cell(self.cell, self.pbc))

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    @property
    def volume(self) -> float | None:
        """Cell volume, Å³; None unless all three directions are periodic."""
        if self.cell is None or not all(self.pbc):
            return None
        return float(abs(np.linalg.det(self.cell)))

    @property
    def kinetic_energies(self) -> np.ndarray:
        """Kinetic energy of each atom, (n_atoms,), eV; InputError without velocities."""
        if self.velocities is None:
            raise InputError("there are no velocities; give velocities= in Å/ps")
        speed2 = np.einsum("ij,ij->i", self.velocities, self.velocities)
        return 0.5 * MASS_VELOCITY2 * np.asarray(self.masses) * speed2

    @property
    def temperature(self) -> float:
        """Kinetic temperature, K, with 3N - 3 degrees of freedom (3N for a cluster), as in LAMMPS."""
        dof = 3 * self.n_atoms - (0 if self.cell is None else 3)
        return float(2 * self.kinetic_energies.sum() / (dof * BOLTZMANN)) if dof else 0.0

    def replace(self, **changes: Any) -> Frame:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def _facts(self) -> dict[str, str]:
        return {
            "composition": formula(self.numbers),
            "atoms": str(self.n_atoms),
            "cell": cell_lengths(self.cell, self.pbc),
            "temperature": "no velocities" if self.velocities is None else f"{self.temperature:.4g} K",
            "time": f"{self.time:.6g} ps",
        }


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Atoms and directed edges as torch tensors; every pair has edges in both directions.

    Attributes
    ----------
    numbers : (n_atoms,) int64
        Atomic numbers.
    positions : (n_atoms, 3) real
        Positions, Å.
    cell : (3, 3) real or None
        Cell vectors in rows, Å; None for a cluster.
    senders, receivers : (n_edges,) int64
        Atoms of each edge; the energy of the receiver depends on the sender's position.
    shifts : (n_edges, 3) int32
        Cell translations of the sender.
    r_ij : (n_edges, 3) real
        Edge vectors ``positions[senders] + shifts @ cell - positions[receivers]``, Å.
    """

    numbers: torch.Tensor
    positions: torch.Tensor
    cell: torch.Tensor | None
    senders: torch.Tensor
    receivers: torch.Tensor
    shifts: torch.Tensor
    r_ij: torch.Tensor

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    @property
    def n_edges(self) -> int:
        """Number of directed edges."""
        return len(self.senders)

    def replace(self, **changes: Any) -> Graph:
        """A copy with some tensors changed."""
        return replace(self, **changes)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Graph:
        """A copy on another device, with real tensors of another precision."""
        real = {"positions": self.positions, "r_ij": self.r_ij}
        if self.cell is not None:
            real["cell"] = self.cell
        whole = {name: getattr(self, name) for name in ("numbers", "senders", "receivers", "shifts")}
        changes = {name: t.to(device=device) for name, t in whole.items()}
        changes |= {name: t.to(dtype=dtype, device=device) for name, t in real.items()}
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Flux(Displayed):
    """Heat flux of one frame, volume-extensive (not divided by the volume), in eV Å/ps, split into groups of atoms.

    Attributes
    ----------
    potential : (n_groups, n_groups, 3) float64
        Virial part Σ_j W_j v_j, by owner of the energy and carrier (the moving atom).
    kinetic : (n_groups, 3) float64
        Σ ½ m v² v, by carrier.
    convective : (n_groups, 3) float64
        Σ U_i v_i, by carrier.
    velocity : (n_groups, 3) float64
        Σ v_i of each group, Å/ps.
    labels : tuple of str
        Names of the groups.
    potential_energy : float
        Σ U_i, eV.
    route : str
        Route by which the virial part was computed: "local", "adjoint" or "unfolded".
    self_check : str
        Outcome of the check of the route.
    """

    potential: np.ndarray
    kinetic: np.ndarray
    convective: np.ndarray
    velocity: np.ndarray
    labels: tuple[str, ...] = field(default=())
    potential_energy: float = float("nan")
    route: str = ""
    self_check: str = ""

    @property
    def carriers(self) -> np.ndarray:
        """Flux carried by each group, all parts together, (n_groups, 3)."""
        return self.potential.sum(axis=0) + self.kinetic + self.convective

    @property
    def total(self) -> np.ndarray:
        """Total flux, (3,)."""
        return self.carriers.sum(axis=0)

    def _facts(self) -> dict[str, str]:
        return {
            "total": vector(self.total, "eV Å/ps"),
            "groups": names(self.labels or range(len(self.kinetic))),
            "potential energy": "" if np.isnan(self.potential_energy) else f"{self.potential_energy:.6g} eV",
            "route": self.route,
            "check": self.self_check,
        }


def hand_over(array: np.ndarray) -> np.ndarray:
    """Make an array read-only so that a frame uses it without a copy; no other reference to it may exist."""
    if array.base is None:
        array.setflags(write=False)
    return array


def _numeric(values: Any, name: str, expected: str) -> np.ndarray:
    """Values as a new read-only float64 array; text and ragged lists are refused, with their name."""
    if _is_frozen(values) and values.dtype == np.float64:
        return values
    try:
        # A copy, since the caller may write to its array later, as MD programs do, even where this view is read-only.
        array = np.array(values, dtype=np.float64, order="C")
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} cannot be read as numbers ({error}); expected {expected}") from None
    array.setflags(write=False)
    return array


def _is_frozen(values: object) -> TypeGuard[np.ndarray]:
    """Whether an array cannot change: it is read-only and owns its memory, as arrays of frames do."""
    return (
        type(values) is np.ndarray and values.base is None and not values.flags.writeable and values.flags.c_contiguous
    )


def _vectors(values: object, name: str, unit: str, n_atoms: int | None = None) -> np.ndarray:
    array = _numeric(values, name, "(n_atoms, 3)")
    if array.ndim != 2 or array.shape[1] != 3 or (n_atoms is not None and len(array) != n_atoms):
        expected = f"({'n_atoms' if n_atoms is None else n_atoms}, 3)"
        raise InputError(f"{name} have shape {array.shape}, expected {expected} in {unit}")
    if len(array) == 0:
        raise InputError(f"{name} hold no atom")
    if not np.isfinite(array).all():
        atom = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise InputError(f"{name} of atom {atom} (counted from 0) are {array[atom].tolist()}; they must be finite")
    if np.abs(array).max() > LARGEST:
        atom = int(np.abs(array).max(axis=1).argmax())
        raise InputError(
            f"{name} of atom {atom} (counted from 0) are {array[atom].tolist()}, beyond {LARGEST:g} {unit}: "
            "is the unit right, has the run blown up?"
        )
    return array


def _numbers(values: object, n_atoms: int) -> np.ndarray:
    given = values if _is_frozen(values) and values.dtype == np.int64 else _numeric(values, "numbers", "atomic numbers")
    if given.shape != (n_atoms,):
        raise InputError(f"numbers have shape {given.shape}, expected ({n_atoms},) atomic numbers")
    if not np.isfinite(given).all() or (given != np.rint(given)).any():
        raise InputError("numbers must be whole: they are atomic numbers")
    array = given.astype(np.int64, copy=False)
    array.setflags(write=False)
    if array.min() < 0 or array.max() > 118:
        bad = int(np.flatnonzero((array < 0) | (array > 118))[0])
        raise InputError(f"atomic number {array[bad]} of atom {bad} is no element (0 for unknown, 1 to 118)")
    return array


def _masses(values: object, numbers: np.ndarray) -> np.ndarray:
    if values is None:
        from ase.data import atomic_masses

        array = np.asarray(atomic_masses, dtype=np.float64)[numbers]
        array.setflags(write=False)
    else:
        array = _numeric(values, "masses", "one per atom, in u")
    if array.shape != numbers.shape:
        raise InputError(f"masses have shape {array.shape}, expected {numbers.shape} in u")
    if not (np.isfinite(array).all() and (array > 0).all()):
        bad = int(np.flatnonzero(~(np.isfinite(array) & (array > 0)))[0])
        raise InputError(f"mass of atom {bad} is {array[bad]} u; it must be positive")
    return array


def _cell(values: object, pbc: tuple[bool, bool, bool]) -> np.ndarray:
    cell = _numeric(values, "cell", "(3, 3)")
    if cell.shape != (3, 3):
        raise InputError(f"cell has shape {cell.shape}, expected (3, 3) with rows the cell vectors in Å")
    if not np.isfinite(cell).all():
        raise InputError(f"cell {cell.tolist()} is not finite")
    # Slabs and wires often have zero vectors along their open directions: complete them.
    missing = ~cell.any(axis=1)
    if missing.any() and not np.any(missing & np.array(pbc)):
        from ase.geometry import complete_cell

        cell = np.array(complete_cell(cell), order="C")
        cell.setflags(write=False)
    lengths = np.linalg.norm(cell, axis=1)
    if lengths.min() == 0 or abs(np.linalg.det(cell)) < 1e-9 * lengths.prod():
        raise InputError(f"cell {cell.tolist()} is singular; give three independent vectors, or None for a cluster")
    return cell

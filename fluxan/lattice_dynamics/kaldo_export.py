"""Files for kaldo: a supercell with second- and third-order force constants, in its numpy format.

What ``ForceConstants.from_folder(folder, supercell=..., format="numpy")`` of kaldo 2.3 reads:

- replicated_atoms.xyz: all atoms, cell after cell, the last direction being the fastest, beginning with the unit cell,
- second.npy: (1, n_unit, 3, n_cells, n_unit, 3), eV/Å²,
- third.npz: SciPy's sparse format, (n_unit·3·n_atoms·3, n_atoms·3), eV/Å³, rows (i, a, j, b) and columns (k, c).

Its reader divides component c of every cell vector by the number of cells along vector c, and it gives elements their
standard masses. Cells and masses for which that is wrong are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError
from fluxan.jobs.job import find_model
from fluxan.lattice_dynamics.export_folder import export_folder, second_order_force_constants, write_summary
from fluxan.lattice_dynamics.ideal_supercell import IdealSupercell, read_primitive, repeated
from fluxan.lattice_dynamics.third_order import third_order_force_constants
from fluxan.system import Frame
from fluxan.trajectory.ase_write import write_structure
from fluxan.trajectory.structure import open_structure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Third-order force constants below this are not stored, eV/Å³.
_NEGLIGIBLE = 1e-12


def export_kaldo(
    structure: str | Path,
    output: str | Path,
    *,
    supercell: Sequence[int],
    model: object = None,
    third_order: bool = True,
    displacement: float = 0.01,
    overwrite: bool = False,
    progress: bool = True,
    reader: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write replicated_atoms.xyz, second.npy and, unless it is not asked for, third.npz.

    Parameters
    ----------
    structure : str or Path
        File of the unit cell, at a minimum of the energy.
    output : str or Path
        Folder to write; it appears when it is complete.
    supercell : (int, int, int)
        Number of cells along each vector.
    model : Potential or what `fluxan.load_model` takes, optional
        By default the one that the structure carries.
    third_order : bool
        Write third.npz too, which takes ``18 n_unit n_atoms + 6 n_atoms`` evaluations of the forces.
    displacement : float
        Displacements for the force constants, Å.
    overwrite : bool
        Replace a folder that an earlier export wrote.
    progress : bool
        Show a progress bar on standard error.
    reader : mapping, optional
        Options of `fluxan.open_trajectory`, by which the structure is read.

    Returns
    -------
    dict
        The summary in export.json.

    Raises
    ------
    FluxanError
        Structure, model or output cannot be used; then no output is left behind.
    """
    options = dict(reader or {})
    loaded = find_model(open_structure(structure, **options), model)
    crystal = repeated(read_primitive(structure, **options), supercell)
    _refuse_misread(crystal, supercell)
    with export_folder(output, None, overwrite=overwrite) as folder:
        write_structure(folder / "replicated_atoms.xyz", crystal.frame)
        second = second_order_force_constants(crystal, loaded, displacement=displacement)
        np.save(folder / "second.npy", _second(second, crystal))
        if third_order:
            third = third_order_force_constants(crystal, loaded, displacement=displacement, progress=progress)
            _save_third(folder / "third.npz", third)
        facts = {"supercell": list(supercell), "third_order": third_order, "displacement": displacement}
        return write_summary(folder, "kaldo", loaded, facts)


def _second(constants: np.ndarray, crystal: IdealSupercell) -> np.ndarray:
    """Force constants of the unit cell's atoms with all, as kaldo has them."""
    n_unit = crystal.primitive.n_atoms
    rows = constants[crystal.atom_of_site].transpose(0, 2, 1, 3)
    return rows.reshape(1, n_unit, 3, -1, n_unit, 3)


def _save_third(path: Path, third: np.ndarray) -> None:
    from scipy.sparse import coo_array, save_npz

    matrix = np.where(np.abs(third) < _NEGLIGIBLE, 0.0, third).reshape(-1, third.shape[4] * 3)
    save_npz(path, coo_array(matrix))


def _refuse_misread(crystal: IdealSupercell, repeats: Sequence[int]) -> None:
    """Raise `InputError` for cells and masses that kaldo's reader would not take as they are."""
    cell = np.asarray(crystal.frame.cell)
    read = cell / np.asarray(repeats)
    if np.abs(read - np.asarray(crystal.primitive.cell)).max() > 1e-6:
        raise InputError(
            f"supercell={','.join(map(str, repeats))}: kaldo's reader takes the unit cell wrongly from a supercell of "
            "unequal numbers of oblique cells; give equal numbers, or an orthogonal cell along x, y and z"
        )
    masses = np.asarray(crystal.primitive.masses)
    standard = np.asarray(Frame(crystal.primitive.positions, None, cell, crystal.primitive.numbers).masses)
    if np.abs(masses - standard).max() > 1e-6 * standard.max():
        atom = int(np.abs(masses - standard).argmax())
        raise InputError(
            f"atom {atom} (counted from 0) has a mass of {masses[atom]:g} u; kaldo's reader gives every element its "
            f"standard mass, here {standard[atom]:g} u"
        )

"""Settings of one defect of a study, and the defect in a cell of any size."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError
from fluxan.generalization.defects import Defect, interstitial, substitution, vacancy
from fluxan.generalization.dislocations import dislocation
from fluxan.generalization.displacement_field import Stencil
from fluxan.training.setting_tables import require_count, require_positive

if TYPE_CHECKING:
    from ase import Atoms

#: Keys of each kind of defect: those that it needs, and those that it may have.
KEYS = {
    "vacancy": ((), ("site", "inward")),
    "interstitial": (("position", "element"), ()),
    "substitution": (("element",), ("site",)),
    "dislocation": (("type", "element", "lattice_constant", "elastic", "radius", "rim"), ()),
}
#: Relative difference of lattice constants that are the same.
_SAME_LATTICE = 1e-4


@dataclass(frozen=True, slots=True)
class DefectSettings:
    """A table of section ``[defects]``.

    Attributes
    ----------
    kind : {"vacancy", "interstitial", "substitution", "dislocation"}
        What it is.
    site : int
        Index in the crystal's cell of the atom that is taken out or replaced.
    inward : float
        As in `vacancy`, Å.
    position : tuple of float
        Of an interstitial, in units of the crystal's cell vectors.
    element : str
        Of an interstitial, a substitution or a dislocation.
    type : str
        Kind of dislocation, as in `dislocation`.
    lattice_constant : float
        Of a dislocation's crystal, Å.
    elastic : tuple of float
        C11, C12 and C44 of the reference, GPa.
    radius, rim : float
        As in `dislocation`, Å.
    """

    kind: str
    site: int = 0
    inward: float = 0.0
    position: tuple[float, ...] | None = None
    element: str = ""
    type: str = ""
    lattice_constant: float | None = None
    elastic: tuple[float, ...] | None = None
    radius: float | None = None
    rim: float | None = None

    def __post_init__(self) -> None:
        """Check which settings there are; `build` checks the rest."""
        if self.kind not in KEYS:
            raise InputError(f"kind is {self.kind!r}; expected one of {', '.join(KEYS)}")
        needed, others = KEYS[self.kind]
        missing = [name for name in needed if getattr(self, name) in (None, "")]
        if missing:
            raise InputError(f"a defect of kind {self.kind!r} needs {', '.join(missing)}")
        given = [f.name for f in fields(self) if f.name != "kind" and getattr(self, f.name) != f.default]
        strange = [name for name in given if name not in {*needed, *others}]
        if strange:
            raise InputError(f"a defect of kind {self.kind!r} has no {strange[0]}; it takes {_listed(needed, others)}")
        require_count(self.site, "site", 0)
        for name, length in (("position", 3), ("elastic", 3)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, list | tuple) and len(value) == length):
                raise InputError(f"{name} is {value!r}; expected {length} numbers")
            for number in value or ():
                _require_number(number, name)
        _require_number(self.inward, "inward")
        for name in ("lattice_constant", "radius", "rim"):
            if getattr(self, name) is not None:
                require_positive(getattr(self, name), name)

    def require_suits(self, crystal: Atoms, cutoff: float) -> None:
        """Refuse a dislocation in another crystal than the models are trained on, or in too thin a rim.

        Raises
        ------
        InputError
            As above; the message names the key.
        """
        if not self.is_line:
            return
        if self.element not in set(crystal.symbols):
            raise InputError(f"element is {self.element}; the crystal has {', '.join(sorted(set(crystal.symbols)))}")
        if self.rim is not None and self.rim < 2 * cutoff:
            raise InputError(f"rim is {self.rim:g} A; it has to be twice model.cutoff or more, {2 * cutoff:g} A")
        built, known = (Stencil(atoms).nearest for atoms in (self.build(crystal, 1).perfect, crystal))
        if abs(built / known - 1) > _SAME_LATTICE:
            raise InputError(
                f"lattice_constant is {self.lattice_constant} A: neighbours are {built:.4f} A apart, "
                f"and {known:.4f} A in the crystal"
            )

    @property
    def is_line(self) -> bool:
        """Whether this is a dislocation, which no periodic cell can hold by itself."""
        return self.kind == "dislocation"

    @property
    def dimension(self) -> int:
        """Dimension d of the law |Du| ~ r^−d of the field: 1 for a dislocation."""
        return 1 if self.is_line else 3

    def build(self, crystal: Atoms, n_cells: int) -> Defect:
        """The defect in n³ cells of a crystal; a dislocation in its own cylinder.

        Raises
        ------
        InputError
            A setting does not suit the crystal.
        """
        if self.kind == "dislocation":
            lengths: list[Any] = [self.lattice_constant, self.elastic, self.radius, self.rim]
            return dislocation(self.type, self.element, lengths[0], lengths[1], radius=lengths[2], rim=lengths[3])
        cells = crystal.repeat(n_cells)
        if self.kind == "interstitial":
            return interstitial(cells, np.asarray(self.position, dtype=float) @ np.array(crystal.cell), self.element)
        if self.site >= len(crystal):
            raise InputError(f"site is {self.site}; the crystal's cell has {len(crystal)} atoms")
        if self.kind == "substitution":
            return substitution(cells, self.site, self.element)
        return vacancy(cells, self.site, inward=self.inward)


def _require_number(value: object, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise InputError(f"{where} is {value!r}; expected a number")


def _listed(needed: tuple[str, ...], others: tuple[str, ...]) -> str:
    return ", ".join([*needed, *others])

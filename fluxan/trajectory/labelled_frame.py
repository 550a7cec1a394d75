"""`LabelledFrame`: a frame with the energy, forces, virial and heat flux that a reference gave it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from fluxan.system import Frame


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFrame:
    """A frame and its labels; a label that the reference does not give is None.

    Attributes
    ----------
    frame : Frame
        Atoms and cell; velocities are needed for few purposes.
    energy : float or None
        eV.
    forces : (n_atoms, 3) float64 or None
        eV/Å.
    virial : (3, 3) float64 or None
        ``Σ_j W_j = −V · stress``, eV, the stress being ``(1/V) ∂U/∂ε``, positive under tension.
    flux : (3,) float64 or None
        Virial heat flux J_pot of the frame's velocities, eV Å/ps.
    trajectory : str
        Name of the trajectory that the frame was taken from; frames of one trajectory resemble one another.

    Raises
    ------
    InputError
        A label has a wrong shape or is not finite.
    """

    frame: Frame
    energy: float | None = None
    forces: np.ndarray | None = None
    virial: np.ndarray | None = None
    flux: np.ndarray | None = None
    trajectory: str = ""

    def __post_init__(self) -> None:
        """Convert the labels to float64 and check them."""
        shapes = {"energy": (), "forces": (self.frame.n_atoms, 3), "virial": (3, 3), "flux": (3,)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is None:
                continue
            array = np.array(value, dtype=np.float64)
            if array.shape != shape:
                raise InputError(f"{name} has shape {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                raise InputError(f"{name} is not finite")
            array.setflags(write=False)
            object.__setattr__(self, name, float(array) if name == "energy" else array)

    def replace(self, **changes: Any) -> LabelledFrame:
        """A copy with some fields changed."""
        return replace(self, **changes)

"""Settings of the reference that labels frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fluxan.errors import InputError
from fluxan.training.setting_tables import require_count


@dataclass(frozen=True, slots=True)
class ReferenceSettings:
    """What labels frames.

    Attributes
    ----------
    calculator : str
        Entry point ``module:name`` of a function without arguments that returns an ASE calculator; eV and Å.
    model : str
        In place of a calculator, a model of fluxan.
    workers : int
        Processes.
    timeout : float
        Time for one frame, s.
    stress : bool
        Whether the stress is evaluated.
    folder : str
        Is searched for the module.
    """

    calculator: str = ""
    model: str = ""
    workers: int = 1
    timeout: float = 3600.0
    stress: bool = False
    folder: str = "."

    def __post_init__(self) -> None:
        """Check every setting."""
        if bool(self.calculator) == bool(self.model):
            raise InputError("reference: give either calculator (module:name) or model")
        require_count(self.workers, "reference.workers", 1)
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, int | float) or not self.timeout > 0:
            raise InputError(f"reference.timeout is {self.timeout!r}; expected a positive number of seconds")

    def described(self) -> dict[str, Any]:
        """What a worker needs."""
        return {name: getattr(self, name) for name in ("calculator", "model", "folder", "stress")}

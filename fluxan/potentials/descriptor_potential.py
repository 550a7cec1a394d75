"""Base class of potentials whose atomic energies are functions of an atom's symmetry functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from fluxan.errors import ModelError
from fluxan.potentials.base import Potential
from fluxan.potentials.model_file import write_model
from fluxan.potentials.symmetry_functions import SymmetryFunctions

if TYPE_CHECKING:
    from pathlib import Path


class DescriptorPotential(Potential):
    """Local potential of symmetry functions, in double precision by default.

    Parameters
    ----------
    functions : SymmetryFunctions or mapping
        The descriptors, or their `SymmetryFunctions.settings`.

    Attributes
    ----------
    kind : str
        What identifies the model in its file.
    hyperparameters : dict
        Arguments that make a model of this shape, as JSON can hold them.
    functions : SymmetryFunctions
        The descriptors.
    offsets : (n_elements,) tensor
        Energy of an atom of each element that is added to that of its surroundings, eV.

    Raises
    ------
    ModelError
        `functions` are not usable.
    """

    kind: ClassVar[str]
    n_hops = 1
    elements: tuple[int, ...]
    offsets: torch.Tensor

    def __init__(self, functions: SymmetryFunctions | Mapping[str, Any]) -> None:
        super().__init__()
        if isinstance(functions, Mapping):
            functions = SymmetryFunctions(**functions)
        if not isinstance(functions, SymmetryFunctions):
            raise ModelError(f"functions are {functions!r}; expected SymmetryFunctions or their settings")
        self.functions = functions
        self.elements, self.cutoff = functions.elements, functions.cutoff
        self.hyperparameters: dict[str, Any] = {"functions": functions.settings()}
        self.register_buffer("offsets", torch.zeros(len(self.elements), dtype=torch.float64))

    def save(self, path: str | Path, training: Mapping[str, object] | None = None) -> None:
        """Write the model, and a record of its training, to a safetensors file that `load_model` reads.

        Parameters
        ----------
        path : str or Path
            Ends in ``.safetensors``.
        training : mapping, optional
            A record that JSON can hold; `training_record` gives it back.

        Raises
        ------
        OutputError
            The file cannot be written.
        InputError
            JSON cannot hold the record.
        """
        write_model(path, self.kind, self.hyperparameters, self.state_dict(), training)

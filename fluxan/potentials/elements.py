"""Base class of potentials with parameters for each element: looks up species, writes the model as TOML."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from fluxan.errors import ModelError
from fluxan.potentials.base import Potential
from fluxan.potentials.parameters import label_of, write_toml

if TYPE_CHECKING:
    from fluxan.system import Graph

#: Length of a table by atomic number, 0 to 118.
N_ATOMIC_NUMBERS = 119


class ElementPotential(Potential):
    """A potential that looks its parameters up by element.

    Attributes
    ----------
    kind : str
        Value of ``kind`` in the TOML file.
    elements : tuple of int
        Atomic numbers that the model knows, ascending.
    species : (119,) int64 tensor
        Index in `elements` by atomic number; -1 for an element that the model does not know.
    """

    kind: ClassVar[str]
    elements: tuple[int, ...]
    species: torch.Tensor

    def __init__(self, elements: tuple[int, ...]) -> None:
        super().__init__()
        self.elements = elements
        species = torch.full((N_ATOMIC_NUMBERS,), -1, dtype=torch.int64)
        species[list(elements)] = torch.arange(len(elements))
        self.register_buffer("species", species, persistent=False)

    def species_of(self, graph: Graph) -> torch.Tensor:
        """Index of each atom's element in `elements`, (n_atoms,).

        Raises
        ------
        ModelError
            An atom is of an element the model does not know.
        """
        species = self.species[graph.numbers]
        if bool((species < 0).any()):
            stranger = int(graph.numbers[species < 0][0])
            known = ", ".join(label_of(number) for number in self.elements)
            raise ModelError(f"this {self.kind} model knows {known}, not {label_of(stranger)}")
        return species

    def settings(self) -> dict[str, object]:
        """Keys of the TOML file that makes this model again."""
        raise NotImplementedError(f"{type(self).__name__} must define settings()")

    def describe(self) -> str:
        """Write the model as TOML text that `load_model` gives back exactly."""
        return write_toml(self.settings())

"""Whether a frame of an exploration is still physics: distances, temperature and energy within reason.

Models fail where they were not trained: atoms fall into one another, or energy turns into heat. Such frames are not
worth a label; the last frame before is, since it lies where the model begins to fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import units

from fluxan.errors import InputError
from fluxan.neighbors import build_graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from fluxan.system import Frame

#: Shortest distance that is believed, over the shortest one in the initial frames, by pair of elements. At 0.82 of it
#: forces in argon are ten times as large as in the frames before, and two such labels spoilt the fit of all others.
_CLOSEST = 0.9
#: Highest temperature that is believed: this many times the target, and this many standard deviations above it.
_HOTTEST, _DEVIATIONS = 1.5, 10.0
#: Potential energies further from the test set's mean than this many standard deviations are not believed, if they are
#: further by this, eV, too: in small cells a barrier is many standard deviations high.
_ENERGY_DEVIATIONS, _BARRIER = 15.0, 0.5


@dataclass(frozen=True, slots=True)
class Credibility:
    """Limits within which an exploration is believed.

    Attributes
    ----------
    closest : dict of (int, int) to float
        Shortest distance by pair of atomic numbers, smaller first, Å.
    temperature : float
        Of the exploration, K.
    mean_energy, std_energy : float
        Of the test set by the same model, eV.
    """

    closest: dict[tuple[int, int], float]
    temperature: float
    mean_energy: float
    std_energy: float

    def reason_against(self, atoms: Atoms, energy: float) -> str:
        """Why a frame is not believed, in words; empty if it is.

        Parameters
        ----------
        atoms : ase.Atoms
            With momenta.
        energy : float
            Potential energy by the model, eV.
        """
        if not (np.isfinite(energy) and np.isfinite(atoms.positions).all()):
            return "the energy or a position is not finite"
        limit = self.temperature * (_HOTTEST + _DEVIATIONS * (2 / (3 * len(atoms))) ** 0.5)
        temperature = atoms.get_kinetic_energy() / (1.5 * units.kB * len(atoms))
        if temperature > limit:
            return f"temperature {temperature:.0f} K exceeds {limit:.0f} K"
        away = (energy - self.mean_energy) / self.std_energy
        if abs(away) > _ENERGY_DEVIATIONS and abs(energy - self.mean_energy) > _BARRIER:
            side = "above" if away > 0 else "below"
            return f"energy {energy:.6g} eV is {abs(away):.0f} standard deviations {side} the mean of the test set"
        return self._too_close(atoms)

    def _too_close(self, atoms: Atoms) -> str:
        from fluxan.md.ase.calculator import frame_of_atoms

        try:
            found = shortest_distances([frame_of_atoms(atoms)], _CLOSEST * max(self.closest.values()))
        except InputError as error:
            return str(error)
        for pair, distance in found.items():
            if distance < _CLOSEST * self.closest.get(pair, 0.0):
                return f"two atoms are {distance:.2f} Å apart, closer than {_CLOSEST:g} of any initial frame"
        return ""


def shortest_distances(frames: Sequence[Frame], cutoff: float) -> dict[tuple[int, int], float]:
    """Shortest distance below a cutoff by pair of atomic numbers, smaller first, Å."""
    shortest: dict[tuple[int, int], float] = {}
    for frame in frames:
        graph = build_graph(frame, cutoff)
        distances = graph.r_ij.norm(dim=1).numpy()
        ends = frame.numbers[graph.senders.numpy()], frame.numbers[graph.receivers.numpy()]
        low, high = np.minimum(*ends), np.maximum(*ends)
        for z in {(int(a), int(b)) for a, b in zip(low, high, strict=True)}:
            here = float(distances[(low == z[0]) & (high == z[1])].min())
            shortest[z] = min(here, shortest.get(z, np.inf))
    return shortest

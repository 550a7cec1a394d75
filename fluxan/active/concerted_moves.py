"""Groups changes of sites that belong together into events, and tells hops from defects by the occupancy of sites."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fluxan.active.events import OFF_SITE, Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.active.lattice_sites import LatticeSites

#: Largest distance of sites of a concerted move, in units of their spacing: beyond the next neighbours of fcc (1) and
#: bcc (1 and 1.15), short of a second hop elsewhere.
NEIGHBOUR_DISTANCE = 1.5
#: A chain of moves that has no end, as of liquid-like ions, is cut after this time, ps.
LONGEST_CHAIN = 5.0


class Transition(NamedTuple):
    """One atom's change of site.

    Attributes
    ----------
    atom : int
        The atom.
    old, new : int
        Sites, −1 for none.
    start, end : float
        When it left the core of the old site and entered that of the new one, ps.
    """

    atom: int
    old: int
    new: int
    start: float
    end: float


class EnergyHistory:
    """Potential energies of the last frames, for the excess along an event."""

    def __init__(self, *, baseline: float) -> None:
        self.baseline = baseline
        self._frames: deque[tuple[float, np.ndarray]] = deque()

    def add(self, time: float, energies: np.ndarray, oldest: float) -> None:
        """Store a frame's energies, (n_atoms,) or (), eV, and drop frames not needed by events from `oldest` on, ps."""
        self._frames.append((time, energies))
        while self._frames[0][0] < oldest - self.baseline:
            self._frames.popleft()

    def excess(self, atoms: Sequence[int], start: float, end: float) -> float | None:
        """Largest energy of atoms from `start` to `end`, over the mean before `start`, eV; None without frames."""
        sums = [(t, float(e if e.ndim == 0 else e[list(atoms)].sum())) for t, e in self._frames]
        before = [e for t, e in sums if t < start]
        during = [e for t, e in sums if start <= t <= end]
        return max(during) - float(np.mean(before)) if before and during else None


class ConcertedMoves:
    """Occupancy of sites, and groups of transitions that are not complete yet.

    Parameters
    ----------
    lattice : LatticeSites
        The sites.
    labels : sequence of str
        Label of each atom.
    concerted : float
        Transitions that follow each other within this time belong together if their sites are neighbours, ps.
    history : EnergyHistory
        Energies of the last frames.

    Attributes
    ----------
    events : list of Event
        Events that are complete.
    occupancy : (n_sites,) int64
        Atoms at each site, by complete events.
    n_off : int
        Atoms off sites.
    """

    def __init__(
        self, lattice: LatticeSites, labels: Sequence[str], *, concerted: float, history: EnergyHistory
    ) -> None:
        self.lattice, self.labels, self.concerted, self.history = lattice, labels, concerted, history
        self.events: list[Event] = []
        self.occupancy, self.n_off = np.zeros(len(lattice), dtype=np.int64), 0
        self._open: list[list[Transition]] = []

    @property
    def vacancies(self) -> int:
        """Number of empty sites."""
        return int((self.occupancy == 0).sum())

    @property
    def interstitials(self) -> int:
        """Number of atoms off sites or at sites that are taken."""
        return int(np.maximum(self.occupancy - 1, 0).sum()) + self.n_off

    def place(self, site: int) -> None:
        """Count an atom where it is first seen."""
        self._count(site, 1)

    def add(self, transition: Transition) -> None:
        """Add a transition to the groups to which it belongs; groups that it links become one."""
        linked = [group for group in self._open if any(self._belong(transition, other) for other in group)]
        self._open = [group for group in self._open if group not in linked]
        self._open.append([*(t for group in linked for t in group), transition])

    def oldest(self) -> float:
        """Start of the earliest transition whose group is open, ps; infinite if there is none."""
        return min((t.start for group in self._open for t in group), default=np.inf)

    def close(self, horizon: float) -> None:
        """Turn groups into events to which no transition that starts at `horizon`, ps, or later can belong."""
        for group in list(self._open):
            start, end = min(t.start for t in group), max(t.end for t in group)
            if end + self.concerted < horizon or end - start > LONGEST_CHAIN:
                self._open.remove(group)
                self._finish(group)

    def open_atoms(self) -> set[int]:
        """Atoms of groups that are still open."""
        return {t.atom for group in self._open for t in group}

    def _belong(self, one: Transition, other: Transition) -> bool:
        if max(one.start, other.start) - min(one.end, other.end) > self.concerted:
            return False
        sites, others = ([s for s in (t.old, t.new) if s != OFF_SITE] for t in (one, other))
        between = self.lattice.positions[sites][:, None] - self.lattice.positions[others][None]
        distance = np.linalg.norm(self.lattice.minimum_image(between), axis=1).min()
        return bool(distance <= NEIGHBOUR_DISTANCE * self.lattice.spacing[sites + others].max())

    def _finish(self, group: list[Transition]) -> None:
        """Count a group, and record an event unless every atom is back at its site."""
        ends: dict[int, tuple[int, int]] = {}
        for t in sorted(group, key=lambda t: t.end):
            ends[t.atom] = (ends.get(t.atom, (t.old, t.old))[0], t.new)
        ends = {atom: sites for atom, sites in sorted(ends.items()) if sites[0] != sites[1]}
        if not ends:
            return
        moved = [t for t in group if t.atom in ends]
        start, end = min(t.start for t in moved), max(t.end for t in moved)
        created = self._move(list(ends.values()))
        self.events.append(
            Event(
                time=start,
                duration=end - start,
                kind="defect" if created else "hop",
                atoms=tuple(ends),
                sites=tuple(ends.values()),
                displacement=self._displacement(list(ends.values())),
                labels=tuple(self.labels[atom] for atom in ends),
                created=created,
                barrier=self.history.excess(list(ends), start, end),
            )
        )

    def _move(self, moves: list[tuple[int, int]]) -> int:
        """Move atoms between sites; the change of the number of interstitials."""
        before = self.interstitials
        for old, new in moves:
            self._count(old, -1)
            self._count(new, 1)
        return self.interstitials - before

    def _count(self, site: int, change: int) -> None:
        if site == OFF_SITE:
            self.n_off += change
        else:
            self.occupancy[site] += change

    def _displacement(self, moves: list[tuple[int, int]]) -> float | None:
        between = [pair for pair in moves if OFF_SITE not in pair]
        if not between:
            return None
        old, new = np.transpose(between)
        vectors = self.lattice.minimum_image(self.lattice.positions[new] - self.lattice.positions[old])
        return float(np.linalg.norm(vectors, axis=1).max())

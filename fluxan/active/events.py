"""Rare events of a trajectory: hops between lattice sites, creation and annihilation of defects, and their records.

A list is written as lines of JSON: one that describes the trajectory, then one per event.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fluxan.active.poisson_rates import poisson_rate
from fluxan.errors import FileError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxan.active.poisson_rates import PoissonRate

#: Number of a site for an atom that is at none.
OFF_SITE = -1
KINDS = ("hop", "defect")


@dataclass(frozen=True, slots=True)
class Event:
    """One event, of one atom or of several that move together.

    Attributes
    ----------
    time : float
        When the first of its atoms left the core of its site for good, ps.
    duration : float
        From there until the last atom entered the core of its new site, ps, resolved to the spacing of frames.
    kind : {"hop", "defect"}
        A defect event changes the number of interstitial atoms; a hop, concerted or not, leaves it as it is.
    atoms : tuple of int
        Atoms that have another site after it.
    sites : tuple of (int, int)
        Sites of each atom before and after, −1 for none.
    displacement : float or None
        Largest distance between the sites of one of the atoms, Å; None where no atom has a site before and after.
    labels : tuple of str
        Label of each atom, such as its element.
    created : int
        Change of the number of interstitial atoms: positive for creation, negative for annihilation, 0 for hops.
    barrier : float or None
        Guess of the energy barrier, eV: the largest excess, along the event, of the energy of its atoms over their mean
        beforehand, or of the total energy where atomic ones are not given. Thermal fluctuations of the same energy are
        part of it; those of a total energy often exceed the barrier. None without energies.
    """

    time: float
    duration: float
    kind: str
    atoms: tuple[int, ...]
    sites: tuple[tuple[int, int], ...]
    displacement: float | None
    labels: tuple[str, ...] = ()
    created: int = 0
    barrier: float | None = None

    @property
    def end(self) -> float:
        """Time at its end, ps."""
        return self.time + self.duration


@dataclass(frozen=True, slots=True)
class EventList:
    """Events of one trajectory, in the order of time, and what it was seen to be.

    Attributes
    ----------
    events : tuple of Event
        The events that were complete at its end.
    start, duration : float
        Time of the first frame and length of the trajectory, ps.
    n_atoms, n_sites : int
        Numbers of atoms and sites.
    unfinished : tuple of int
        Atoms on their way from their site at the end; their hops are not counted.
    vacancies, interstitials : tuple of (int, int)
        Numbers of empty sites, and of atoms off sites or at one that is taken, at the beginning and the end.
    in_core : dict of str to float
        By label, the fraction of its atoms and frames that were in the core of a site. It is near 1 for a crystal and
        a few percent for a liquid.
    warnings : tuple of str
        What makes the counts doubtful.
    """

    events: tuple[Event, ...]
    start: float
    duration: float
    n_atoms: int
    n_sites: int
    unfinished: tuple[int, ...] = ()
    vacancies: tuple[int, int] = (0, 0)
    interstitials: tuple[int, int] = (0, 0)
    in_core: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.events)

    def __iter__(self) -> Iterator[Event]:
        """Iterate over the events."""
        return iter(self.events)

    def of_kind(self, kind: str) -> EventList:
        """Events of one kind alone, "hop" or "defect"."""
        if kind not in KINDS:
            raise InputError(f"there is no kind {kind!r} of events; choose {' or '.join(map(repr, KINDS))}")
        return dataclasses.replace(self, events=tuple(e for e in self.events if e.kind == kind))

    def rate(self, time: float | None = None, *, confidence: float = 0.95) -> PoissonRate:
        """Events per ps with their exact Poisson interval.

        Parameters
        ----------
        time : float, optional
            Time in which they were counted, ps; by default the length of the trajectory.
        confidence : float
            Of the interval.
        """
        return poisson_rate(len(self), self.duration if time is None else time, confidence=confidence)

    def without_returns(self, within: float) -> EventList:
        """The list without pairs of a hop and its reverse within some time, which are not independent events.

        Parameters
        ----------
        within : float
            Longest time between the two, ps.
        """
        kept: list[Event] = []
        for event in self.events:
            last = next((e for e in reversed(kept) if set(e.atoms) & set(event.atoms)), None)
            if last is not None and event.time - last.end <= within and _reverse(last, event):
                kept.remove(last)
            else:
                kept.append(event)
        return dataclasses.replace(self, events=tuple(kept))

    def write(self, path: str | Path) -> None:
        """Write lines of JSON: the trajectory, then one line per event."""
        head = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "events"}
        lines = [json.dumps(head), *(json.dumps(dataclasses.asdict(event)) for event in self.events)]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> EventList:
        """Read what `write` wrote.

        Raises
        ------
        FileError
            The file is missing, or a line is not what was written.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise FileError(f"{path}: {error.strerror or error}") from None
        number = 1
        try:
            head = _tuples(json.loads(lines[0]))
            events = []
            for number, line in enumerate(lines[1:], start=2):  # noqa: B007 (named by the error)
                events.append(Event(**_tuples(json.loads(line))))
            return cls(tuple(events), **head)
        except (IndexError, TypeError, ValueError, AttributeError) as error:
            raise FileError(f"{path}, line {number}: not a line of an event list ({error}); write it again") from None


def _reverse(first: Event, second: Event) -> bool:
    """Whether the second event moves the atoms of the first back."""
    back = {atom: (new, old) for atom, (old, new) in zip(first.atoms, first.sites, strict=True)}
    return back == dict(zip(second.atoms, second.sites, strict=True))


def _tuples(record: dict) -> dict:
    """Lists as tuples, which JSON does not know."""
    return {name: _tuple(value) for name, value in record.items()}


def _tuple(value: object) -> object:
    return tuple(_tuple(v) for v in value) if isinstance(value, list) else value

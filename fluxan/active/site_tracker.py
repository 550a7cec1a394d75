"""Follows atoms from lattice site to lattice site, frame by frame, in memory that does not grow with the trajectory.

An atom belongs to the site whose core it entered last and did not leave for another within a dwell time; cores do not
touch (`fluxan.active.lattice_sites`), so that vibrations across the boundary of two sites change nothing. This is the
core-set definition of states (A.-M. Faradjian, R. Elber, J. Chem. Phys. 120, 10880 (2004)) with a dwell time, which
leaves out recrossings. The crystal may drift as a whole, coordinates may be wrapped, the cell may change its shape:
positions are compared with the sites in fractional coordinates, and the mean displacement from the sites is removed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.active.concerted_moves import ConcertedMoves, EnergyHistory, Transition
from fluxan.active.events import OFF_SITE, EventList
from fluxan.errors import InputError, TrajectoryWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fluxan.active.lattice_sites import LatticeSites
    from fluxan.system import Frame

_UNKNOWN, _NONE = -2, -1
#: Frames near sites of others after which an atom may be off its site, also where frames are far apart.
MIN_FRAMES_AWAY = 5
#: Time in no core after which an atom is off sites also where the sites near it are empty, in units of `off_site`.
LONGEST_WAY = 4
#: Sites that are tried for the first atom where the crystal is shifted from its sites at the beginning.
N_TRIALS = 32


@dataclass(frozen=True, slots=True)
class TrackingSettings:
    """Times that tell events from vibrations.

    Attributes
    ----------
    dwell : float
        Time that an atom must stay at a new site without a return to the old one, ps; about the period of a vibration
        of low frequency. At least two frames.
    off_site : float
        Time nearest to sites of other atoms after which an atom is off any site, ps, unless it visits its own core.
        Atoms beside a vacancy often stay between the two sites for more than 1 ps; that alone is no defect.
    concerted : float
        Longest time between hops of neighbours that are one event, ps.
    least_in_core : float
        Fraction of a label's atoms and frames in cores below which a warning says that it has no sites; atoms spread
        evenly over an fcc crystal have 0.09, atoms that vibrate by 0.15 of the distance of neighbours 0.47.
    """

    dwell: float = 0.2
    off_site: float = 1.0
    concerted: float = 0.1
    least_in_core: float = 0.25

    def __post_init__(self) -> None:
        """Check the times."""
        for name in ("dwell", "off_site", "concerted"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InputError(f"{name} is {getattr(self, name)} ps; expected a time of 0 or more")
        if self.off_site < self.dwell:
            raise InputError(f"off_site ({self.off_site} ps) is below dwell ({self.dwell} ps); it must not be")


class SiteTracker:
    """Sites of atoms, and events, of successive frames.

    Parameters
    ----------
    lattice : LatticeSites
        The sites; more than atoms where there are vacancies, fewer where there are interstitials.
    labels : sequence of str
        Label of each atom, such as its element; `fluxan.active.site_tracker.track_events` takes the elements.
    settings : TrackingSettings, optional
        Times.
    drift_atoms : sequence of int, optional
        Atoms whose mean displacement is the drift, such as the framework of an ionic conductor; by default all.

    Attributes
    ----------
    sites : (n_atoms,) int64
        Site of each atom, −1 for an atom off sites, −2 for one that has not entered a core yet.
    drift : (3,) float64
        Displacement of the crystal as a whole, Å.
    """

    def __init__(
        self,
        lattice: LatticeSites,
        labels: Sequence[str],
        *,
        settings: TrackingSettings | None = None,
        drift_atoms: Sequence[int] | None = None,
    ) -> None:
        self.lattice, self.labels = lattice, tuple(labels)
        self.settings = TrackingSettings() if settings is None else settings
        n_atoms = len(self.labels)
        self._drifting = np.zeros(n_atoms, dtype=bool)
        self._drifting[slice(None) if drift_atoms is None else np.asarray(drift_atoms, dtype=np.int64)] = True
        if not self._drifting.any():
            raise InputError("no atom defines the drift; give labels of atoms, and drift_atoms=None for all")
        self.sites, self.drift = np.full(n_atoms, _UNKNOWN), np.zeros(3)
        history = EnergyHistory(baseline=self.settings.off_site)
        self._moves = ConcertedMoves(lattice, self.labels, concerted=self.settings.concerted, history=history)
        self._target, self._entered, self._seen = np.full(n_atoms, _NONE), np.zeros(n_atoms), np.zeros(n_atoms)
        self._left, self._contested = np.zeros(n_atoms), np.zeros(n_atoms)
        self._n_away = np.zeros(n_atoms, dtype=np.int64)
        self._in_core, self._n_frames = np.zeros(n_atoms, dtype=np.int64), 0
        self._start = self._time = self._longest_step = 0.0
        self._last, self._nearest = np.zeros((n_atoms, 3)), np.zeros(n_atoms, dtype=np.int64)
        self._initial: tuple[int, int] | None = None

    def update(self, frame: Frame, energies: np.ndarray | float | None = None) -> None:
        """Take in the next frame.

        Parameters
        ----------
        frame : Frame
            Periodic, with a time after that of the frame before.
        energies : (n_atoms,) array_like or float, optional
            Potential energies of the atoms, or their total, eV, for barriers; they are kept for a few ps.

        Raises
        ------
        InputError
            The frame has other atoms, no periodic cell or no later time, or the energies have another shape.
        """
        positions = self._ideal(frame)
        if self._n_frames == 0:
            self._begin(frame.time, positions)
        displaced = self._without_drift(positions)
        inside = np.linalg.norm(displaced, axis=1) < self.lattice.core_radius[self._nearest]
        step = frame.time - self._time
        self._longest_step = max(self._longest_step, step)
        self._time, self._last, self._n_frames = frame.time, positions, self._n_frames + 1
        self._in_core += inside
        if energies is not None:
            self._store(energies)
        self._visit(inside)
        self._stay_away(step)
        self._change_sites()
        self._moves.close(self._horizon(self.sites != _UNKNOWN))
        if self._initial is None and not (self.sites == _UNKNOWN).any():
            self._initial = (self._moves.vacancies, self._moves.interstitials)

    def finish(self) -> EventList:
        """Events of the frames so far.

        Warns
        -----
        TrajectoryWarning
            Most atoms of a label are in no core, so that they have no sites, or frames are too far apart.
        """
        if self._n_frames < 2:
            raise InputError(f"there are {self._n_frames} frames; events need two or more")
        under_way = (self.sites >= 0) & ((self._target != _NONE) | (self._nearest != self.sites))
        self._moves.close(self._horizon(under_way))
        now = (self._moves.vacancies, self._moves.interstitials)
        first = self._initial or now
        unfinished = set(np.flatnonzero(under_way).tolist()) | self._moves.open_atoms()
        notes = self._doubts()
        for note in notes:
            warnings.warn(note, TrajectoryWarning, stacklevel=2)
        return EventList(
            tuple(sorted(self._moves.events, key=lambda e: e.time)),
            start=self._start,
            duration=self._time - self._start,
            n_atoms=len(self.labels),
            n_sites=len(self.lattice),
            unfinished=tuple(sorted(unfinished)),
            vacancies=(first[0], now[0]),
            interstitials=(first[1], now[1]),
            in_core=self._fractions(),
            warnings=notes,
        )

    def _ideal(self, frame: Frame) -> np.ndarray:
        """Positions in the cell of the sites, (n_atoms, 3) Å."""
        if frame.cell is None or not all(frame.pbc):
            raise InputError(f"the frame at {frame.time:g} ps is not periodic in all directions; sites need a cell")
        if frame.n_atoms != len(self.labels):
            raise InputError(f"the frame at {frame.time:g} ps has {frame.n_atoms} atoms, expected {len(self.labels)}")
        if self._n_frames and frame.time <= self._time:
            raise InputError(f"the frame at {frame.time:g} ps follows one at {self._time:g} ps; times must increase")
        return frame.positions @ np.linalg.inv(frame.cell) @ self.lattice.cell

    def _begin(self, time: float, positions: np.ndarray) -> None:
        """Find the drift of the first frame: none, or else that which takes most atoms to cores of sites."""
        self._start = self._time = time
        self._left[:], self._last = time, positions
        shifts = self.lattice.minimum_image(positions[self._drifting][0] - self.lattice.positions)
        nearest = shifts[np.argsort(np.linalg.norm(shifts, axis=1))[:N_TRIALS]]
        if self._n_in_core(positions, self.drift) < 0.5 * self._drifting.sum():
            self.drift = max([self.drift, *nearest], key=lambda shift: self._n_in_core(positions, shift))
        for _ in range(5):
            site, displaced = self.lattice.nearest(positions - self.drift)
            core = self._drifting & (np.linalg.norm(displaced, axis=1) < self.lattice.core_radius[site])
            self.drift = self.drift + (displaced[core].mean(axis=0) if core.any() else 0.0)

    def _n_in_core(self, positions: np.ndarray, drift: np.ndarray) -> int:
        site, displaced = self.lattice.nearest(positions[self._drifting] - drift)
        return int((np.linalg.norm(displaced, axis=1) < self.lattice.core_radius[site]).sum())

    def _without_drift(self, positions: np.ndarray) -> np.ndarray:
        """Displacements from the nearest sites, (n_atoms, 3) Å, after that of atoms in their cores is removed."""
        step = self.lattice.minimum_image((positions - self._last)[self._drifting]).mean(axis=0)
        self.drift = self.drift + step
        self._nearest, displaced = self.lattice.nearest(positions - self.drift)
        core = np.linalg.norm(displaced, axis=1) < self.lattice.core_radius[self._nearest]
        home = core & self._drifting & ((self._nearest == self.sites) | (self.sites == _UNKNOWN))
        shift = displaced[home].mean(axis=0) if home.any() else np.zeros(3)
        self.drift = self.drift + shift
        return displaced - shift

    def _store(self, energies: np.ndarray | float) -> None:
        values = np.array(energies, dtype=np.float64)
        if values.shape not in ((), (len(self.labels),)) or not np.isfinite(values).all():
            raise InputError(
                f"energies at {self._time:g} ps have shape {values.shape}, or are not finite; expected "
                f"({len(self.labels)},) energies of atoms or their total, eV"
            )
        oldest = min(self._horizon(self.sites >= 0), self._moves.oldest(), self._time)
        self._moves.history.add(self._time, values, oldest)

    def _visit(self, inside: np.ndarray) -> None:
        """Take note of the cores in which atoms are: of their own sites, or of sites where they may stay."""
        time, nearest = self._time, self._nearest
        new = inside & (self.sites == _UNKNOWN)
        self.sites[new] = nearest[new]
        for site in nearest[new]:
            self._moves.place(int(site))
        home = inside & (nearest == self.sites)
        self._left[home], self._target[home] = time, _NONE
        self._contested[home], self._n_away[home] = 0, 0
        other = inside & ~home
        first = other & (self._target != nearest)
        self._target[first], self._entered[first] = nearest[first], time
        self._seen[other] = time
        off = self.sites == OFF_SITE
        self._left[off] = np.where(self._target[off] == _NONE, time, self._entered[off])

    def _stay_away(self, step: float) -> None:
        """Add up the time that atoms which left their cores are nearest to sites of others, as interstitials are."""
        counts = np.bincount(self.sites[self.sites >= 0], minlength=len(self.lattice))
        own = self.sites == self._nearest
        contested = (counts[self._nearest] > own) & (self._left < self._time)
        self._contested[contested] += step
        self._n_away[contested] += 1
        # One that stays on its own side of the boundary for long is at its site, if not in the core.
        late = own & ~contested & (self._target == _NONE) & (self._time - self._left >= 2 * self.settings.off_site)
        self._left[late] = self._time

    def _change_sites(self) -> None:
        """Give atoms new sites at which they stayed, and none to those that are at no site for long."""
        times, time = self.settings, self._time
        stayed = (self._target != _NONE) & (time > self._entered) & (time - self._entered >= times.dwell)
        for atom in np.flatnonzero(stayed):
            self._change(int(atom), int(self._target[atom]), float(self._entered[atom]))
            self._left[atom] = self._seen[atom]
        away = np.where(self._target == _NONE, 1, 2) * times.off_site
        lost = (self._contested >= away) & (self._n_away >= MIN_FRAMES_AWAY)
        lost |= time - self._left >= max(LONGEST_WAY * times.off_site, MIN_FRAMES_AWAY * self._longest_step)
        lost &= (self.sites != OFF_SITE) & ~stayed
        for atom in np.flatnonzero(lost):
            self._change(int(atom), OFF_SITE, float(self._left[atom]))
            self._left[atom] = time

    def _change(self, atom: int, new: int, end: float) -> None:
        old = int(self.sites[atom])
        self.sites[atom], self._target[atom] = new, _NONE
        self._contested[atom], self._n_away[atom] = 0, 0
        if old == _UNKNOWN:
            self._moves.place(new)
        else:
            self._moves.add(Transition(atom, old, new, float(self._left[atom]), end))

    def _horizon(self, atoms: np.ndarray) -> float:
        """Time before which no transition of these atoms can start any more, ps."""
        return float(self._left[atoms].min(initial=np.inf))

    def _fractions(self) -> dict[str, float]:
        labels = np.array(self.labels)
        shares = self._in_core / self._n_frames
        return {label: float(shares[labels == label].mean()) for label in sorted(set(self.labels))}

    def _doubts(self) -> tuple[str, ...]:
        least, found = self.settings.least_in_core, []
        for label, fraction in self._fractions().items():
            if fraction < least:
                found.append(
                    f"{label} atoms are in the core of a site {100 * fraction:.0f} % of the time, less than "
                    f"{100 * least:.0f} %: they have no sites, as in a liquid or a superionic conductor, or the sites "
                    "are not those of this phase; their events are not counts of rare ones"
                )
        if self._longest_step > self.settings.dwell:
            found.append(
                f"frames are up to {self._longest_step:.3g} ps apart, more than the dwell time of "
                f"{self.settings.dwell:g} ps: hops back and forth in between are not seen"
            )
        return tuple(found)


def track_events(frames: Iterable[Frame], lattice: LatticeSites, energies: Iterable[Any] | None = None) -> EventList:
    """Events of a trajectory, with the default settings, labelled by element.

    Parameters
    ----------
    frames : iterable of Frame
        Frames in the order of time.
    lattice : LatticeSites
        The sites.
    energies : iterable of (n_atoms,) arrays or floats, optional
        Potential energies of each frame, eV.
    """
    from ase.data import chemical_symbols

    tracker, values = None, None if energies is None else iter(energies)
    for frame in frames:
        if tracker is None:
            tracker = SiteTracker(lattice, [chemical_symbols[z] for z in frame.numbers])
        tracker.update(frame, None if values is None else next(values))
    if tracker is None:
        raise InputError("there is no frame; events need two or more")
    return tracker.finish()

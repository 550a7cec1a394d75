"""Rare events that a model misses, and those that it invents, against molecular dynamics with the reference.

S. Kang, T. A. R. Purcell, C. Carbogno, M. Scheffler (arXiv:2409.11808) find both in potentials of strongly anharmonic
insulators whose test errors are small. Events are *missed* where the reference has them at a rate that the model's
trajectory excludes, and *false* where the reference, evaluated on the frames of a model's event, disagrees with the
model by more than its test error explains, and by enough to change the rate. Counts and ratios of rates have exact
Poisson intervals (`fluxan.active.poisson_rates`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxan.active.poisson_rates import poisson_rate, rate_ratio
from fluxan.errors import InputError
from fluxan.units import BOLTZMANN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fluxan.active.events import Event, EventList
    from fluxan.active.poisson_rates import PoissonRate, RateRatio


@dataclass(frozen=True, slots=True)
class EventTolerance:
    """Errors beyond which a model's event is false.

    Attributes
    ----------
    force_error : float
        Root mean square error of the model's force components on its test set, eV/Å.
    energy_error : float
        Root mean square error of its total energies of a cell of this size, without their mean, eV.
    multiple : float
        Number of test errors that an event may show.
    temperature : float, optional
        Temperature of the runs, K. An event is then false only where the energy along it is wrong by more than k_B T
        as well: smaller errors change its rate by less than a factor of e, however small the test errors are.

    Raises
    ------
    InputError
        A number is not positive.
    """

    force_error: float
    energy_error: float
    multiple: float = 3.0
    temperature: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("force_error", "energy_error", "multiple", "temperature"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"{name} of the model is {value}; it must be positive")


@dataclass(frozen=True, slots=True, eq=False)
class RelabelledEvent:
    """Model and reference on the frames along one event of the model, of which the first is one before it.

    Attributes
    ----------
    model_energies, reference_energies : (n_frames,) array
        Total energies, eV; a constant between the two does not count.
    model_forces, reference_forces : (n_frames, n_moving, 3) array
        Forces on the atoms that move, eV/Å.

    Raises
    ------
    InputError
        Shapes do not fit each other, there are fewer than two frames, or a value is not finite.
    """

    model_energies: np.ndarray
    reference_energies: np.ndarray
    model_forces: np.ndarray
    reference_forces: np.ndarray

    def __post_init__(self) -> None:
        """Check the arrays."""
        energies, forces = np.shape(self.model_energies), np.shape(self.model_forces)
        if np.shape(self.reference_energies) != energies or np.shape(self.reference_forces) != forces:
            raise InputError("model and reference have different numbers of frames or atoms along an event")
        if len(energies) != 1 or energies[0] < 2 or len(forces) != 3 or forces[0] != energies[0] or forces[2] != 3:
            raise InputError(
                f"energies and forces along an event have shapes {energies} and {forces}; expected (n_frames,) and "
                "(n_frames, n_moving, 3) of two or more frames"
            )
        if not all(np.isfinite(getattr(self, name)).all() for name in self.__slots__):
            raise InputError("energies or forces along an event are not finite; label its frames again")

    @property
    def energy_error(self) -> float:
        """Largest error of the energy along the event relative to its first frame, eV."""
        error = np.asarray(self.model_energies) - np.asarray(self.reference_energies)
        return float(np.abs(error - error[0]).max())

    @property
    def force_error(self) -> float:
        """Root mean square error of the moving atoms' force components in the worst frame, eV/Å."""
        error = np.asarray(self.model_forces) - np.asarray(self.reference_forces)
        return float(np.sqrt((error**2).mean(axis=(1, 2)).max()))

    def is_false(self, tolerance: EventTolerance) -> bool:
        """Whether one of the errors is larger than the tolerance, and matters at its temperature.

        Energies are differences of two frames, whose error is √2 times that of one.
        """
        if tolerance.temperature is not None and self.energy_error < BOLTZMANN * tolerance.temperature:
            return False
        energy = self.energy_error > tolerance.multiple * 2**0.5 * tolerance.energy_error
        return energy or self.force_error > tolerance.multiple * tolerance.force_error


@dataclass(frozen=True, slots=True)
class EventClass:
    """Events of one kind and environment in both trajectories.

    Attributes
    ----------
    name : str
        Such as "hop of Cu".
    n_reference, n_model : int
        Events of the reference's and of the model's trajectory.
    ratio : RateRatio
        Rate of the model over that of the reference, per atom and time, with its interval.
    """

    name: str
    n_reference: int
    n_model: int
    ratio: RateRatio

    @property
    def missed(self) -> bool:
        """Whether the model's rate is lower, by the whole interval."""
        return self.ratio.upper < 1

    @property
    def excessive(self) -> bool:
        """Whether the model's rate is higher, by the whole interval."""
        return self.ratio.lower > 1


@dataclass(frozen=True, slots=True)
class EventComparison:
    """What a model misses and what it invents.

    Attributes
    ----------
    classes : tuple of EventClass
        Every class that either trajectory has, the most frequent in the reference first.
    missed : PoissonRate
        Events of the reference in classes that the model misses, per atom and ps.
    false : PoissonRate or None
        Events of the model found false, per atom and ps of the model's trajectory; a lower bound where not all of its
        events were relabelled. None where none was.
    n_relabelled : int
        Events of the model that were compared.
    warnings : tuple of str
        What makes the counts doubtful, of both lists.
    """

    classes: tuple[EventClass, ...]
    missed: PoissonRate
    false: PoissonRate | None
    n_relabelled: int
    warnings: tuple[str, ...]


def event_class(event: Event) -> str:
    """Kind of an event and the labels of its atoms, such as "hop of Cu" or "defect created of I, Cu"."""
    sign = {1: " created", -1: " annihilated"}.get(int(np.sign(event.created)), "")
    return f"{event.kind}{sign} of {', '.join(sorted(event.labels)) or 'atoms'}"


def compare_events(
    reference: EventList,
    model: EventList,
    *,
    relabelled: Mapping[int, RelabelledEvent] | None = None,
    tolerance: EventTolerance | None = None,
    classify: Callable[[Event], str] = event_class,
    confidence: float = 0.95,
) -> EventComparison:
    """Compare the events of two trajectories at the same temperature.

    Parameters
    ----------
    reference, model : EventList
        Events of molecular dynamics with the reference and with the model, found with the same settings.
    relabelled : mapping of int to RelabelledEvent, optional
        Energies and forces along events of the model, by their index in its list.
    tolerance : EventTolerance, optional
        The model's test errors, for `relabelled`.
    classify : callable
        Name of the class of an event, by default its kind and the labels of its atoms.
    confidence : float
        Probability that no class is called missed or excessive by chance: with n classes each interval is one of
        ``1 − (1 − confidence)/n`` (Bonferroni).

    Raises
    ------
    InputError
        An index is that of no event, or the tolerance is missing.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}; it must be between 0 and 1")
    counts = [Counter(classify(event) for event in found) for found in (reference, model)]
    exposures = [found.duration * found.n_atoms for found in (reference, model)]
    names = sorted(counts[0] | counts[1], key=lambda name: (-counts[0][name], name))
    each = 1 - (1 - confidence) / max(len(names), 1)
    classes = []
    for name in names:
        pairs = [(count[name], exposure) for count, exposure in zip(counts, exposures, strict=True)]
        classes.append(EventClass(name, pairs[0][0], pairs[1][0], rate_ratio(*pairs, confidence=each)))
    n_missed = sum(c.n_reference for c in classes if c.missed)
    false = None
    if relabelled:
        n_false = _count_false(model, relabelled, tolerance)
        false = poisson_rate(n_false, exposures[1], confidence=confidence)
    return EventComparison(
        classes=tuple(classes),
        missed=poisson_rate(n_missed, exposures[0], confidence=confidence),
        false=false,
        n_relabelled=len(relabelled or ()),
        warnings=tuple(dict.fromkeys(reference.warnings + model.warnings)),
    )


def segments_without_events(events: EventList, length: float, guard: float) -> list[tuple[float, float]]:
    """Times of segments in which nothing happens, as lifetimes of phonons need them.

    Parameters
    ----------
    events : EventList
        Events of a trajectory; where atoms were under way at its end, its last `guard` is left out.
    length : float
        Length of each segment, ps.
    guard : float
        Time before and after each event that is left out, ps.

    Returns
    -------
    list of (float, float)
        Start and stop of each segment, ps, which do not overlap, in the order of time.

    Raises
    ------
    InputError
        The length is not positive or the guard is negative.
    """
    if not length > 0 or not guard >= 0:
        raise InputError(f"segments of {length} ps with a guard of {guard} ps; expected a length > 0 and a guard >= 0")
    stop = events.start + events.duration
    busy = sorted((event.time - guard, event.end + guard) for event in events)
    busy.append((stop - guard if events.unfinished else stop, np.inf))
    segments, free = [], events.start
    for start, end in busy:
        # Round-off of times must not cost a segment that just fits.
        n_fitting = int((start - free) / length + 1e-9) if start > free else 0
        segments += [(free + k * length, free + (k + 1) * length) for k in range(n_fitting)]
        free = max(free, end)
    return segments


def _count_false(model: EventList, relabelled: Mapping[int, RelabelledEvent], tolerance: EventTolerance | None) -> int:
    if tolerance is None:
        raise InputError("relabelled events need tolerance=EventTolerance(...), the model's test errors")
    unknown = [index for index in relabelled if not 0 <= index < len(model)]
    if unknown:
        raise InputError(f"event {unknown[0]} was relabelled, but the model's list has {len(model)} events, from 0")
    return sum(event.is_false(tolerance) for event in relabelled.values())

"""Phonon lifetimes from molecular dynamics, and those of a model against a reference's.

The lifetimes of phonons are among the quantities by which S. Kang, T. A. R. Purcell, C. Carbogno, M. Scheffler
(arXiv:2409.11808) assess machine-learned potentials: a model that misses rare events overestimates them. A lifetime is
here ``τ = 1/(2Γ)``, the decay time of a mode's energy, where its velocity autocorrelation decays as ``exp(−Γt)`` and
its power spectrum has the full width ``2Γ`` in angular frequency (`fluxan.active.oscillator_fit`). Events such as
jumps to other sites end the motion in a mode, so lifetimes are those within the event-free segments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fluxan.active.mode_spectra import ModeSpectra, mode_spectra
from fluxan.active.oscillator_fit import OscillatorFit, Periodogram, fit_oscillator
from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fluxan.active.phonon_modes import PhononModes
    from fluxan.system import Frame

#: Harmonic frequencies above this part of the Nyquist frequency are not fitted.
_LARGEST_FREQUENCY = 0.95
#: A spectrum is not one peak if it deviates by more than statistical noise (p-value) and by more than this (relative).
_P_VALUE, _MISFIT = 1e-3, 0.1
#: Standard errors of a one-sided bound of 95 %.
_ONE_SIDED = 1.645
#: Largest deviation of harmonic frequencies of one set of modes between two analyses, THz.
_SAME_FREQUENCY = 1e-6

ALIASED, NO_PEAK, OVERDAMPED, UNRESOLVED = "aliased", "no peak", "overdamped", "unresolved"
NOT_ONE_PEAK, EVENTS = "not one peak", "events"


class ModeLifetime(NamedTuple):
    """Lifetime of a set of degenerate modes.

    Attributes
    ----------
    harmonic_frequency : float
        Mean over the set, THz; an imaginary frequency as a negative number.
    degeneracy : int
        Number of modes in the set.
    frequency, frequency_error : float
        ω₀/2π of the fit, THz; NaN without a fit.
    lifetime : float
        τ = 1/(2Γ), ps; NaN without a fit.
    relative_error : float
        Standard error of log τ.
    lower_bound : float
        Lower bound of the lifetime at 95 % confidence, ps, never above half of the window: all that is known of an
        unresolved mode. NaN without a fit.
    flags : tuple of str
        Why the number is not a lifetime; empty where it is one. "aliased": the mode is above the Nyquist frequency.
        "no peak": the spectrum has none. "overdamped": Γ ≥ ω₀. "unresolved": the linewidth Γ/π in THz is below the
        inverse of the window. "not one peak": the spectrum is not that of one damped oscillator. "events": the
        trajectory has events.
    """

    harmonic_frequency: float
    degeneracy: int
    frequency: float
    frequency_error: float
    lifetime: float
    relative_error: float
    lower_bound: float
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhononLifetimes:
    """Lifetimes of all modes of a trajectory.

    Attributes
    ----------
    within : tuple of ModeLifetime
        From the event-free segments, in ascending order of harmonic frequency; empty where no segment is as long as
        the window.
    whole : tuple of ModeLifetime
        From the whole trajectory; each is flagged "events" where it has any.
    window : float
        Length of a block, ps.
    n_blocks : int
        Blocks within the segments.
    n_skipped : int
        Segments shorter than the window.
    """

    within: tuple[ModeLifetime, ...]
    whole: tuple[ModeLifetime, ...]
    window: float
    n_blocks: int
    n_skipped: int


class LifetimeRatio(NamedTuple):
    """Lifetime of a set of modes by a model over that by the reference.

    Attributes
    ----------
    harmonic_frequency : float
        THz.
    degeneracy : int
        Number of modes in the set.
    ratio : float
        τ of the model / τ of the reference; NaN where either has no fit.
    relative_error : float
        Standard error of the logarithm of the ratio.
    flags : tuple of str
        Those of both lifetimes, each once; empty where both are lifetimes.
    """

    harmonic_frequency: float
    degeneracy: int
    ratio: float
    relative_error: float
    flags: tuple[str, ...]


class BandRatio(NamedTuple):
    """Average ratio of lifetimes within a band of frequencies.

    Attributes
    ----------
    low, high : float
        Harmonic frequencies from which (included) and up to which (excluded) modes count, THz.
    n_sets : int
        Sets of modes without a flag in the band.
    ratio : float
        Exponential of the weighted mean of the logarithms; NaN without a set.
    relative_error : float
        Standard error of that mean, increased by the scatter of the modes where it exceeds their errors.
    """

    low: float
    high: float
    n_sets: int
    ratio: float
    relative_error: float


def phonon_lifetimes(
    frames: Iterable[Frame], modes: PhononModes, *, window: float, segments: Sequence[tuple[float, float]] | None = None
) -> PhononLifetimes:
    """Lifetimes of phonon modes from the velocities of a trajectory, in one pass.

    Parameters
    ----------
    frames : iterable of Frame
        With velocities, at equal intervals of time, in equilibrium.
    modes : PhononModes
        Of the same atoms in the same order; for a comparison those of the reference for both trajectories.
    window : float
        Length of the blocks whose periodograms are averaged, ps. Lifetimes above window/2π are not resolved.
    segments : sequence of (float, float), optional
        First and last time of each part without an event, ps; by default the trajectory has no event.

    Raises
    ------
    InputError, TrajectoryError, ShortRunError
        See `fluxan.active.mode_spectra.mode_spectra`.
    """
    spectra = mode_spectra(frames, modes, window=window, segments=segments)
    whole = _lifetimes(spectra.whole, modes)
    within = whole
    if spectra.within is not spectra.whole:
        within = () if spectra.within is None else _lifetimes(spectra.within, modes)
    if spectra.has_events:
        whole = tuple(entry._replace(flags=(*entry.flags, EVENTS)) for entry in whole)
    n_blocks = 0 if spectra.within is None else spectra.within.n_blocks
    duration = spectra.whole.n_samples * spectra.whole.time_step
    return PhononLifetimes(within, whole, duration, n_blocks, spectra.n_skipped)


def compare_lifetimes(
    reference: PhononLifetimes, model: PhononLifetimes, *, edges: Sequence[float] | None = None
) -> tuple[tuple[LifetimeRatio, ...], tuple[BandRatio, ...]]:
    """Lifetimes of a model over those of the reference, both within event-free segments.

    Parameters
    ----------
    reference, model : PhononLifetimes
        Of independent trajectories, projected on the same modes.
    edges : sequence of float, optional
        Ascending edges of the bands, THz; by default four bands of equal width up to the highest frequency.

    Returns
    -------
    ratios : tuple of LifetimeRatio
        One for each set of modes.
    bands : tuple of BandRatio
        One between any two edges.

    Raises
    ------
    InputError
        The modes differ, an analysis has no lifetimes within segments, or the edges do not ascend.
    """
    for name, lifetimes in (("reference", reference), ("model", model)):
        if not lifetimes.within:
            skipped = f"all {lifetimes.n_skipped} segments are shorter than the window of {lifetimes.window:g} ps"
            raise InputError(f"the {name} has no lifetimes within event-free segments: {skipped}; shorten the window")
    described = [np.array([entry[:2] for entry in lifetimes.within]) for lifetimes in (reference, model)]
    if described[0].shape != described[1].shape or np.abs(described[0] - described[1]).max() > _SAME_FREQUENCY:
        raise InputError("reference and model were projected on different modes; use those of the reference for both")
    ratios = tuple(_ratio(old, new) for old, new in zip(reference.within, model.within, strict=True))
    if edges is None:
        # The highest mode lies within the last band, whose upper edge is excluded.
        edges = np.linspace(0.0, np.nextafter(described[0][:, 0].max(), np.inf), 5).tolist()
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise InputError(f"edges of bands are {list(edges)}; expected two or more frequencies in THz, ascending")
    return ratios, tuple(_band(ratios, low, high) for low, high in pairwise(edges))


def _lifetimes(spectra: ModeSpectra, modes: PhononModes) -> tuple[ModeLifetime, ...]:
    """Fit the spectra of all sets of modes."""
    entries = []
    nyquist = 0.5 / spectra.time_step
    for power, frequency, degeneracy in zip(spectra.periodograms, modes.frequencies, modes.degeneracies, strict=True):
        data = Periodogram(power, spectra.time_step, spectra.n_samples, spectra.n_blocks * int(degeneracy))
        aliased = frequency > _LARGEST_FREQUENCY * nyquist
        fit = None if aliased else fit_oscillator(data)
        if fit is None:
            nothing = (float("nan"),) * 5
            entries.append(
                ModeLifetime(float(frequency), int(degeneracy), *nothing, (ALIASED if aliased else NO_PEAK,))
            )
        else:
            entries.append(mode_lifetime(fit, float(frequency), int(degeneracy), data.duration))
    return tuple(entries)


def mode_lifetime(fit: OscillatorFit, frequency: float, degeneracy: int, duration: float) -> ModeLifetime:
    """Lifetime, bound and flags of a fit; the harmonic frequency is in THz, the length of a block in ps."""
    flags = []
    if fit.gamma >= fit.omega:
        flags.append(OVERDAMPED)
    if fit.gamma < np.pi / duration:
        flags.append(UNRESOLVED)
    if fit.p_value < _P_VALUE and fit.misfit > _MISFIT:
        flags.append(NOT_ONE_PEAK)
    # Errors are those of log Γ, but for large ones, of a Γ that may vanish, those of Γ.
    upward = _ONE_SIDED * fit.gamma_relative_error
    largest = fit.gamma * float(np.exp(upward) if upward < 1 else math.e * upward)
    # The periodogram hardly depends on widths below the inverse of its length.
    largest = max(largest, 1 / duration)
    return ModeLifetime(
        frequency,
        degeneracy,
        fit.omega / (2 * np.pi),
        fit.omega_error / (2 * np.pi),
        0.5 / fit.gamma,
        fit.gamma_relative_error,
        float(0.5 / largest),
        tuple(flags),
    )


def _ratio(reference: ModeLifetime, model: ModeLifetime) -> LifetimeRatio:
    flags = tuple(dict.fromkeys((*reference.flags, *model.flags)))
    error = float(np.hypot(reference.relative_error, model.relative_error))
    ratio = model.lifetime / reference.lifetime
    return LifetimeRatio(reference.harmonic_frequency, reference.degeneracy, ratio, error, flags)


def _band(ratios: Sequence[LifetimeRatio], low: float, high: float) -> BandRatio:
    """Weighted mean of the logarithms of the ratios without flags."""
    used = [entry for entry in ratios if not entry.flags and low <= entry.harmonic_frequency < high]
    if not used:
        return BandRatio(low, high, 0, float("nan"), float("nan"))
    values = np.log([entry.ratio for entry in used])
    weights = np.array([entry.relative_error for entry in used]) ** -2.0
    mean = float(np.average(values, weights=weights))
    scatter = float((weights * (values - mean) ** 2).sum()) / max(len(used) - 1, 1)
    error = float(np.sqrt(max(scatter, 1.0) / weights.sum()))
    return BandRatio(low, high, len(used), float(np.exp(mean)), error)

"""A recorder of heat fluxes for any ASE dynamics."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import numpy as np
from ase import units
from ase.md.md import MolecularDynamics

from fluxan.errors import InputError, ModelError
from fluxan.md.ase.calculator import FluxanCalculator, frame_of_atoms
from fluxan.md.recording import Recording
from fluxan.potentials.fingerprint import model_sha256
from fluxan.potentials.load import load_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import xarray
    from ase import Atoms

    from fluxan.correlation import Correlator
    from fluxan.system import Flux, Frame


class AseFluxRecorder:
    """Records the heat flux of atoms during any ASE dynamics: ``dyn.attach(recorder, interval=10)``.

    Where the atoms' calculator is a `FluxanCalculator` of the same model, the flux comes from the evaluation that gave
    the forces. Time is that of the calling dynamics, or of `dynamics`; a recorder that is called by the user
    counts frames, unless `time_step` is given. An unchanged configuration is not recorded twice, since dynamics also
    call their observers before their first step.

    Parameters
    ----------
    atoms : ase.Atoms
        The atoms that are moved.
    model : object, optional
        Potential, or what `fluxan.load_model` takes; by default that of the atoms' calculator.
    output : str or Path, optional
        Path of a flux file to write, see `fluxan.decompose`.
    correlator : Correlator, optional
        Correlator to which every flux is added. It has 3 channels (the total), 3 per group (carriers) or 3
        per pair of groups (owner × carrier). Without `output` nothing else is kept, and memory does not grow;
        without both, every flux is kept in memory.
    groups : str or sequence
        "element", or one label per atom.
    route : {"auto", "local", "adjoint", "unfolded"}
        Algorithm for the flux, where the calculator is not a `FluxanCalculator`; see `fluxan.heat_flux`.
    time_step : float, optional
        Time between calls, ps.
    dynamics : MolecularDynamics, optional
        The dynamics that gives the time, where the recorder is called by something else.
    overwrite : bool
        Replace an existing output.

    Raises
    ------
    FluxanError
        The model does not cover an element, the output exists, or the correlator has another number of channels.
    """

    def __init__(
        self,
        atoms: Atoms,
        model: object = None,
        *,
        output: str | Path | None = None,
        correlator: Correlator | None = None,
        groups: str | Sequence[object] = "element",
        route: str = "auto",
        time_step: float | None = None,
        dynamics: MolecularDynamics | None = None,
        overwrite: bool = False,
    ) -> None:
        self.atoms = atoms
        calculator = _calculator_of(atoms, model)
        if calculator is None:
            if model is None and atoms.calc is None:
                raise ModelError("the atoms have no calculator whose model could be used: give model=")
            calculator = FluxanCalculator(atoms.calc if model is None else model, route=route)
        self._calculator = calculator
        self._evaluator = calculator.evaluator(atoms.numbers, groups=groups)
        self._clock = DynamicsClock(dynamics, time_step)
        self._recording = Recording(
            self._evaluator,
            name="ASE dynamics",
            time_step=time_step,
            output=output,
            correlator=correlator,
            overwrite=overwrite,
        )
        self._last: Frame | None = None
        self._evaluations = -1
        calculator.expect_flux(1)

    def __call__(self) -> None:
        """Record the present flux of the atoms.

        Raises
        ------
        FluxanError
            There are no velocities, atoms were added or lost, the flux is not finite, or the disk is full.
        """
        time = self._clock.now()
        frame = frame_of_atoms(self.atoms)
        if self._last is not None and _same_atoms(frame, self._last):
            return
        recording = self._recording
        if time is None and not recording.n_frames:
            recording.time_unit = "frame"
        if time is None and recording.time_unit == "ps":
            raise InputError("this recorder takes its time from the dynamics that calls it, but was not called by one")
        frame = frame.replace(time=time if recording.time_unit == "ps" else recording.n_frames)
        recording.add(frame, self._flux(frame))
        self._last = frame
        self._announce()

    def dataset(self) -> xarray.Dataset:
        """What was recorded so far, as `fluxan.decompose` gives it.

        Raises
        ------
        InputError
            Nothing was recorded yet, or fluxes went only into a correlator.
        """
        return self._recording.dataset()

    def flush(self) -> None:
        """Write everything recorded so far to disk."""
        self._recording.flush()

    def close(self) -> None:
        """Write everything to disk and close the output."""
        self._recording.close()

    def _flux(self, frame: Frame) -> Flux:
        current = self.atoms.calc
        if isinstance(current, FluxanCalculator) and current is not self._calculator:
            self._calculator = _calculator_of(self.atoms, self._calculator.model) or self._calculator
        return self._calculator.flux_by(self._evaluator, frame, self.atoms)

    def _announce(self) -> None:
        """Announce to the calculator when the next flux is due, from the interval between the last two calls."""
        now = self._calculator.n_evaluations
        if self._evaluations >= 0 and now > self._evaluations:
            self._calculator.expect_flux(now - self._evaluations)
        self._evaluations = now


class DynamicsClock:
    """Time of a run in ps, from the dynamics that moves the atoms; continuous where one dynamics follows another.

    Parameters
    ----------
    dynamics : MolecularDynamics, optional
        The dynamics that gives the time; by default the calling one.
    time_step : float, optional
        Time between calls, ps, used instead of a dynamics.
    """

    def __init__(self, dynamics: MolecularDynamics | None = None, time_step: float | None = None) -> None:
        self._given, self._time_step = dynamics, time_step
        self._last: tuple[MolecularDynamics, float] | None = None
        self._time = 0.0
        self._n_calls = 0

    def now(self) -> float | None:
        """Time of this call, ps; None where it is not known."""
        if self._time_step is not None:
            self._n_calls += 1
            return (self._n_calls - 1) * self._time_step
        dynamics = self._given or calling_dynamics()
        if dynamics is None:
            return None
        time = dynamics.nsteps * dynamics.dt / (1e3 * units.fs)
        if self._last is None:
            self._time = time
        else:
            self._time += time - (self._last[1] if self._last[0] is dynamics else 0.0)
        self._last = dynamics, time
        return self._time


def calling_dynamics() -> MolecularDynamics | None:
    """The dynamics that is calling its observers at present, which ASE does not pass to them."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self") if frame.f_code.co_name == "call_observers" else None
        if isinstance(caller, MolecularDynamics):
            return caller
        frame = frame.f_back
    return None


def _calculator_of(atoms: Atoms, model: object) -> FluxanCalculator | None:
    """The atoms' calculator, if it is a `FluxanCalculator` of this model."""
    calculator = atoms.calc
    if not isinstance(calculator, FluxanCalculator):
        return None
    if model is None or model is calculator or model is calculator.model:
        return calculator
    same = model_sha256(load_model(model)) == model_sha256(calculator.model)
    return calculator if same else None


def _same_atoms(frame: Frame, last: Frame) -> bool:
    return all(
        np.array_equal(getattr(frame, name), getattr(last, name))
        for name in ("positions", "velocities", "numbers", "cell")
        if not getattr(frame, name) is getattr(last, name) is None
    )

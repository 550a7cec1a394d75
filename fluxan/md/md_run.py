"""Molecular dynamics that records its heat flux, and continues bit for bit after any interruption.

A run is divided into blocks of whole chunks of the flux file. At the start of each, the neighbour list is rebuilt and
the thermostat reset except for its random numbers, whether or not the run was interrupted there, so that the rest of
the run depends on the restart file alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase import units
from ase.constraints import FixCom
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

from fluxan.correlation import Correlator
from fluxan.errors import InputError, ModelError, OutputError, TrajectoryError
from fluxan.md.ase.calculator import FluxanCalculator, frame_of_atoms
from fluxan.md.ase.momenta import degrees_of_freedom, draw_momenta, scale_velocities, stand_still
from fluxan.md.recording import Recording
from fluxan.md.restart import Restart, restart_beside
from fluxan.series.flux_file import check_output
from fluxan.trajectory.memory import atoms_of_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxan.md.md_settings import MdSettings
    from fluxan.potentials.base import Potential
    from fluxan.system import Flux, Frame

#: Longest lag of the correlation functions, in frames: the multi-tau scheme makes long lags cheap.
LONGEST_LAG: Final = 4096


class MdRun:
    """One run, new or continued.

    Parameters
    ----------
    frame : Frame
        Initial configuration; its velocities, if any, are used where nothing is thermalised.
    model : Potential
        The force field, and the model of the flux.
    settings : MdSettings
        Ensemble, times and intervals.
    output : str or Path
        Path of the flux file; `restart_path` and `correlation_path` lie beside it.
    groups : str or sequence
        "element", or one label per atom.
    route : str
        Algorithm for the flux, see `fluxan.heat_flux`.
    resume : bool
        Continue from the restart file; without one, start a new run.
    overwrite : bool
        Replace existing output.

    Attributes
    ----------
    stop : bool
        When set to True, e.g. in a signal handler, the run ends after the present step.
    n_frames : int
        Number of fluxes in the file.

    Raises
    ------
    InputError
        The run to continue has other settings.
    OutputError
        There is an output already, or it cannot be written.
    """

    def __init__(
        self,
        frame: Frame,
        model: Potential,
        settings: MdSettings,
        *,
        output: str | Path,
        groups: str | list[str] = "element",
        route: str = "auto",
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.settings, self.output, self.stop = settings, Path(output), False
        self.atoms = atoms_of_frame(frame)
        self.atoms.calc = self._calculator = self._make_calculator(model, route)
        self._evaluator = self._calculator.evaluator(self.atoms.numbers, groups=groups)
        self._random = np.random.default_rng(settings.seed)
        self._fixed = settings.fixed() | self._evaluator.identity() | {"structure_sha256": _structure_sha256(frame)}
        known = self._find(resume=resume, overwrite=overwrite)
        fresh = Correlator(
            3 * len(self._evaluator.labels),
            max_lag=LONGEST_LAG,
            scheme="multitau",
            pairs="same-xyz",
            time_step=settings.frame_step,
        )
        self._correlator = fresh if known is None else known.correlator
        self.phase, self.step = "thermalise", 0
        self._recording = Recording(
            self._evaluator,
            name=f"{settings.ensemble} run",
            time_step=settings.frame_step,
            output=self.output,
            correlator=self._correlator,
            overwrite=overwrite,
            resume=False if known is None else known.n_frames,
            chunk=settings.checkpoint_every,
            attributes={"frames_planned": settings.n_frames} | settings.attributes(),
        )
        if known is None:
            self._begin(frame)
        else:
            self._take(known)

    @property
    def n_frames(self) -> int:
        """Number of fluxes in the file."""
        return self._recording.n_frames

    @property
    def restart_path(self) -> Path:
        """Path of the restart file."""
        return restart_beside(self.output)

    @property
    def correlation_path(self) -> Path:
        """Path of the correlator that is saved at the end, for `fluxan.Correlator.load`."""
        return self.output.with_suffix(".correlation.nc")

    @property
    def block(self) -> int:
        """Number of steps between restart files."""
        return self.settings.checkpoint_every * self.settings.flux_every

    def blocks(self) -> Iterator[int]:
        """Run block by block, yielding the number of steps of each, after its fluxes were written to disk.

        Raises
        ------
        FluxanError
            The run has blown up, the disk is full.
        """
        settings = self.settings
        while self.phase == "thermalise" and not self.stop:
            steps = min(self.block, settings.thermal_steps - self.step)
            if steps > 0:
                self._move(self._thermostat("langevin"), steps, record=False)
            if self.stop:
                return
            self.step += steps
            if self.step == settings.thermal_steps:
                self.phase, self.step = "produce", 0
                stand_still(self.atoms)
                if settings.ensemble == "nve":
                    scale_velocities(self.atoms, settings.temperature)
                self._begin_production()
            self._save()
            yield steps
        while self.n_frames < settings.n_frames and not self.stop:
            frames = min(settings.checkpoint_every, settings.n_frames - self.n_frames)
            steps = frames * settings.flux_every
            self._move(self._thermostat(settings.ensemble), steps, record=True)
            self._recording.flush()
            if self.stop:
                return
            self.step += steps
            # A last, shorter block writes no restart file: a longer run would not stop there.
            if frames == settings.checkpoint_every:
                self._save()
            yield steps

    def save_correlation(self) -> None:
        """Save the correlator to `correlation_path`."""
        self._correlator.save(self.correlation_path)

    def close(self) -> None:
        """Close the flux file."""
        self._recording.close()

    def _make_calculator(self, model: Potential, route: str) -> FluxanCalculator:
        return FluxanCalculator(model, route=route)

    def _begin_production(self) -> None:
        """Act at the end of the thermalisation, before the restart file is written; nothing here."""

    def _further_state(self) -> dict[str, np.ndarray]:
        """Further arrays for the restart file; none here."""
        return {}

    def _move(self, dynamics: Any, steps: int, *, record: bool) -> None:
        every = self.settings.flux_every
        forces = self._first_forces(record=record)
        for done in range(1, steps + 1):
            if self.stop:
                return
            try:
                forces = dynamics.step(forces)
                if record and done % every == 0:
                    self._record()
            except (InputError, ModelError, TrajectoryError) as error:
                where = "of the production" if record else "under the thermostat before it"
                raise type(error)(f"step {self.step + done} {where}: {error}") from error

    def _first_forces(self, *, record: bool) -> np.ndarray:
        """Forces at the start of a block, which depend on nothing before it."""
        self._calculator.forget()
        forces = self.atoms.get_forces(md=True)
        self._calculator.expect_flux(self.settings.flux_every if record else 0)
        return forces

    def _record(self) -> None:
        time = (self.n_frames + 1) * self.settings.frame_step
        frame = frame_of_atoms(self.atoms).replace(time=time)
        self._recording.add(frame, self._flux(frame))

    def _flux(self, frame: Frame) -> Flux:
        return self._calculator.flux_by(self._evaluator, frame, self.atoms)

    def _thermostat(self, ensemble: str) -> Any:
        settings, ps = self.settings, 1e3 * units.fs
        common: dict[str, Any] = {"timestep": settings.timestep * units.fs}
        self.atoms.set_constraint()
        if ensemble == "nve":
            return VelocityVerlet(self.atoms, **common)
        common |= {"temperature_K": settings.temperature, "rng": self._random}
        if ensemble == "nvt":
            thermostat = Bussi(self.atoms, taut=settings.relaxation * ps, **common)
            # It counts the motion of the centre of mass, which is at rest: small cells would be too hot.
            thermostat.ndof = degrees_of_freedom(self.atoms)
            thermostat.target_kinetic_energy = 0.5 * thermostat.temp * thermostat.ndof
            return thermostat
        # The thermostat's random forces would move the centre of mass, whose motion contributes to the flux.
        self.atoms.set_constraint(FixCom())
        return Langevin(self.atoms, friction=settings.friction / ps, fixcm=False, **common)

    def _find(self, *, resume: bool, overwrite: bool) -> Restart | None:
        """The restart file of this run to continue from, or None."""
        there = [path for path in (self.restart_path, self.output) if path.exists()]
        if not there or (resume and overwrite):  # resume with overwrite is refused with the output
            return None
        if overwrite:
            for path in there:
                check_output(path, resume=False, overwrite=True)
                path.unlink()
            return None
        if not resume:
            raise OutputError(f"{there[-1]} exists; resume it, overwrite it, or give another output")
        if not self.restart_path.exists():
            raise OutputError(f"cannot resume {self.output}: there is no {self.restart_path} beside it")
        known = Restart.load(self.restart_path)
        self._require_same(known, self.output)
        return known

    def _require_same(self, known: Restart, path: Path, *, but: str = "") -> None:
        """Refuse a state of a run with other settings, except for the one named `but`."""
        for name, mine in self._fixed.items():
            theirs = known.settings.get(name)
            if theirs != mine and name != but:
                raise InputError(
                    f"cannot resume {path}: it was begun with {name} = {theirs!r}, now it is {mine!r}; "
                    "give the same, or another output"
                )

    def _begin(self, frame: Frame) -> None:
        settings = self.settings
        if settings.thermal_steps or frame.velocities is None:
            draw_momenta(self.atoms, settings.temperature, self._random)
        self._save()

    def _save(self) -> None:
        self._restart().save(self.restart_path)

    def _restart(self) -> Restart:
        return Restart(
            phase=self.phase,
            step=self.step,
            n_frames=self.n_frames,
            positions=self.atoms.get_positions(),
            momenta=self.atoms.get_momenta(),
            random=dict(self._random.bit_generator.state),
            correlator=self._correlator,
            settings=self._fixed,
            further=self._further_state(),
        )

    def _take(self, known: Restart) -> None:
        self.phase, self.step = known.phase, known.step
        self.atoms.set_positions(known.positions)
        self.atoms.set_momenta(known.momenta)
        self._random.bit_generator.state = known.random


def _structure_sha256(frame: Frame) -> str:
    from fluxan.series.frame_checks import frame_sha256

    return f"{frame_sha256(frame):x}"

"""Runs with several driving forces, from which the production run's is chosen."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError, ModelError, OutputError, TrajectoryError
from fluxan.greenkubo.driven import driven_conductivity
from fluxan.md.hnemd.displacements import Displacements
from fluxan.md.hnemd.driving_force import field_vector
from fluxan.md.hnemd.hnemd_run import HnemdRun, require_drivable
from fluxan.md.hnemd.linearity import MIN_LEVELS, Choice, Level, choose_level
from fluxan.md.hnemd.spectrum_file import spectrum_beside
from fluxan.md.restart import Restart, restart_beside
from fluxan.plain_files import read_json, write_json
from fluxan.replacement import replacing
from fluxan.rounding import value_and_error
from fluxan.series.flux_dataset import open_flux
from fluxan.series.flux_file import change_attributes, check_output

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.md.hnemd.hnemd_settings import HnemdSettings
    from fluxan.potentials.base import Potential
    from fluxan.system import Frame

#: Product of the first driving force and the distance between neighbours. The response is linear while the driving
#: force times the mean free path of the heat's carriers is small, and no mean free path is shorter than this distance.
_FIRST: Final = 0.25
#: Ratio of one driving force to the next, after a run that failed and after one that did not.
_AFTER_FAILURE, _AFTER_RESULT = 3.0, 2.0
#: Largest difference of two unit vectors along the same direction.
_SAME_DIRECTION: Final = 1e-9
#: Relative error of κ beyond which the search ends.
_MAX_NOISE: Final = 0.6
#: Most driving forces to try: together they span a factor of at least 1000.
MOST_LEVELS: Final = 12


class DrivingChoice:
    """Runs with smaller and smaller driving forces, until the largest of the linear regime is known.

    All of them begin with the same thermalised atoms, so that the chosen one can be continued as the production run:
    none of its steps is lost. Each has a flux file and a restart file of its own, and is continued where it was
    interrupted.

    Parameters
    ----------
    frame : Frame
        Initial configuration.
    model : Potential
        The force field.
    settings : HnemdSettings
        Settings of the production; its driving force gives the direction alone.
    duration : float
        Length of each run, ps.
    output : Path
        Flux file of the production; those of these runs lie beside it.
    route : str
        See `fluxan.heat_flux`.
    resume : bool
        Continue where these runs, or the production, were interrupted.
    overwrite : bool
        Replace the files of these runs and of the production.

    Attributes
    ----------
    levels : list of Level
        Driving forces tried so far, from large to small.
    """

    def __init__(
        self,
        frame: Frame,
        model: Potential,
        settings: HnemdSettings,
        *,
        duration: float,
        output: Path,
        route: str = "auto",
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.levels: list[Level] = []
        self._frame, self._model, self._route = frame, model, route
        direction = np.array(settings.driving_force)
        self._direction = direction / np.linalg.norm(direction)
        self._production, self._settings = settings, replace(settings, time=duration)
        self._output = Path(output)
        self._thermalised = self._output.with_suffix(".thermalised.npz")
        self._rejections = self._output.with_suffix(".rejected.json")
        require_drivable(frame, self._direction)
        self._prepare(resume=resume, overwrite=overwrite)
        self._first = _FIRST / Displacements(frame.positions, frame.numbers, np.asarray(frame.cell)).spacing

    def choose(self, follow: Callable[[HnemdRun], None], report: Callable[[Level], None]) -> Choice:
        """Run until a driving force can be chosen.

        Parameters
        ----------
        follow : callable
            Runs an `HnemdRun` to its end.
        report : callable
            Called with each level that was tried.

        Raises
        ------
        InputError
            No driving force of the linear regime was found.
        """
        strength = self._first
        for number in range(MOST_LEVELS):
            level = self._tried(number, strength, follow)
            self.levels.append(level)
            report(level)
            choice = choose_level(self.levels)
            if choice is not None:
                return choice
            self._refuse_noise(level)
            strength /= _AFTER_FAILURE if level.result is None else _AFTER_RESULT
        raise InputError(
            f"no driving force from {self._first:.3g} to {self.levels[-1].strength:.3g}/Å was found for which κ is "
            "known to be independent of it; make the runs of the check longer, or give a driving force"
        )

    def _refuse_noise(self, level: Level) -> None:
        """Stop where smaller driving forces, whose κ is known still less, would not help."""
        result = level.result
        if result is not None and len(self.levels) >= MIN_LEVELS and result.error > _MAX_NOISE * abs(result.kappa):
            raise InputError(
                f"runs of {self._settings.time:g} ps are too short to find a driving force: at {level.strength:.3g}/Å "
                f"κ = {value_and_error(result.kappa, result.error)} {result.unit}; make them longer, or give a driving "
                "force"
            )

    def files(self, number: int) -> Path:
        """Flux file of one of the runs."""
        return self._output.with_suffix(f".check{number}.nc")

    def adopt(self, choice: Choice) -> None:
        """Let the production run continue the chosen run, by copies of its files."""
        chosen = self.files(self.levels.index(choice.level))
        restart = restart_beside(self._output)
        # The restart file comes last: without it, no production run has begun.
        for source, target in ((chosen, self._output), (restart_beside(chosen), restart)):
            with replacing(target) as unfinished:
                shutil.copyfile(source, unfinished)
                if target is self._output:
                    found = {"nonlinearity": choice.bias, "nonlinearity_error": choice.bias_error}
                    change_attributes(unfinished, found)

    def reject(self, strength: float, reason: str) -> None:
        """Note that a driving force proved too large in the production, which is removed, so that another is chosen."""
        rejected = self._rejected() | {f"{strength:.12g}": reason}
        write_json(self._rejections, rejected)
        _remove_run(self._output)
        self.levels.clear()

    def _rejected(self) -> dict[str, str]:
        """Reasons of rejections by driving force."""
        known: dict[str, str] = read_json(self._rejections) if self._rejections.exists() else {}
        return known

    def production_begun(self) -> HnemdSettings | None:
        """Settings of a production that was begun before, with its driving force; None if there is none.

        Raises
        ------
        InputError
            It was driven along another direction.
        """
        restart = restart_beside(self._output)
        if not restart.exists():
            return None
        known = field_vector(Restart.load(restart).settings.get("driving_force"))
        along = known / np.linalg.norm(known)
        if not np.allclose(along, self._direction, atol=_SAME_DIRECTION):
            raise InputError(
                f"cannot resume {self._output}: its driving force is along {along.round(4).tolist()}, now it is along "
                f"{self._direction.round(4).tolist()}; give the same direction, or another output"
            )
        x, y, z = known.tolist()
        with open_flux(self._output) as dataset:
            bias, error = (float(dataset.attrs[name]) for name in ("nonlinearity", "nonlinearity_error"))
        return replace(self._production, driving_force=(x, y, z), nonlinearity=bias, nonlinearity_error=error)

    def settings_for(self, choice: Choice) -> HnemdSettings:
        """Settings of the production with the chosen driving force."""
        return replace(
            self._production,
            driving_force=self._vector(choice.level.strength),
            nonlinearity=choice.bias,
            nonlinearity_error=choice.bias_error,
        )

    def _vector(self, strength: float) -> tuple[float, float, float]:
        x, y, z = (strength * self._direction).tolist()
        return x, y, z

    def _prepare(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse existing files, remove them, or leave them to be continued."""
        check_output(self._output, resume=resume, overwrite=overwrite)
        fluxes = [self.files(number) for number in range(MOST_LEVELS)]
        there = [path for path in [*fluxes, self._thermalised, self._rejections] if path.exists()]
        if there and not (resume or overwrite):
            raise OutputError(f"{there[0]} exists; resume it, overwrite it, or give another output")
        if overwrite:
            for path in [self._output, *fluxes]:
                _remove_run(path)
            self._thermalised.unlink(missing_ok=True)
            self._rejections.unlink(missing_ok=True)

    def _tried(self, number: int, strength: float, follow: Callable[[HnemdRun], None]) -> Level:
        path = self.files(number)
        run = HnemdRun(
            self._frame,
            self._model,
            replace(self._settings, driving_force=self._vector(strength)),
            output=path,
            route=self._route,
            thermalised=self._thermalised,
            resume=restart_beside(path).exists(),
        )
        with closing(run):
            try:
                follow(run)
            except (TrajectoryError, ModelError) as error:  # models may fail on atoms that are torn apart
                return Level(strength, None, str(error))
        result = driven_conductivity(path)
        rejected = self._rejected().get(f"{strength:.12g}", "")
        return Level(strength, result, rejected or result.nonlinear)


def _remove_run(flux: Path) -> None:
    """Remove the files of a run; without its restart file, which goes first, it has not begun."""
    for path in (restart_beside(flux), spectrum_beside(flux), flux):
        path.unlink(missing_ok=True)

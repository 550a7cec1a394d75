"""A run of homogeneous nonequilibrium molecular dynamics, which continues bit for bit after any interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from ase.data import chemical_symbols

from fluxan.correlation.virial_velocity import VirialVelocityCorrelator
from fluxan.errors import InputError, TrajectoryError
from fluxan.md.hnemd.displacements import Displacements
from fluxan.md.hnemd.driven_calculator import DrivenCalculator
from fluxan.md.hnemd.driving_force import counted_from, field_vector, require_periodic, species_means
from fluxan.md.hnemd.spectrum_file import save_correlation, spectrum_beside
from fluxan.md.md_run import MdRun
from fluxan.md.restart import Restart

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.md.hnemd.hnemd_settings import HnemdSettings
    from fluxan.potentials.base import Potential
    from fluxan.system import Flux, Frame

#: Temperature above the thermostat's, as a fraction of it and in standard deviations of the kinetic energy, at which a
#: run is stopped: the thermostat no longer removes the heat that the driving force makes.
_MAX_HEATING: Final = (0.5, 8.0)
#: Fewest atoms that can move against each other.
_FEWEST_ATOMS: Final = 2
#: Prefix of the names of the spectral correlator's arrays in a restart file.
_SPECTRAL: Final = "spectral_"


class HnemdRun(MdRun):
    """A thermostatted run under a driving force.

    The flux file records the flux with the energies of atoms counted from the mean potential energy of their element
    at the start of the production, see `fluxan.md.hnemd.DrivingForce`.

    Parameters
    ----------
    frame, model, settings, options
        See `fluxan.md.md_run.MdRun`, also for files and attributes.
    thermalised : Path, optional
        File with the thermalised atoms, with which a new run begins; if there is none, it is written at the end of the
        thermalisation.

    Raises
    ------
    InputError
        The atoms are not periodic along the driving force.
    TrajectoryError
        While it runs: the atoms heat up, a solid melts, or the elements of a mixture diffuse.
    """

    settings: HnemdSettings
    _calculator: DrivenCalculator

    def __init__(
        self,
        frame: Frame,
        model: Potential,
        settings: HnemdSettings,
        *,
        thermalised: Path | None = None,
        **options: object,
    ) -> None:
        self._thermalised = thermalised
        require_drivable(frame, field_vector(settings.driving_force))
        self._energy_zero = np.zeros(frame.n_atoms)
        self._sites = Displacements(frame.positions, frame.numbers, np.asarray(frame.cell))
        self._solid: set[int] = set()
        self._spectral: VirialVelocityCorrelator | None = None
        super().__init__(frame, model, settings, **options)  # type: ignore[arg-type]
        if self._spectral is None and settings.lag_samples:
            groups = self._evaluator.groups
            self._spectral = VirialVelocityCorrelator(
                groups, max_lag=settings.lag_samples, time_step=settings.frame_step
            )

    @property
    def spectrum_path(self) -> Path:
        """Path of the virial-velocity correlation that `save_spectrum` writes."""
        return spectrum_beside(self.output)

    def save_spectrum(self) -> None:
        """Write the virial-velocity correlation to `spectrum_path`, where the run is longer than the longest lag."""
        spectral = self._spectral
        if spectral is not None and spectral.n_samples > spectral.max_lag:
            field = np.array(self.settings.driving_force)
            save_correlation(self.spectrum_path, spectral.correlation(), self._evaluator.labels, field)

    def _make_calculator(self, model: Potential, route: str) -> DrivenCalculator:
        return DrivenCalculator(model, route=route)

    def _begin_production(self) -> None:
        self._calculator.drive(np.zeros(3))
        self._energy_zero = species_means(self.atoms.get_potential_energies(), self.atoms.numbers)
        moved = self._sites.gone(self.atoms.get_positions())
        elements = {int(z) for z in self.atoms.numbers}
        self._solid = elements - set(moved)
        self._refuse_mixture(moved)
        if self._thermalised is not None:
            self._restart().save(self._thermalised)

    def _find(self, *, resume: bool, overwrite: bool) -> Restart | None:
        known = super()._find(resume=resume, overwrite=overwrite)
        if known is None:
            self.spectrum_path.unlink(missing_ok=True)  # of a run that is replaced
        return known

    def _begin(self, frame: Frame) -> None:
        if self._thermalised is None or not self._thermalised.exists():
            super()._begin(frame)
            return
        known = Restart.load(self._thermalised)
        self._require_same(known, self._thermalised, but="driving_force")
        self._take(known)
        self._save()

    def _first_forces(self, *, record: bool) -> np.ndarray:
        calculator = self._calculator
        calculator.drive(self.settings.driving_force if record else np.zeros(3), energy_zero=self._energy_zero)
        calculator.forget()
        calculator.velocity_lag = 0.0
        forces = self.atoms.get_forces(md=True)
        calculator.velocity_lag = 0.5e-3 * self.settings.timestep
        return forces

    def _flux(self, frame: Frame) -> Flux:
        self._refuse_heating(frame)
        self._refuse_melting()
        flux = super()._flux(frame)
        if frame.velocities is None:
            return flux
        virial_force = self._calculator.virial_force
        if self._spectral is not None and virial_force is not None:
            self._spectral.update(virial_force / self.strength, frame.velocities)
        return counted_from(flux, self._energy_zero, frame.velocities, self._evaluator.groups)

    def _further_state(self) -> dict[str, np.ndarray]:
        state = {"energy_zero": self._energy_zero, "solid": np.array(sorted(self._solid), dtype=np.int64)}
        if self._spectral is not None and self.phase == "produce":
            state |= {_SPECTRAL + name: values for name, values in self._spectral.state().items()}
        return state

    def _take(self, known: Restart) -> None:
        super()._take(known)
        self._energy_zero = known.further["energy_zero"]
        self._solid = set(known.further["solid"].tolist())
        state = {name: values for name, values in known.further.items() if name.startswith(_SPECTRAL)}
        if state:
            found = {name.removeprefix(_SPECTRAL): values for name, values in state.items()}
            self._spectral = VirialVelocityCorrelator.from_state(found)

    def _refuse_heating(self, frame: Frame) -> None:
        target, temperature = self.settings.temperature, frame.temperature
        fraction, deviations = _MAX_HEATING
        most = target * (1 + max(fraction, deviations * np.sqrt(2 / (3 * frame.n_atoms))))
        if temperature is not None and temperature > most:
            raise TrajectoryError(
                f"the driving force heats the atoms to {temperature:.4g} K, faster than the thermostat cools them to "
                f"{target:g} K: use a smaller one than {self.strength:.3g}/Å, or a shorter relaxation time"
            )

    def _refuse_melting(self) -> None:
        gone = [z for z in self._sites.gone(self.atoms.get_positions()) if z in self._solid]
        if not gone:
            return
        self._refuse_mixture(gone)
        names = ", ".join(chemical_symbols[z] for z in gone)
        raise TrajectoryError(
            f"most {names} atoms have left the sites on which they were before the driving force of "
            f"{self.strength:.3g}/Å set in: either it melts or shears a solid (use a smaller one), or they are a "
            "liquid, or were melting (thermalise longer, so that they leave their sites before)"
        )

    def _refuse_mixture(self, moved: list[int]) -> None:
        if moved and len(set(self.atoms.numbers.tolist())) > 1:
            names = ", ".join(chemical_symbols[z] for z in moved)
            raise InputError(
                f"{names} atoms diffuse in a mixture of elements: the driving force then also drives the elements "
                "against each other, and the mean flux is no conductivity; use fluxan md and Green-Kubo, which gives κ "
                "at zero mass flux"
            )

    @property
    def strength(self) -> float:
        """Magnitude of the driving force, 1/Å."""
        return float(np.linalg.norm(self.settings.driving_force))


def require_drivable(frame: Frame, field: np.ndarray) -> None:
    """Refuse atoms in which a driving force along a vector cannot sustain a flux.

    Raises
    ------
    InputError
        There are fewer than two atoms, or they are not periodic along it.
    """
    require_periodic(frame, field)
    if frame.n_atoms < _FEWEST_ATOMS:
        raise InputError(f"{frame.n_atoms} atom cannot move with its centre of mass at rest: repeat the cell")

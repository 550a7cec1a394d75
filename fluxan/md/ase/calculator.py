"""fluxan's models as an ASE calculator: energies, forces, stress and heat flux for any ASE workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from fluxan.errors import InputError
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.md.evaluation import Evaluation
from fluxan.neighbors import build_graph
from fluxan.potentials.load import load_model
from fluxan.system import Frame
from fluxan.trajectory.memory import record_of_atoms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from fluxan.flux.check import CheckReport
    from fluxan.md.evaluation import Forces
    from fluxan.system import Flux

PROPERTIES = ["energy", "free_energy", "energies", "forces", "stress", "heat_flux"]


class FluxanCalculator(Calculator):
    """An ASE calculator of a fluxan model.

    Energies, forces and, for periodic atoms, stress come from one evaluation and one backward pass; the heat flux is
    computed only on request (``calc.get_property("heat_flux", atoms)``), from the atoms' velocities.

    Parameters
    ----------
    model : object
        Potential, or what `fluxan.load_model` takes.
    route : {"auto", "local", "adjoint", "unfolded"}
        Algorithm for the flux, see `fluxan.heat_flux`.

    Attributes
    ----------
    model : torch.nn.Module
        The potential.
    results : dict
        In ASE's units: energy and free_energy eV; energies (n_atoms,) eV, one per atom; forces (n_atoms, 3) eV/Å;
        stress (6,) eV/Å³ in the order xx, yy, zz, yz, xz, xy, negative under compression; heat_flux (3,), total and
        volume-extensive as everywhere in fluxan, in eV Å/ps.

    Raises
    ------
    ModelError, FileError
        See `fluxan.load_model`; when evaluated, see `fluxan.heat_flux`.
    """

    implemented_properties = PROPERTIES

    def __init__(self, model: object, *, route: str = "auto") -> None:
        super().__init__()
        self.model = load_model(model)
        self.route = route
        self.n_evaluations = 0
        self._evaluation: Evaluation | None = None
        self._passed: dict[tuple[int, ...], dict[str, CheckReport]] = {}  # by elements
        self._flux_every = self._announced = 0

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """Return a result, computed if needed; a heat flux also when velocities change, which ASE does not check."""
        if name == "stress":
            _require_volume(self.atoms if atoms is None else atoms)
        if atoms is not None and self.atoms is not None and _moves_otherwise(atoms, self.atoms):
            self.results.pop("heat_flux", None)
        return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results`; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        if "stress" in properties and self.atoms is not None:
            _require_volume(self.atoms)
        evaluation = self._evaluation_of(self.atoms.numbers, changed=bool(set(system_changes) - {"positions"}))
        if set(properties) != {"heat_flux"}:
            self.n_evaluations += 1
            kept = self._flux_every and (self.n_evaluations - self._announced) % self._flux_every == 0
            frame = frame_of_atoms(self.atoms)
            forces = evaluation.at(frame, flux="heat_flux" in properties or bool(kept))
            self.results.update(_results(forces, frame.volume))
        if "heat_flux" in properties:
            self.results["heat_flux"] = self.flux(self.atoms).total

    def expect_flux(self, every: int) -> None:
        """Let every n-th evaluation from now on keep the data that its flux needs; 0 for none.

        Any other flux needs an additional evaluation; the result is the same.
        """
        self._flux_every, self._announced = every, self.n_evaluations

    def forget(self) -> None:
        """Discard results and the neighbour list, so that later results depend on the atoms alone, to the last bit."""
        self.reset()
        if self._evaluation is not None:
            self._evaluation.reset()

    def flux(self, atoms: Atoms, *, groups: str | Sequence[object] = "element") -> Flux:
        """Heat flux of atoms that have velocities, split by owner and carrier, see `fluxan.heat_flux`.

        Parameters
        ----------
        atoms : ase.Atoms
            Atoms with velocities.
        groups : str or sequence
            "element", or one label per atom.

        Raises
        ------
        InputError, ModelError
            See `fluxan.heat_flux`.
        """
        return self.flux_by(self.evaluator(atoms.numbers, groups=groups), frame_of_atoms(atoms), atoms)

    def evaluator(self, numbers: np.ndarray, *, groups: str | Sequence[object] = "element") -> FluxEvaluator:
        """Evaluator of fluxes by group, for atoms of these atomic numbers."""
        passed = self._passed.setdefault(tuple(np.unique(numbers).tolist()), {})
        return FluxEvaluator(self.model, numbers, groups=groups, route=self.route, passed=passed)

    def flux_by(self, evaluator: FluxEvaluator, frame: Frame, atoms: Atoms) -> Flux:
        """Heat flux in the groups of an evaluator, from the evaluation of the forces if that was at these positions.

        Parameters
        ----------
        evaluator : FluxEvaluator
            Evaluator of this calculator's model.
        frame : Frame
            Frame made from the atoms.
        atoms : ase.Atoms
            The atoms.
        """
        known = self._evaluation is not None and "forces" in self.results and not self.check_state(atoms)
        if known and self._evaluation is not None:
            return self._evaluation.flux(frame.velocities, frame.masses, evaluator=evaluator)
        return evaluator.flux(frame, build_graph(frame, self.model.cutoff))

    def _evaluation_of(self, numbers: np.ndarray, *, changed: bool) -> Evaluation:
        evaluation = self._evaluation
        if evaluation is None or not np.array_equal(evaluation.evaluator.numbers, numbers):
            evaluation = self._evaluation = Evaluation(self.evaluator(numbers))
        elif changed:
            evaluation.reset()
        return evaluation


def frame_of_atoms(atoms: Atoms) -> Frame:
    """A frame from ASE atoms, in fluxan's units; open directions without a cell vector get one."""
    record = record_of_atoms(atoms)
    return Frame(
        record.positions,
        record.velocities,
        None if record.cell is None else np.array(atoms.cell.complete()),
        record.numbers,
        record.masses,
        pbc=record.pbc,
    )


class StressError(PropertyNotImplementedError, InputError):
    """There is no stress, because the atoms fill no volume. It derives from the error that ASE expects."""


def _require_volume(atoms: Atoms | None) -> None:
    if atoms is None or all(atoms.pbc):
        return
    open_axes = ", ".join(axis for axis, periodic in zip("abc", atoms.pbc, strict=True) if not periodic)
    raise StressError(
        f"stress is force per area, and these atoms fill no volume: their cell is not periodic along {open_axes} "
        f"(pbc = {atoms.pbc.tolist()}); set atoms.pbc = True for the stress over a cell with vacuum"
    )


def _results(forces: Forces, volume: float | None) -> dict[str, Any]:
    """Results by ASE's names; stress for atoms that fill a volume."""
    results: dict[str, Any] = {"energy": forces.energy, "energies": forces.energies, "forces": forces.forces}
    results["free_energy"] = results["energy"]
    if volume is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(forces.virial / volume)
    return results


def _moves_otherwise(atoms: Atoms, before: Atoms) -> bool:
    """Whether velocities have changed."""
    momenta = [a.arrays.get("momenta") for a in (atoms, before)]
    if momenta[0] is None or momenta[1] is None:
        return momenta[0] is not momenta[1]
    return not np.array_equal(momenta[0] / atoms.get_masses()[:, None], momenta[1] / before.get_masses()[:, None])

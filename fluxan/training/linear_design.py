"""Linear models: energies, forces, virials and heat fluxes as rows that are linear in the weights.

Unknowns are the weights of each element's descriptors and the offset of each element. Every label is one row, scaled
such that the sum of squared residuals of the rows of a term is the mean square that `fluxan.training.loss` defines.
The flux power is the sum of squares of rows too: with ``y_j = W_j √(k_B T/m_j)`` and ``u_j = √(m_j/M)``,

``⟨|J_pot|²⟩ = Σ_j ‖y_j − u_j Σ_i u_i y_i‖²``

since to fix the total momentum is to project the direction u out.

Rows are never kept: blocks of them are reduced by QR decompositions, one after the other, to one triangle R for each
term, with ``‖R w‖² = ‖rows · w‖²``. Memory does not grow with the number of frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from fluxan.training.batches import collate
from fluxan.training.spectral_band import band_transform
from fluxan.units import BOLTZMANN, MASS_VELOCITY2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fluxan.potentials.linear_potential import LinearPotential
    from fluxan.training.batches import Batch
    from fluxan.training.dataset import TrainingSet
    from fluxan.training.loss import FluxTerm

#: Rows that are collected before they are reduced to a triangle, in numbers of columns.
_BLOCK = 8


class BasisRows(NamedTuple):
    """Rows of one batch; columns are weights, then offsets, then the label.

    Attributes
    ----------
    energy : (n_frames, n_columns) float64
        eV per atom.
    forces : (3 n_atoms, n_columns) float64
        eV/Å.
    virial : (9 n_frames, n_columns) float64
        eV per atom.
    flux : (n_rows, n_columns) float64
        Roots of the flux power per atom, √((eV Å/ps)²).
    """

    energy: np.ndarray
    forces: np.ndarray
    virial: np.ndarray
    flux: np.ndarray


class Triangle:
    """Upper triangle R of a QR decomposition of rows that come in blocks.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    def __init__(self, n_columns: int) -> None:
        self.n_rows = 0
        self._r = np.zeros((0, n_columns))
        self._waiting: list[np.ndarray] = []

    def add(self, rows: np.ndarray) -> None:
        """Add rows (n_rows, n_columns)."""
        self.n_rows += len(rows)
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) > _BLOCK * self._r.shape[1]:
            self._reduce()

    def root(self) -> np.ndarray:
        """R, (n, n_columns) with n at most n_columns: ``RᵀR = Σ rows ᵀ rows / n_rows``, the mean over rows."""
        self._reduce()
        return self._r / max(self.n_rows, 1) ** 0.5

    def _reduce(self) -> None:
        if self._waiting:
            self._r = np.asarray(np.linalg.qr(np.concatenate([self._r, *self._waiting]), mode="r"))
            self._waiting = []


class LinearDesign:
    """Roots of the quadratic forms of every term, for the frames of a training set.

    Parameters
    ----------
    model : LinearPotential
        Its descriptors; weights are not used.
    training_set : TrainingSet
        The frames.
    term : FluxTerm or None
        Form of the flux term; without one there are no rows of the flux.
    progress : callable, optional
        Called with the number of frames done.

    Attributes
    ----------
    roots : dict of str to (n, n_columns + 1) float64
        For each term R, such that ``‖R [w, −1]‖²`` is the mean square of the term for the weights w, (n_columns,):
        those of all descriptors element by element, then the offsets.
    counts : dict of str to int
        Number of items over which each term is a mean.
    n_columns : int
        Number of weights and offsets.
    n_frames : int
        Number of frames.
    """

    def __init__(
        self,
        model: LinearPotential,
        training_set: TrainingSet,
        term: FluxTerm | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        n_columns = len(model.elements) * (model.functions.n_features + 1) + 1
        triangles = {name: Triangle(n_columns) for name in BasisRows._fields}
        bands = BandWindow(training_set, term) if term is not None and term.form == "band" else None
        graphs = training_set.graphs(model.cutoff)
        for k, (frame, graph) in enumerate(zip(training_set.frames, graphs, strict=True)):
            rows = basis_rows(model, collate([frame], [graph], model.elements), term)
            if bands is not None:
                rows = rows._replace(flux=bands.rows(k, rows.flux))
            for name, triangle in triangles.items():
                if len(getattr(rows, name)):
                    triangle.add(getattr(rows, name))
            if progress is not None:
                progress(k + 1)
        self.n_columns = n_columns - 1
        self.n_frames = len(training_set)
        self.roots = {name: triangle.root() for name, triangle in triangles.items() if triangle.n_rows}
        self.counts = {name: triangle.n_rows for name, triangle in triangles.items() if triangle.n_rows}
        if "flux" in self.roots:
            # The flux power is a mean over frames, not over rows.
            n_frames = self.n_frames if bands is None else bands.n_frames
            self.roots["flux"] *= (self.counts["flux"] / n_frames) ** 0.5
            self.counts["flux"] = n_frames

    def mean_squares(self, weights: np.ndarray) -> dict[str, float]:
        """Mean square of every term for some weights, (n_columns,), in the units of `fluxan.training.loss`."""
        return mean_squares_of(self.roots, weights)


def mean_squares_of(roots: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, float]:
    """Mean square ``‖R [w, −1]‖²`` of every term for weights w, (n_columns,)."""
    extended = np.append(weights, -1.0)
    return {name: float(np.sum((root @ extended) ** 2)) for name, root in roots.items()}


def merged_roots(designs: Sequence[LinearDesign]) -> dict[str, np.ndarray]:
    """Roots of the frames of several designs together; a design may be repeated."""
    roots = {}
    for name in designs[0].roots:
        total = sum(design.counts[name] for design in designs)
        stacked = [design.roots[name] * (design.counts[name] / total) ** 0.5 for design in designs]
        roots[name] = np.asarray(np.linalg.qr(np.concatenate(stacked), mode="r"))
    return roots


class BandWindow:
    """Collects the fluxes of consecutive frames, and gives the rows of their power within a band.

    Parameters
    ----------
    training_set : TrainingSet
        The frames.
    term : FluxTerm
        Of form "band".
    """

    def __init__(self, training_set: TrainingSet, term: FluxTerm) -> None:
        runs = training_set.runs(term.window)
        self.n_frames = sum(map(len, runs))
        self._term = term
        self._last = {run[-1] for run in runs}
        self._inside = {k for run in runs for k in run}
        self._waiting: list[np.ndarray] = []

    def rows(self, k: int, flux: np.ndarray) -> np.ndarray:
        """Take the flux rows (n_channels, n_columns) of frame `k`; rows of a window that it completes, else none."""
        if k in self._inside:
            self._waiting.append(flux)
        if k not in self._last:
            return flux[:0]
        window, self._waiting = np.stack(self._waiting), []
        transform = band_transform(len(window), *self._term.sampling).numpy()
        return np.einsum("ft,tck->fck", transform, window).reshape(-1, flux.shape[1])


def basis_rows(model: LinearPotential, batch: Batch, term: FluxTerm | None) -> BasisRows:
    """Rows of a batch of one frame, whose columns are weights, offsets and label."""
    descriptors, gradients = model.pair_force_basis(batch.graph)
    columns = _Columns(model, batch)
    n_atoms = batch.graph.n_atoms
    energy = np.concatenate([columns.sums(descriptors), columns.counts, [_value(batch.energies)]]) / n_atoms
    offsets = len(model.elements)
    forces, virial, flux = columns.of_edges(gradients, atomic=term is not None)
    blank = np.zeros((max(3 * n_atoms, 9 * n_atoms), offsets))
    rows_of_forces = np.hstack([forces, blank[: 3 * n_atoms], batch.forces.numpy().reshape(-1, 1)])
    rows_of_virial = np.hstack([virial, blank[:9], batch.virials.numpy().reshape(-1, 1)]) / n_atoms
    rows_of_flux = np.zeros((0, energy.size))
    if term is not None:
        roots, label = flux_rows(flux, batch, term)
        rows_of_flux = np.hstack([roots, np.zeros((len(roots), offsets)), label]) / n_atoms**0.5
    has = {name: bool(flag.all()) for name, flag in batch.has.items()}
    return BasisRows(
        energy=energy[None, :] if has["energy"] else energy[None, :][:0],
        forces=rows_of_forces if has["forces"] else rows_of_forces[:0],
        virial=rows_of_virial if has["virial"] else rows_of_virial[:0],
        flux=rows_of_flux,
    )


def flux_rows(virial: np.ndarray, batch: Batch, term: FluxTerm) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose squares add up to the flux power of one frame.

    Parameters
    ----------
    virial : (n_atoms, 9, n_weights) float64
        W_j for each weight, eV.
    batch : Batch
        The frame.
    term : FluxTerm
        Form of the flux term.

    Returns
    -------
    rows : (n_rows, n_weights) float64
        eV Å/ps.
    label : (n_rows, 1) float64
        The reference flux; zero for other forms.
    """
    species, masses = batch.species.numpy(), batch.masses.numpy()
    groups = species if term.by_element else np.zeros_like(species)
    if term.gauge_fixed:
        virial = virial.copy()
        for element in np.unique(species):
            virial[species == element] -= virial[species == element].mean(axis=0)
    if term.form == "thermal":
        rows = [_thermal_rows(virial[groups == g], masses[groups == g], masses.sum(), term) for g in np.unique(groups)]
        joined = np.concatenate(rows)
        return joined, np.zeros((len(joined), 1))
    velocities = batch.velocities.numpy()
    carried = np.einsum("jabk,jb->jak", virial.reshape(len(virial), 3, 3, -1), velocities)
    flux = np.concatenate([carried[groups == g].sum(axis=0) for g in np.unique(groups)])
    label = batch.fluxes.numpy().reshape(-1, 1) if term.form == "reference" else np.zeros((len(flux), 1))
    return flux, label


def _thermal_rows(virial: np.ndarray, masses: np.ndarray, total_mass: float, term: FluxTerm) -> np.ndarray:
    """Rows ``y_j − u_j Σ_i u_i y_i (1 − √(1 − s))/s`` of one group of atoms, with ``s = Σ u²``, 1 for all atoms.

    Their squares add up to ``Σ ‖y_j‖² − ‖Σ u_j y_j‖²``: the projection for all atoms, and its root for a group, whose
    momentum is not zero.
    """
    thermal = BOLTZMANN * float(term.temperature or 0.0) / MASS_VELOCITY2
    rows = virial * np.sqrt(thermal / masses)[:, None, None]
    if term.fixed_momentum:
        unit = np.sqrt(masses / total_mass)
        share = float(unit @ unit)
        factor = (1.0 - np.sqrt(max(1.0 - share, 0.0))) / share
        rows = rows - factor * unit[:, None, None] * np.einsum("j,jak->ak", unit, rows)
    return rows.reshape(-1, virial.shape[2])


class _Columns:
    """Sums of one frame's descriptors and their derivatives, as columns element by element."""

    def __init__(self, model: LinearPotential, batch: Batch) -> None:
        self._batch = batch
        self._n_elements = len(model.elements)
        self.counts = np.bincount(batch.species.numpy(), minlength=self._n_elements).astype(float)

    def sums(self, descriptors: torch.Tensor) -> np.ndarray:
        """Sum of each descriptor over the atoms of each element, (n_elements * n_features,)."""
        total = descriptors.new_zeros(self._n_elements, descriptors.shape[1])
        return total.index_add(0, self._batch.species, descriptors).reshape(-1).numpy()

    def of_edges(self, gradients: torch.Tensor, *, atomic: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Forces, (3 n_atoms, n), frame virial, (9, n), and atomic virials, (n_atoms, 9, n), of unit weights."""
        graph = self._batch.graph
        forces, virials, atoms = [], [], []
        owners = self._batch.species[graph.receivers]
        for element in range(self._n_elements):
            edges = (owners == element).nonzero().squeeze(1)
            # Edges first, features last.
            g = gradients[:, edges].permute(1, 2, 0)
            senders, receivers = graph.senders[edges], graph.receivers[edges]
            zeros = g.new_zeros(graph.n_atoms, 3, g.shape[2])
            forces.append(zeros.index_add(0, receivers, g).index_add(0, senders, -g).flatten(0, 1))
            products = -(graph.r_ij[edges][:, :, None, None] * g[:, None, :, :]).flatten(1, 2)
            if atomic:
                atoms.append(g.new_zeros(graph.n_atoms, 9, g.shape[2]).index_add(0, senders, products))
            virials.append(products.sum(dim=0))
        shared = [torch.cat(parts, dim=-1).numpy() for parts in (forces, virials)]
        return shared[0], shared[1], torch.cat(atoms, dim=-1).numpy() if atomic else np.zeros((0, 9, 0))


def _value(tensor: torch.Tensor) -> float:
    return float(tensor.reshape(-1)[0])

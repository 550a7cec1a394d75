"""The flux of the mean virial, Σ_j ⟨W_j⟩ v_j, which in a solid carries no heat but most of the noise.

Where atoms stay at their sites it is a total time derivative, of Σ_j ⟨W_j⟩ u_j with bounded displacements u_j: it
adds a term ∝ f² to the spectrum and nothing to its value at f = 0 (F. Knoop, M. Scheffler, C. Carbogno, Phys. Rev. B
107, 224304 (2023); A. Marcolongo, P. Umari, S. Baroni, Nat. Phys. 12, 80 (2016)). In a liquid it carries heat and must
be kept.

⟨W_j⟩ is nine numbers per atom, the mean over a subset of frames with one evaluation of the model each. One more pass
over the velocities gives the flux to remove, by carrier, as the variable ``mean_virial`` of the Dataset. Removing
any fixed ⟨W_j⟩ leaves κ unchanged: the subset need only be large enough to remove most of the noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError, TrajectoryError
from fluxan.series.schema import MEAN_VIRIAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray
    from numpy.typing import NDArray

    from fluxan.trajectory import Trajectory

#: Frames over which virials are averaged by default: noise of 1/√50 of their fluctuation stays.
_FRAMES: Final = 50


def mean_virial(
    traj: object, model: object, *, every: int | None = None, reader: Mapping[str, object] | None = None
) -> NDArray[np.float64]:
    """Per-atom virial averaged over frames, ⟨W_j⟩.

    Parameters
    ----------
    traj : object
        What `fluxan.decompose` takes, with the same atoms in the same order in every frame.
    model : object
        Potential, or what `fluxan.load_model` takes.
    every : int, optional
        Use every n-th frame; by default, 50 frames are used, or all where their number is not known.
    reader : mapping, optional
        Options of `fluxan.open_trajectory`.

    Returns
    -------
    (n_atoms, 3, 3) float64
        Mean virials, eV; ``J_pot = Σ_j W_j v_j``.

    Raises
    ------
    TrajectoryError, ModelError
        The trajectory holds no frame, or the model fails on one.
    """
    from fluxan.flux.evaluate import FluxEvaluator
    from fluxan.neighbors import NeighborList
    from fluxan.potentials.load import load_model

    trajectory = _opened(traj, reader)
    step = _every(trajectory) if every is None else every
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)) or step < 1:
        raise InputError(f"every is {every!r}, expected a number of frames, 1 or more")
    module = load_model(model)
    neighbors = NeighborList(module.cutoff)
    evaluator, total, count = None, np.zeros(()), 0
    for k, frame in enumerate(trajectory.frames()):
        if k % step == 0:
            evaluator = evaluator or FluxEvaluator(module, frame.numbers)
            graph = neighbors.graph(frame)
            total = total + evaluator.atomic_virial(graph)
            count += 1
    if not count:
        raise TrajectoryError(f"{trajectory.name}: it holds no frame in the requested range")
    return total / count


def with_mean_virial(
    dataset: xarray.Dataset,
    traj: object,
    model: object = None,
    *,
    virial: NDArray[np.float64] | None = None,
    every: int | None = None,
    groups: str | Sequence[object] = "element",
    reader: Mapping[str, object] | None = None,
) -> xarray.Dataset:
    """Add Σ_j ⟨W_j⟩ v_j by carrier to a Dataset, for `fluxan.green_kubo(..., remove="mean-virial")`.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `fluxan.decompose` of the same trajectory.
    traj : object
        The trajectory, with velocities; it is read twice.
    model : object
        The model of the decomposition.
    virial : (n_atoms, 3, 3) array, optional
        Result of an earlier call of `mean_virial`, eV; then no model is needed.
    every : int, optional
        Passed to `mean_virial`.
    groups : str or sequence of object
        Groups of the decomposition.
    reader : mapping, optional
        Options of `fluxan.open_trajectory`.

    Returns
    -------
    xarray.Dataset
        With a variable ``mean_virial`` (time, carrier, xyz), eV Å/ps.

    Raises
    ------
    InputError
        The trajectory is not that of the Dataset, has no velocities, or neither model nor virial is given.
    """
    if virial is None and model is None:
        raise InputError("give the model of the decomposition, or virial= from fluxan.mean_virial")
    trajectory = _opened(traj, reader)
    mean = mean_virial(trajectory, model, every=every) if virial is None else np.asarray(virial, dtype=np.float64)
    rows = _removed(dataset, trajectory, mean, groups)
    attributes = {"units": "eV angstrom/ps", "long_name": "flux of the mean virial, which carries no heat in a solid"}
    return dataset.assign({MEAN_VIRIAL: (("time", "carrier", "xyz"), rows, attributes)})


def _removed(
    dataset: xarray.Dataset, trajectory: Trajectory, mean: NDArray[np.float64], groups: str | Sequence[object]
) -> NDArray[np.float64]:
    from fluxan.groups import assign_groups

    n_frames, n_carriers = dataset.sizes["time"], dataset.sizes["carrier"]
    rows = np.zeros((n_frames, n_carriers, 3))
    velocity = dataset["velocity"].transpose("time", "carrier", "xyz").values
    done = 0
    for k, frame in enumerate(trajectory.frames()):
        if k == n_frames:
            break
        members, labels = assign_groups(frame.numbers, groups)
        if frame.velocities is None or mean.shape != (frame.n_atoms, 3, 3) or len(labels) != n_carriers:
            raise InputError(
                f"{trajectory.name} does not fit the Dataset: expected velocities, {n_carriers} groups and a mean "
                f"virial of shape ({frame.n_atoms}, 3, 3), got {len(labels)} groups and shape {mean.shape}"
            )
        sums = np.zeros((n_carriers, 3))
        np.add.at(sums, members, frame.velocities)
        if not np.allclose(sums, velocity[k], rtol=1e-6, atol=1e-6 * np.abs(frame.velocities).sum()):
            raise InputError(f"frame {k} of {trajectory.name} is not the one that the Dataset was made from")
        np.add.at(rows[k], members, np.einsum("jab,jb->ja", mean, frame.velocities))
        done = k + 1
    if done != n_frames:
        raise InputError(f"{trajectory.name} has {done} frames, the Dataset {n_frames}: give the whole trajectory")
    return rows


def _opened(traj: object, reader: Mapping[str, object] | None) -> Trajectory:
    from fluxan.trajectory import as_trajectory

    return as_trajectory(traj, **(reader or {}))


def _every(trajectory: Trajectory) -> int:
    try:
        return max(1, len(trajectory) // _FRAMES)
    except TypeError:
        return 1

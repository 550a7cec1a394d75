"""Recording of fluxes on several MPI ranks: all have them, rank 0 writes the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fluxan.errors import InputError
from fluxan.md.recording import Recording
from fluxan.series.flux_dataset import open_flux

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import xarray

    from fluxan.correlation import Correlator
    from fluxan.flux.evaluate import FluxEvaluator
    from fluxan.md.lammps.ranks import Ranks
    from fluxan.system import Flux, Frame


def recording_of(ranks: Ranks, evaluator: FluxEvaluator, **options: Any) -> Recording:
    """Recording on as many ranks as there are; for options see `Recording`."""
    return Recording(evaluator, **options) if ranks.size == 1 else SharedRecording(ranks, evaluator, **options)


class SharedRecording(Recording):
    """Recording on several ranks, which all add the same fluxes.

    Rank 0 writes the file. A correlator is filled on every rank, and without file and correlator every rank keeps all
    fluxes: results are at hand on each of them.

    Parameters
    ----------
    ranks : Ranks
        The ranks.
    evaluator : FluxEvaluator
        See `Recording`.
    output : str or Path, optional
        Path of a flux file.
    correlator : Correlator, optional
        See `Recording`.
    **options
        See `Recording`.

    Raises
    ------
    InputError, OutputError
        See `Recording`; on all ranks.
    """

    def __init__(
        self,
        ranks: Ranks,
        evaluator: FluxEvaluator,
        *,
        correlator: Correlator | None = None,
        output: str | Path | None = None,
        **options: Any,
    ) -> None:
        self._ranks = ranks
        self._elsewhere = None if ranks.is_root else output
        options |= {"output": output, "correlator": correlator}
        if self._elsewhere is not None:
            options |= {"output": None, "correlator": correlator or Discard()}
        ranks.agree(super().__init__, evaluator, **options)

    def add(self, frame: Frame, flux: Flux) -> None:
        """Record the flux of the next frame; errors are raised on all ranks, see `Recording`."""
        self._ranks.agree(super().add, frame, flux)

    def dataset(self) -> xarray.Dataset:
        """Everything recorded so far; other ranks than 0 read it from the file, which is complete after a run.

        Raises
        ------
        InputError
            Nothing was recorded yet, or nothing was kept.
        FileError
            This rank cannot see the file that rank 0 writes.
        """
        if self._elsewhere is None:
            return super().dataset()
        if not self.n_frames:
            raise InputError(f"{self.name}: no flux was recorded yet")
        return open_flux(self._elsewhere)


class Discard:
    """Takes the place of a correlator where another rank keeps the fluxes."""

    n_channels = 3

    def update(self, samples: np.ndarray) -> None:
        """Discard samples."""

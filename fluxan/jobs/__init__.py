"""Jobs: heat fluxes of whole trajectories, for one model and trajectory, many in a job file, or on a Dask cluster."""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    return submodule(__name__, name)

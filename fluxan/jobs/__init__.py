"""Jobs: trajectories through models, one by one, many from a job file, or spread over a Dask cluster."""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    return submodule(__name__, name)

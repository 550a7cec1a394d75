"""Jobs on a Dask cluster: workers compute chunks, which are collected in order. Results equal a serial run's bitwise.

The only package that imports Dask; `fluxan.decompose` uses it when it is given a client.
"""

from fluxan.jobs.cluster.dispatch import Cluster, open_cluster
from fluxan.lazy import submodule

__all__ = ["Cluster", "open_cluster"]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)

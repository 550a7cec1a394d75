"""Jobs on a Dask cluster: chunks go to workers and come back in order, with the bits of a serial run.

The one room that knows Dask; `fluxan.decompose` enters it when it is given a client.
"""

from fluxan.jobs.cluster.dispatch import Cluster, open_cluster
from fluxan.lazy import submodule

__all__ = ["Cluster", "open_cluster"]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)

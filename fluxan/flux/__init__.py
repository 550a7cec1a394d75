"""The heat flux of a model on one graph: three routes to it (`routes`), and the checks that choose between them.

`evaluate` is the entry point: it builds the graph, chooses a route and adds the convective part. The routes are

- `local`: pair forces g_ij, for models whose U_i depends only on the edges of i;
- `adjoint`: backward passes weighted with r_ij at the crossings of edges (`crossings`, `index_nodes`, `line_graphs`,
  `paths`), for message-passing models, on the periodic graph itself;
- `unfolded`: the finite graph of periodic replicas (`replicas`), for any model.

`check` chooses a route, which `route_checks` and `finite_differences` test on the model; `signature` identifies forward
passes for which the result of the check holds. `pair_flux` is the entry point for pair forces of other programs.
"""

from __future__ import annotations

from fluxan.lazy import submodule


def __getattr__(name: str) -> object:
    return submodule(__name__, name)

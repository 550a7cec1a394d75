"""Models of other programs as potentials, unmodified; one module per program, named by ``"adapter:path"``.

Every module offers ``load(path, ...)`` for its program's files and ``wrap(model)`` for a model or an ASE calculator in
memory. Cutoff, hops, elements and units come from the model itself. Its package is imported where it is used.
"""

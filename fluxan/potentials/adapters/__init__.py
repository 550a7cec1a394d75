"""Adapters: models of other programs as potentials, unmodified.

There is one module for each program, which ``load_model("adapter:path")`` names. It defines ``load(path, ...)`` for the
program's files and ``wrap(model)`` for a model or an ASE calculator in memory. Cutoff, number of hops, elements and
units are those of the model itself. The program's package is imported when a model is loaded.
"""

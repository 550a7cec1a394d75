"""`python -m fluxan`: the command line, where the command `fluxan` is not on the PATH."""

from fluxan.cli.app import main

main()

"""`python -m fluxan`: the command line where the command `fluxan` is not on the path."""

from fluxan.cli.app import main

main()

"""`python -m fluxan.cli`, for use where the command is not on the path."""

from fluxan.cli.app import main

main()

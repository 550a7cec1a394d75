"""The `fluxan` command."""

from fluxan.cli.app import main

__all__ = ["main"]

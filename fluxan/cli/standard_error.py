"""Warnings on standard error: each once, in one line."""

from __future__ import annotations

import sys
from typing import Any

from fluxan.cli.wording import for_command_line

_said: set[str] = set()


def print_warning(message: Warning | str, category: type[Warning] = UserWarning, *_: Any, **__: Any) -> None:
    """Print a warning unless it was printed before; takes the arguments of `warnings.showwarning`.

    Deprecation warnings concern developers, not users, and are not printed.
    """
    if issubclass(category, DeprecationWarning):
        return
    line = f"fluxan: warning: {for_command_line(' '.join(str(message).split()))}"
    if line not in _said:
        _said.add(line)
        print(line, file=sys.stderr)


def begin() -> None:
    """Forget the warnings printed so far, at the start of a command."""
    _said.clear()

"""Messages of the library as the command line says them: options instead of Python's keywords."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A keyword with its value, as in ``dt=0.01``, ``units='metal'``, ``until_crash=True`` or ``volume=``.
_KEYWORD = re.compile(r"(?<![\w.])([a-z]\w*)=(?![=>])('[^']*'|(?:[^\s,;:()]|[,:.](?=\S))*)")
_SUBJECT = re.compile(r"^([a-z]\w*) is (?=\S+, expected)")


def for_command_line(message: str, options: Mapping[str, tuple[str, str]] | None = None) -> str:
    """Put the options of a command for the keywords of Python that a message names.

    Parameters
    ----------
    message : of an error, a warning or a note; keywords are followed by ``=``, or begin it: "dt is -1, expected ..."
    options : by parameter, the option that gives it, and that which denies it or ""; those of the command that runs if
        left out
    """
    known = _options_of_this_command() if options is None else options

    def with_value(match: re.Match[str]) -> str:
        if match[1] not in known:
            return match[0]
        (yes, no), value = known[match[1]], match[2].strip("'")
        if value in {"True", "False"}:
            return (yes if value == "True" else no) or match[0]
        return f"{yes} {value}" if value else yes

    message = _SUBJECT.sub(lambda match: f"{known[match[1]][0]} is " if match[1] in known else match[0], message)
    return _KEYWORD.sub(with_value, message)


def _options_of_this_command() -> dict[str, tuple[str, str]]:
    """By parameter, the option and its opposite, of the command in the arguments of this process."""
    import click
    import typer

    from fluxan.cli.app import app

    group = typer.main.get_command(app)
    commands = getattr(group, "commands", {})
    command = next((commands[word] for word in sys.argv[1:] if word in commands), None)
    parameters = [] if command is None else command.params
    return {
        str(p.name): (p.opts[-1], p.secondary_opts[-1] if p.secondary_opts else "")
        for p in parameters
        if p.param_type_name == "option" or isinstance(p, click.Option)
    }

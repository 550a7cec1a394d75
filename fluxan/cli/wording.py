"""Messages of the library worded for the command line: options instead of Python's keywords."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

#: A keyword with its value, as in ``dt=0.01``, ``units='metal'``, ``until_crash=True`` or ``volume=``.
_KEYWORD = re.compile(r"(?<![\w.])([a-z]\w*)=(?![=>])('[^']*'|(?:[^\s,;:()]|[,:.](?=\S))*)")
_SUBJECT = re.compile(r"^([a-z]\w*) is (?=\S+, expected)")
#: By parameter, the option that sets it and the opposite one, for the running command.
_known: dict[str, tuple[str, str]] = {}


def for_command_line(message: str, options: Mapping[str, tuple[str, str]] | None = None) -> str:
    """Replace Python's keywords in a message by the options of a command.

    Parameters
    ----------
    message : str
        Text of an error, a warning or a note; keywords are followed by ``=``, or begin it: "dt is -1, expected ...".
    options : mapping, optional
        By parameter, the option that sets it, and the opposite one or ""; by default those of the running
        command.
    """
    known = _known if options is None else options

    def with_value(match: re.Match[str]) -> str:
        if match[1] not in known:
            return match[0]
        (yes, no), value = known[match[1]], match[2].strip("'")
        if value in {"True", "False"}:
            return (yes if value == "True" else no) or match[0]
        return f"{yes} {value}" if value else yes

    message = _SUBJECT.sub(lambda match: f"{known[match[1]][0]} is " if match[1] in known else match[0], message)
    return _KEYWORD.sub(with_value, message)


def speak_for(command: click.Command) -> None:
    """Set the options of the running command."""
    _known.clear()
    for parameter in command.params:
        if parameter.param_type_name == "option":
            opposites = parameter.secondary_opts
            _known[str(parameter.name)] = (parameter.opts[-1], opposites[-1] if opposites else "")

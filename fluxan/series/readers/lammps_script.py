"""LAMMPS commands echoed in a log: units, time step, computes, variables, and the meaning of columns.

Formats: LAMMPS manual, thermo_style, thermo_modify, compute, variable, fix ave/time (https://docs.lammps.org). The log
echoes a command as it was read, with its continuation lines, and once more with its variables substituted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fluxan.series.readers.choice import is_fluxlike
from fluxan.series.readers.table import is_number

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A reference to a compute, fix or variable, with up to two indices.
_REFERENCE = re.compile(r"([cfv])_([\w-]+)(?:\[(\d+|\*)\])?(?:\[(\d+|\*)\])?")
#: Computes whose values are extensive: thermo output divides them by the number of atoms where it normalizes.
_EXTENSIVE = ("heat/flux", "momentum")
#: Lengths of their vectors, to expand wildcards.
_HEAT_FLUX_LENGTH = 6
_TRUE = {"yes", "on", "true"}


@dataclass
class Script:
    """Settings made by the commands read so far."""

    units: str | None = None
    timestep: float | None = None
    normalized: bool | None = None
    #: Words of computes and fixes after their name: group, style, arguments.
    computes: dict[str, list[str]] = field(default_factory=dict)
    fixes: dict[str, list[str]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    #: Keywords of thermo_style custom; new names by keyword or by number from 1.
    keywords: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    _begun: str = ""

    def take(self, line: str) -> None:
        """Read one line, which may continue a command."""
        text = self._begun + " " + line.split("#", 1)[0].strip()
        if text.endswith("&"):
            self._begun = text[:-1]
            return
        self._begun = ""
        words = text.split()
        if len(words) > 1:
            self._command(words)

    def _command(self, words: list[str]) -> None:
        command, first, *rest = words
        if command == "units":
            self.units = first
        elif command == "timestep" and is_number(first):
            self.timestep = float(first)
        elif command == "thermo_style":
            # A new style resets thermo_modify.
            self.normalized, self.renamed, self.keywords = None, {}, rest
        elif command == "thermo_modify":
            self._modify(words[1:])
        elif command == "compute" and len(rest) > 1:
            self.computes[first] = rest
        elif command == "fix" and len(rest) > 1:
            self.fixes[first] = rest
        elif command == "variable" and len(rest) > 1 and rest[0] in {"equal", "vector"}:
            self.variables[first] = " ".join(rest[1:]).strip('"')

    def _modify(self, words: list[str]) -> None:
        for at, word in enumerate(words[:-1]):
            if word == "norm":
                self.normalized = words[at + 1] in _TRUE
            elif word == "colname" and words[at + 1] == "default":
                self.renamed = {}
            elif word == "colname" and at + 2 < len(words):
                self.renamed[words[at + 1]] = words[at + 2]

    def copy(self) -> Script:
        """Copy of the present state."""
        names = ("computes", "fixes", "variables", "keywords", "renamed")
        return replace(self, **{name: type(getattr(self, name))(getattr(self, name)) for name in names})

    @property
    def empty(self) -> bool:
        """Whether there are no commands at all, as in a table that was cut out of a log."""
        return self.units is None and self.timestep is None and not (self.computes or self.variables or self.keywords)

    @property
    def fluxes(self) -> dict[str, str]:
        """Groups of computes of style heat/flux, by name."""
        return {name: words[0] for name, words in self.computes.items() if words[1].startswith("heat/flux")}

    def keywords_of(self, names: Sequence[str]) -> list[str]:
        """What each column is: its keyword where thermo_modify colname gave it another name, else its name.

        Values of fix ave/time are called by the quantity that they average, whose unit they have.
        """
        found = list(names)
        keywords = self._expanded(len(names))
        for key, name in self.renamed.items():
            number = int(key) if key.lstrip("-").isdigit() else 0
            if number and keywords is not None and -len(names) <= number <= len(names):
                at = number - 1 if number > 0 else number
                if found[at] == name:
                    found[at] = keywords[at]
            elif not number and name in found:
                found[found.index(name)] = key
        return [self._averaged(keyword) or keyword for keyword in found]

    def _expanded(self, n_columns: int) -> list[str] | None:
        """Keywords of thermo_style custom without wildcards; None where they do not fit the number of columns."""
        missing = n_columns - len(self.keywords) + sum("[*]" in word for word in self.keywords)
        found: list[str] = []
        for word in self.keywords:
            stem, wildcard, _ = word.partition("[*]")
            length = _HEAT_FLUX_LENGTH if stem.removeprefix("c_") in self.fluxes else missing
            found += [f"{stem}[{k + 1}]" for k in range(length)] if wildcard else [word]
        return found if len(found) == n_columns else None

    def is_extensive(self, keyword: str) -> bool | None:
        """Whether thermo output that is normalized divides a column by the number of atoms; None where unknown.

        Variables never are; computes are where their value is extensive.
        """
        match = _REFERENCE.fullmatch(keyword)
        if match is None or match[1] == "f":
            return None
        if match[1] == "v":
            return False
        if match[2] not in self.computes:
            # A log may lack its script: a compute named like a flux is taken for heat/flux.
            return True if is_fluxlike(f"c_{match[2]}") else None
        _, style, *arguments = self.computes[match[2]]
        if style.startswith("reduce"):
            return "sum" in arguments[:2]
        return True if style.startswith(_EXTENSIVE) else None

    def _averaged(self, keyword: str) -> str | None:
        """Quantity that a value of fix ave/time averages; None for other values."""
        match = _REFERENCE.fullmatch(keyword)
        words = self.fixes.get(match[2], []) if match and match[1] == "f" else []
        if match is None or len(words) < 6 or words[1] != "ave/time":
            return None
        values: list[str] = []
        for word in words[5:]:
            value = _REFERENCE.fullmatch(word)
            if value is None:
                break
            length = _HEAT_FLUX_LENGTH if value[2] in self.fluxes else 3
            values += [word.replace("*", str(k + 1)) for k in range(length)] if "*" in word else [word]
        index = int(match[3] or 1)
        return values[index - 1] if index <= len(values) else None

    def formula(self, keyword: str) -> str:
        """Formula of a variable, without blanks; empty for anything else."""
        match = _REFERENCE.fullmatch(keyword)
        return self.variables.get(match[2], "").replace(" ", "") if match and match[1] == "v" else ""

"""JSON files that appear as a whole, or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fluxan.errors import FileError
from fluxan.replacement import replacing

if TYPE_CHECKING:
    from pathlib import Path


def write_json(path: Path, content: Any) -> None:
    """Write a file; floats come back to the last bit.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    with replacing(path, parents=True) as unfinished:
        unfinished.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a file.

    Raises
    ------
    FileError
        It is missing, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read ({error}); remove it to have it made again") from None

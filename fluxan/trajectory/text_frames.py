"""Base class of the text formats (LAMMPS dumps, extended XYZ): a header and one line per atom for each frame.

Frames are read line by line but parsed together:

1. `_header` parses the header of the next frame, which gives its number of lines and their columns;
2. `_rows` reads these lines unparsed, or skips them for a frame that is not selected;
3. `_parsed` parses the lines of all frames of a batch in one call, and makes a record of each.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

import numpy as np

from fluxan.errors import FluxanError, InputError
from fluxan.trajectory.text import (
    broken_stream_errors,
    is_compressed,
    open_text,
    parse_table,
    read_line,
    read_rows,
    skip_rows,
)
from fluxan.trajectory.trajectory_base import Trajectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fluxan.trajectory.frame_record import FrameRecord
    from fluxan.trajectory.reader_options import ReaderOptions

#: Bytes of frames that are parsed together: a call of the parser costs more than parsing a small frame.
_BATCH_BYTES = 1 << 20


@dataclass(slots=True)
class FrameHeader:
    """Header data that all text formats have.

    Attributes
    ----------
    n_atoms : int
        Number of lines that follow, one per atom.
    columns : dict of str to int
        Index of each column of numbers that is read, by name.
    text_column : int or None
        Index of the column of element symbols.
    n_columns : int
        Number of columns that the header names.
    """

    n_atoms: int
    columns: dict[str, int]
    text_column: int | None
    n_columns: int = 1


HeaderType = TypeVar("HeaderType", bound=FrameHeader)


class TextTrajectory(Trajectory, Generic[HeaderType]):
    """Base class of a text format's reader, which defines `_parse_header`, `_record` and `_begin`.

    Batches, truncated files and errors are handled here.
    """

    #: Bytes with which the next header begins, where no line of an atom can contain them.
    marker: bytes | None = None

    def __init__(self, path: Path, options: ReaderOptions) -> None:
        super().__init__(path, options)
        self._file = path
        with path.open("rb") as packed:
            self.seeks = not is_compressed(packed.read(4))
        with open_text(path) as file, self.naming(0):
            header = self._header(file)
            if header is None:
                raise InputError("the file holds no frame")
            self._begin(header)

    @abstractmethod
    def _parse_header(self, first: str, file: BinaryIO) -> HeaderType:
        """Read a header whose first line is given."""

    @abstractmethod
    def _record(self, header: HeaderType, table: np.ndarray, words: Any) -> FrameRecord:
        """Make a record of the columns of numbers, in the order of ``header.columns``, and the column of symbols."""

    @abstractmethod
    def _begin(self, header: HeaderType) -> None:
        """Read what the first header says about the whole file."""

    def _header(self, file: BinaryIO) -> HeaderType | None:
        """Read the next frame's header, or None at the end of the file."""
        try:
            line = read_line(file)
            while line and not line.strip():
                line = read_line(file)
            if line and not line.endswith(b"\n"):
                raise InputError("the file is cut within this frame's header")
            return self._parse_header(decoded(line), file) if line else None
        except broken_stream_errors() as error:
            raise InputError(f"the compressed file is cut or damaged here ({error})") from error

    def _records(self, indices: range) -> Iterator[FrameRecord]:
        batch: list[tuple[int, HeaderType, bytes]] = []
        with open_text(self._file) as file:
            first, place = self._begin_near(indices.start)
            if place:
                file.seek(place)
            for index in range(first, indices.stop):
                if self.seeks:
                    self._mark = (index, file.tell())
                try:
                    with self.naming(index):
                        header = self._header(file)
                        if header is None:
                            break
                        if index not in indices:
                            skip_rows(file, header.n_atoms)
                            continue
                        batch.append((index, header, self._rows(file, header)))
                except FluxanError:
                    yield from self._parsed(batch)  # frames before a broken one are whole
                    raise
                if sum(len(rows) for *_, rows in batch) > _BATCH_BYTES:
                    yield from self._parsed(batch)
                    batch = []
        yield from self._parsed(batch)

    def _rows(self, file: BinaryIO, header: HeaderType) -> bytes:
        """Read the lines of a frame's atoms."""
        rows = read_rows(file, header.n_atoms, n_columns=header.n_columns, marker=self.marker)
        if not rows.endswith(b"\n"):
            self.note("the last line has no newline; it has all its columns and is taken as whole")
        return rows

    def _parsed(self, batch: list[tuple[int, HeaderType, bytes]]) -> Iterator[FrameRecord]:
        """Parse a batch of frames and yield their records; frames whose columns differ are parsed one by one."""
        tables = None
        if len({(*header.columns.values(), header.text_column) for _, header, _ in batch}) == 1:
            try:
                tables = _tables(batch)
            except InputError:
                tables = None  # one of them is broken: parsed one by one, the loop below names it
        for place, member in enumerate(batch):
            with self.naming(member[0]):
                table, words = tables[place] if tables else _tables([member])[0]
                record = self._record(member[1], table, words)
            yield record

    def _count(self) -> int | None:
        """Count the selected whole frames by skipping through the file; None if the file is broken somewhere."""
        with open_text(self._file) as file:
            total = 0
            try:
                while (header := self._header(file)) is not None:
                    total += skip_rows(file, header.n_atoms, n_columns=header.n_columns)
            except InputError:
                return None
        return len(self._indices(0, total))


def decoded(line: bytes) -> str:
    """Return a line as text without its end."""
    return line.decode("utf-8", "replace").strip()


def _tables(batch: list[tuple[int, Any, bytes]]) -> list[tuple[np.ndarray, Any]]:
    """Numbers and symbols of each frame of a batch, parsed in one call."""
    header = batch[0][1]
    table, words = parse_table(b"".join(rows for *_, rows in batch), list(header.columns.values()), header.text_column)
    sizes = [header.n_atoms for _, header, _ in batch]
    ends = np.cumsum(sizes)
    if ends[-1] != len(table):
        raise InputError(f"{len(table)} lines of atoms, expected {ends[-1]}")
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return [(table[part], None if words is None else words[part]) for part in parts]

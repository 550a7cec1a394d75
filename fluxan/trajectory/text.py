"""Text files: opens plain and compressed ones, reads lines of possibly truncated files, parses tables of numbers."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zlib
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fluxan.errors import DependencyError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

#: Longest line, bytes: a longer one means that the file is not a text trajectory. The limit bounds memory.
LONGEST_LINE = 1 << 20

#: Number of lines read at once: bounds memory where a damaged header gives more atoms than the file holds.
_LINES_AT_ONCE = 1 << 15

#: Number of preceding rows with which a last line without newline is compared.
_COMPARED = 200
_NUMBER = re.compile(rb"[+-]?(\d*)(?:\.(\d*))?(?:[eEdD]([+-]?\d*))?")


def is_compressed(head: bytes) -> bool:
    """Whether a file's first bytes are those of gzip or Zstandard."""
    return head.startswith((GZIP, ZSTD))


def open_text(path: Path) -> io.BufferedReader:
    """Open a plain, gzip or Zstandard file, recognised by its first bytes, for reading bytes."""
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith(GZIP):
        return io.BufferedReader(_Decompressed(gzip.GzipFile(path)), 1 << 18)
    if head.startswith(ZSTD):
        try:
            import zstandard
        except ImportError as error:
            raise DependencyError(f"{path}: reading .zst files needs zstandard: pip install zstandard") from error
        stream = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True, closefd=True)
        return io.BufferedReader(_Decompressed(stream), 1 << 18)
    return io.BufferedReader(io.FileIO(path), 1 << 20)


class _Decompressed(io.RawIOBase):
    """A decompressor read piece by piece, so that all data before a truncation are returned before the error."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """Return True: the stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read one piece into a buffer; returns its number of bytes."""
        data = self._stream.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the stream and its file."""
        self._stream.close()
        super().close()


def broken_stream_errors() -> tuple[type[Exception], ...]:
    """Exceptions that reading a truncated or damaged compressed file raises."""
    errors: tuple[type[Exception], ...] = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)
    try:
        import zstandard
    except ImportError:
        return errors
    return (*errors, zstandard.ZstdError)


def read_line(file: BinaryIO) -> bytes:
    """Read one line with its newline; b"" at the end of the file."""
    line = file.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        raise InputError(f"a line is longer than {LONGEST_LINE} bytes; this is no text trajectory")
    return line


def header_line(file: BinaryIO) -> bytes:
    """Read one whole line; raises `InputError` where the file ends before it does."""
    line = read_line(file)
    if not line.endswith(b"\n"):
        raise InputError("the file is cut within this frame's header")
    return line


def read_rows(file: BinaryIO, n_rows: int, *, n_columns: int = 1, marker: bytes | None = None) -> bytes:
    """Read the next `n_rows` lines unparsed.

    Memory grows with the lines that exist, not with `n_rows`. The file's last line may lack its newline, see
    `is_whole_row`.

    Parameters
    ----------
    file : file of bytes
        Open file, positioned at the first of the lines.
    n_rows : int
        Number of lines that the header gives.
    n_columns : int
        Number of columns that the header gives.
    marker : bytes or None
        Bytes with which the next frame begins.

    Raises
    ------
    InputError
        The file ends before or within the last of these lines, or the next frame begins before that.
    """
    parts: list[bytes] = []
    left = n_rows
    while left > 0:
        lines = _lines(file, min(left, _LINES_AT_ONCE))
        left -= _whole(lines, n_columns)
        if not lines or not (lines[-1].endswith(b"\n") or left == 0):
            raise InputError(f"the file is cut within this frame, after {n_rows - left} of its {n_rows} atoms")
        parts.append(b"".join(lines))
        if marker is not None and marker in parts[-1]:
            raise InputError(f"the next frame begins within the {n_rows} atoms that this one promises")
    return b"".join(parts)


def skip_rows(file: BinaryIO, n_rows: int, *, n_columns: int = 1) -> bool:
    """Skip `n_rows` lines; returns whether the file has all of them, the last one whole."""
    while n_rows > 0:
        lines = _lines(file, min(n_rows, _LINES_AT_ONCE))
        if not lines:
            return False
        n_rows -= _whole(lines, n_columns)
        if not lines[-1].endswith(b"\n"):
            break
    return n_rows <= 0


def _whole(lines: Sequence[bytes], n_columns: int) -> int:
    """Number of whole lines; only the last one can be truncated."""
    cut = lines and not lines[-1].endswith(b"\n") and not is_whole_row(lines[-1], lines[:-1], n_columns)
    return len(lines) - bool(cut)


def is_whole_row(line: bytes, before: Sequence[bytes], n_columns: int) -> bool:
    """Whether a file's last line, which has no newline, is a whole row nevertheless.

    Many programs and editors omit the last newline; a killed run may stop anywhere. A row is taken as whole if

    - it has every column,
    - its last number has an exponent of two digits or more, or none,
    - its last number has about as many digits as the same column in the rows before: as many decimals where the column
      has a fixed number of decimals, else at most one significant digit less than the shortest.

    A number printed with ``%g`` that lost one digit, or its whole exponent, is not noticed.

    Parameters
    ----------
    line : bytes
        The last line.
    before : sequence of bytes
        Lines of the same frame before it.
    n_columns : int
        Number of columns that the header gives.
    """
    fields = line.split()
    rows = [row.split() for row in before[-_COMPARED:]]
    if len(fields) < max([n_columns, *(len(row) for row in rows[-1:])]):
        return False
    decimals, digits, exponent = _shape(fields[-1])
    others = [shape for row in rows if row and (shape := _shape(row[-1]))[1] > 0]
    if exponent == 1 or (digits == 0 and others):
        return False
    fixed = len({shape[::2] for shape in others}) == 1 and len({shape[1] for shape in others}) > 1
    if fixed and exponent == 0:
        return decimals >= others[0][0]
    return digits >= min((shape[1] for shape in others), default=0) - 1


def _shape(word: bytes) -> tuple[int, int, int]:
    """Decimals, significant digits and digits of the exponent (1 if incomplete) of a number; zeros for a word."""
    match = _NUMBER.fullmatch(word)
    if match is None:
        return 0, 0, 0
    whole, fraction, exponent = match[1], match[2] or b"", match[3]
    digits = len((whole + fraction).lstrip(b"0")) or len(whole + fraction)
    return len(fraction), digits, 0 if exponent is None else max(1, len(exponent.lstrip(b"+-")))


def _lines(file: BinaryIO, count: int) -> list[bytes]:
    try:
        return list(islice(file, count))
    except broken_stream_errors() as error:
        raise InputError(f"the compressed file is cut or damaged within this frame ({error})") from error


def parse_table(rows: bytes, numeric: Sequence[int], text: int | None = None) -> tuple[np.ndarray, Any]:
    """Parse columns of a whitespace-separated table, exactly to the last bit.

    Measured on one core: pandas' C parser reads 200 to 350 MB/s, ``np.loadtxt`` and ``bytes.split`` 70 to 80 MB/s.

    Parameters
    ----------
    rows : bytes
        Lines of the table.
    numeric : sequence of int
        Indices of the columns of numbers.
    text : int, optional
        Index of a column of words.

    Returns
    -------
    (n_rows, len(numeric)) float64 ndarray, pandas.Categorical or None
        The numbers, and the words.

    Raises
    ------
    InputError
        A column of numbers holds a word, or a line is short; the message names the first such atom.
    """
    import pandas as pd

    dtypes: dict[int, Any] = dict.fromkeys(numeric, np.float64) | ({} if text is None else {text: "category"})
    try:
        frame = pd.read_csv(
            io.BytesIO(rows),
            sep=_separator(rows),
            header=None,
            usecols=list(dtypes),
            dtype=dtypes,
            engine="c",
            **_exact(pd.__version__),
            na_filter=False,
            index_col=False,
            quoting=3,
        )
    except (ValueError, OverflowError):
        return _parse_slowly(rows, numeric, text)
    return frame[list(numeric)].to_numpy(dtype=np.float64), None if text is None else frame[text].array


def _separator(rows: bytes) -> str:
    """Separator of columns: one blank, as LAMMPS and ASE write, parses 1.5 times as fast as any white space."""
    return r"\s+" if b"  " in rows or b"\t" in rows or rows.startswith(b" ") or b"\n " in rows else " "


def _exact(version: str) -> dict[str, Any]:
    """Option with which pandas parses exactly; from version 3.1 on it always does, and deprecates the option."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return {} if (major, minor) >= (3, 1) else {"float_precision": "round_trip"}


def _parse_slowly(rows: bytes, numeric: Sequence[int], text: int | None) -> tuple[np.ndarray, Any]:
    """Parse line by line: accepts nan and inf, and names a line that is broken."""
    import pandas as pd

    lines = rows.decode("utf-8", "replace").splitlines()
    values = np.empty((len(lines), len(numeric)))
    words = []
    for atom, line in enumerate(lines):
        fields = line.split()
        if len(fields) <= max([*numeric, -1 if text is None else text]):
            raise InputError(f"the line of atom {atom} has {len(fields)} columns: {line[:60]!r}")
        try:
            values[atom] = [float(fields[column]) for column in numeric]
        except ValueError as error:
            raise InputError(f"the line of atom {atom} is broken ({error}): {line[:60]!r}") from error
        if text is not None:
            words.append(fields[text])
    return values, None if text is None else pd.Categorical(words)


def whole_numbers(values: np.ndarray, name: str) -> np.ndarray:
    """Convert floats that must be whole to int64; raises `InputError` naming the first atom whose value is not."""
    good = np.isfinite(values) & (np.abs(values) < 1 << 53) & (values == np.rint(values))
    if not good.all():
        atom = int(np.flatnonzero(~good)[0])
        raise InputError(f"{name} of atom {atom} is {values[atom]}; expected a whole number")
    return values.astype(np.int64)

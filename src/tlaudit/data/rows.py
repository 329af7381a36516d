"""Tables too long for memory: rows written as they come, to CSV or Parquet."""

from __future__ import annotations

import contextlib
import csv
import functools
import importlib.util
from typing import TYPE_CHECKING, Any, Protocol, Self

from tlaudit.errors import DataError, UsageError
from tlaudit.files import refuse_unwritable, replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from tlaudit.records import Cell

Kind = type[bool] | type[int] | type[float] | type[str]


class _Writer(Protocol):
    def write(self, rows: Sequence[Mapping[str, Cell]]) -> None:
        """Add rows."""

    def close(self) -> None:
        """Finish the file."""


class _Csv:
    def __init__(self, path: Path, columns: Mapping[str, Kind]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, list(columns))
        self._writer.writeheader()

    def write(self, rows: Sequence[Mapping[str, Cell]]) -> None:
        self._writer.writerows(rows)

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, columns: Mapping[str, Kind]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        kinds = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
        self._schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._writer: Any = parquet.ParquetWriter(path, self._schema)

    def write(self, rows: Sequence[Mapping[str, Cell]]) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(list(rows), schema=self._schema))

    def close(self) -> None:
        self._writer.close()


_WRITERS: dict[str, Callable[[Path, Mapping[str, Kind]], _Writer]] = {".csv": _Csv, ".parquet": _Parquet}


def refuse_rows(path: Path) -> None:
    """Find out before the work starts that rows cannot be written to a file.

    Raises:
        UsageError: If the suffix is neither ``.csv`` nor ``.parquet``, Parquet cannot be written here, the folder is
            missing or read-only, or the path is no ordinary file.
    """
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(f"{path}: expected a file ending in {' or '.join(_WRITERS)}, got {path.suffix!r}")
    if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UsageError(f"{path}: writing Parquet needs pyarrow: pip install 'tlaudit[parquet]', or name a .csv file")
    refuse_unwritable(path)


class RowFile:
    """A table that is written piece by piece and appears under its name when it is complete.

    Used in a ``with`` statement; if that ends with an exception there is no file, and an older one is as it was.
    """

    def __init__(self, path: Path, columns: Mapping[str, Kind]) -> None:
        """Say what is going to be written; nothing is opened yet.

        Args:
            path: Ends in ``.csv`` or ``.parquet``.
            columns: Names and kinds of the cells; a cell may also be None.

        Raises:
            UsageError: As `refuse_rows`.
        """
        refuse_rows(path)
        self._path, self._columns = path, columns
        self._stack = contextlib.ExitStack()
        self._writer: _Writer | None = None

    def __enter__(self) -> Self:
        """Open the file under a temporary name.

        Raises:
            DataError: If it cannot be made, as on a full disk.
        """
        with contextlib.ExitStack() as stack, self._writing():
            temporary = stack.enter_context(replacing(self._path))
            writer: _Writer = _WRITERS[self._path.suffix.lower()](temporary, self._columns)
            stack.push(functools.partial(_closed, writer))
            self._writer, self._stack = writer, stack.pop_all()
        return self

    def add(self, rows: Iterable[Mapping[str, Cell]]) -> None:
        """Write rows, cells by column name.

        Raises:
            DataError: If they cannot be written.
        """
        if self._writer is None:
            raise RuntimeError("rows are written inside a with statement")
        kept = list(rows)
        with self._writing():
            self._writer.write(kept)

    def __exit__(self, *raised: Any) -> None:
        """Give the file its name, or remove it where an exception flies.

        Raises:
            DataError: If it cannot be written to its end.
        """
        with self._writing():
            self._stack.__exit__(*raised)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"{self._path}: rows cannot be written: {error.strerror or error}") from error


def _closed(writer: _Writer, kind: type[BaseException] | None, *_: object) -> None:
    try:
        writer.close()
    except OSError:
        # On a full disk closing fails as writing did, and that flies already.
        if kind is None:
            raise

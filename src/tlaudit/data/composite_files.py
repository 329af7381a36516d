"""Composites as files, for whoever wants to look at them or to use them elsewhere: pictures and a manifest."""

from __future__ import annotations

import csv
import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from PIL import Image

from tlaudit.data.folders import printable
from tlaudit.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from tlaudit.data.composites import Composite, CompositeBatch

MANIFEST = "composites.csv"

COLUMNS = (
    "id",
    "file",
    "class_name",
    "class_index",
    "source_image",
    "target_image",
    "target_label",
    "x",
    "y",
    "width",
    "height",
)


class CompositeRow(NamedTuple):
    """What the manifest says of a composite beyond its plan; any text.

    Attributes:
        class_name: Name of the source class.
        source_image: Name of the background's file within the source images.
        target_image: Name of the overlay's file within the target images.
        target_label: Label of the overlay; empty where it has none.
    """

    class_name: str
    source_image: str
    target_image: str
    target_label: str


def refuse_folder(path: Path) -> None:
    """Find out before the work starts that composites cannot be written to a folder; nothing is made yet.

    Args:
        path: Does not exist yet, is an empty folder, or holds the composites of an earlier run, which are replaced;
            nothing else of the user's ever is.

    Raises:
        UsageError: If the folder holds other files, is a file, or cannot be made or written to.
    """
    where = printable(str(path))
    try:
        if Path.cwd().is_relative_to(path.resolve()):
            raise UsageError(f"{where}: this folder is in use; name one below it for the composites")
        if path.is_dir():
            stranger = next((entry for entry in path.iterdir() if not _is_ours(entry)), None)
            if stranger is not None:
                raise UsageError(
                    f"{where}: expected a new or empty folder for the composites, or one of an earlier run; this one "
                    f"holds {printable(stranger.name)}"
                )
        elif os.path.lexists(path):
            raise UsageError(f"{where}: expected a folder for the composites, this is a file")
        root = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        if not root.is_dir() or not os.access(root, os.W_OK | os.X_OK):
            reason = "is not writable" if root.is_dir() else "is no folder"
            raise UsageError(f"{where}: composites cannot be written there: {printable(str(root))} {reason}")
    except OSError as error:
        raise _unwritable(path, error) from error


def _is_ours(entry: Path) -> bool:
    """Whether a file or folder is one that a `CompositeFolder` makes."""
    if entry.name == MANIFEST:
        return entry.is_file()
    pictures = re.compile(rf"{re.escape(entry.name)}-\d{{4,}}\.png")
    whole = re.fullmatch(r"\d{4,}", entry.name) is not None and entry.is_dir() and not entry.is_symlink()
    return whole and all(pictures.fullmatch(file.name) for file in entry.iterdir())


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{printable(str(path))}: composites cannot be written there: {error.strerror}")


class CompositeFolder:
    """A folder with one PNG for each composite, a folder for each class, and ``composites.csv``.

    Use it as a context manager. Everything is written under another name beside it, row by row so that memory does not
    grow, and becomes the folder when it is complete; after an exception nothing is left, and an earlier folder is as it
    was.
    """

    def __init__(self, path: Path) -> None:
        """Make the folder, before any work is done.

        Args:
            path: As `refuse_folder` wants it. Missing parents are made.

        Raises:
            UsageError: If the folder holds other files, is a file, or cannot be made or written to.
        """
        refuse_folder(path)
        # A link stays a link; what it leads to is replaced.
        self._target = path.resolve()
        self._path = self._target.with_name(f".{self._target.name}.{secrets.token_hex(4)}.tmp")
        try:
            self._path.mkdir(parents=True)
            # A name may hold half a surrogate pair, which UTF-8 cannot.
            self._file = (self._path / MANIFEST).open("x", encoding="utf-8", errors="backslashreplace", newline="")
        except OSError as error:
            raise _unwritable(path, error) from error
        # Every text in quotes: a name may hold commas, quotes and line breaks of any kind.
        self._rows = csv.writer(self._file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        self._file.write(",".join(COLUMNS) + "\n")

    def add(self, batch: CompositeBatch, describe: Callable[[Composite], CompositeRow]) -> None:
        """Write the pictures of a batch, exactly as they are.

        Args:
            batch: Composites that have not been added before.
            describe: Gives what the manifest says of a composite.

        Raises:
            DataError: If a file cannot be written.
        """
        with self._writing():
            for composite, picture in zip(batch.composites, batch.pixels.permute(0, 2, 3, 1).numpy(), strict=True):
                folder = f"{composite.class_index:04d}"
                file = f"{folder}/{composite.id}.png"
                (self._path / folder).mkdir(exist_ok=True)
                # Level 1 takes a fraction of the time of the default and makes photographs hardly larger.
                Image.fromarray(picture).save(self._path / file, "PNG", compress_level=1)
                text = describe(composite)
                place = (composite.x, composite.y, composite.width, composite.height)
                self._rows.writerow((composite.id, file, text.class_name, composite.class_index, *text[1:], *place))

    def close(self) -> None:
        """Give the folder its name. A second call does nothing.

        Raises:
            DataError: If it cannot be written.
        """
        if self._file.closed:
            return
        with self._writing():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if self._target.exists():
                earlier = self._path.with_name(f"{self._path.name}.earlier")
                self._target.rename(earlier)
                self._path.rename(self._target)
                shutil.rmtree(earlier)
            else:
                self._path.rename(self._target)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise DataError(f"{printable(str(self._target))}: composites cannot be written: {reason}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.close()
        finally:
            # On a full disk closing fails as writing did, and that has been told already.
            with suppress(OSError):
                self._file.close()
            shutil.rmtree(self._path, ignore_errors=True)

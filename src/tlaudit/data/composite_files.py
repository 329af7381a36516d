"""Composites as files, for whoever wants to look at them or to use them elsewhere: pictures and a manifest."""

from __future__ import annotations

import csv
import os
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from PIL import Image

from tlaudit.data.folders import printable
from tlaudit.data.whole_folders import put_back, put_in_place
from tlaudit.errors import DataError, UsageError
from tlaudit.files import unfinished

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

    Composites of an earlier run that a later one had set aside when it was killed are put back.

    Args:
        path: Does not exist yet, is an empty folder, or holds the composites of an earlier run, which are replaced;
            nothing else of the user's ever is.

    Raises:
        UsageError: If the folder holds other files, is a file, or cannot be made or written to.
    """
    where = printable(str(path))
    try:
        target = _followed(path)
        if Path.cwd().is_relative_to(target):
            raise UsageError(f"{where}: this folder is in use; name one below it for the composites")
        put_back(target)
        if path.is_dir():
            if told := _strangers(path):
                raise UsageError(told)
        elif os.path.lexists(path):
            raise UsageError(f"{where}: expected a folder for the composites, this is a file")
        root = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        if not root.is_dir() or not os.access(root, os.W_OK | os.X_OK):
            reason = "is not writable" if root.is_dir() else "is no folder"
            raise UsageError(f"{where}: composites cannot be written there: {printable(str(root))} {reason}")
    except OSError as error:
        raise _unwritable(path, error) from error


def _followed(path: Path) -> Path:
    """What a link leads to; a link that leads to itself stays one."""
    return Path(os.path.realpath(path))


def _strangers(path: Path) -> str:
    """Say that a folder holds something else than the composites of an earlier run; nothing where it does not."""
    named = _named(path / MANIFEST)
    stranger = next((entry for entry in sorted(path.iterdir()) if not _is_ours(entry, named)), None)
    if stranger is None:
        return ""
    return (
        f"{printable(str(path))}: expected a new or empty folder for the composites, or one of an earlier run; "
        f"this one holds {printable(stranger.name)}"
    )


def _named(manifest: Path) -> frozenset[str]:
    """The pictures and folders that a manifest names, and itself; nothing where it is none that we write."""
    if not _is_plain_file(manifest):
        return frozenset()
    try:
        with manifest.open(encoding="utf-8", errors="replace", newline="") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                return frozenset()
            pictures = {row["file"] for row in rows if row["file"]}
    except csv.Error:
        return frozenset()
    return frozenset({MANIFEST, *pictures, *(picture.partition("/")[0] for picture in pictures)})


def _is_ours(entry: Path, named: frozenset[str]) -> bool:
    """Whether a file, or a folder with all that is in it, is what the manifest beside it names."""
    if entry.name not in named or entry.is_symlink():
        return False
    if entry.name == MANIFEST:
        return True
    return entry.is_dir() and all(
        f"{entry.name}/{file.name}" in named and _is_plain_file(file) for file in entry.iterdir()
    )


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


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
            UsageError: If the folder holds other files, is a file, or cannot be written to.
            DataError: If it cannot be made, as on a full disk.
        """
        refuse_folder(path)
        # A link stays a link; what it leads to is replaced.
        self._target = _followed(path)
        with ExitStack() as stack, self._writing():
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._path = stack.enter_context(unfinished(self._target, folder=True))
            # A name may hold half a surrogate pair, which UTF-8 cannot.
            self._file = (self._path / MANIFEST).open("x", encoding="utf-8", errors="backslashreplace", newline="")
            self._unfinished = stack.pop_all()
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
            DataError: If it cannot be written, or the folder to be replaced holds other files by now.
        """
        if self._file.closed:
            return
        with self._writing():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            # Hours may have passed since it was looked at.
            if self._target.is_dir() and (told := _strangers(self._target)):
                raise DataError(told)
            put_in_place(self._path, self._target)
        self._unfinished.close()

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
            self._unfinished.close()

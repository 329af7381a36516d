"""What a command leaves behind: the document on stdout or in a file, progress and summary on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from tlaudit.errors import DataError, UsageError
from tlaudit.files import refuse_unwritable, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import TextIO

    from tlaudit.cli.options import Output
    from tlaudit.results import CheckResult

T = TypeVar("T")


def plan(output: Output) -> dict[str, Path | None]:
    """Say which format goes where, and refuse what cannot be written before any work is done.

    Args:
        output: The options.

    Returns:
        For each format the file it goes to, ``None`` for stdout.

    Raises:
        UsageError: If a format is unknown, two would go to stdout, or a file cannot be written.
    """
    from tlaudit.reports import FORMATS

    unknown = [name for name in output.formats if name not in FORMATS]
    if unknown:
        raise UsageError(f"unknown format {unknown[0]!r}; known are {', '.join(FORMATS)}")
    if output.path is None:
        if sys.stdout is None:
            raise UsageError("stdout is closed: give --output")
        if len(output.formats) > 1:
            raise UsageError("several formats need a file to go to: give --output")
        return dict.fromkeys(output.formats or ("table",))
    by_suffix = {format_.suffix: name for name, format_ in FORMATS.items()}
    suffix = output.path.suffix.lower()
    if not output.formats and suffix not in by_suffix:
        raise UsageError(
            f"{output.path}: no format ends in {suffix!r}; known are {', '.join(by_suffix)}, or give --format"
        )
    formats = output.formats or (by_suffix[suffix],)
    several = len(formats) > 1
    places = {name: output.path.with_suffix(FORMATS[name].suffix) if several else output.path for name in formats}
    for path in places.values():
        refuse_unwritable(path)
    return dict(places)


def deliver(result: CheckResult, output: Output, places: dict[str, Path | None]) -> None:
    """Write each format to its place; the summary goes to stderr where stdout does not show it.

    Raises:
        DataError: If a file cannot be written; the summary has been shown before.
    """
    from tlaudit.reports import FORMATS

    summarised = places.get("table", ...) is None
    if not summarised and not output.quiet:
        _show(result, output, sys.stderr)
    for name, path in places.items():
        if path is not None:
            _write(path, FORMATS[name].render(result, output.top))
            if not output.quiet:
                sys.stderr.write(f"written: {path}\n")
        elif name == "table":
            _show(result, output, sys.stdout)
        else:
            sys.stdout.write(FORMATS[name].render(result, output.top))
    if sys.stdout is not None:
        sys.stdout.flush()


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error


def _show(result: CheckResult, output: Output, stream: TextIO) -> None:
    """In colours and as wide as the terminal; plainly where it is none.

    The text is drawn first and then written: rich would end the program with code 1 where the reader went away.
    """
    from rich.console import Console

    from tlaudit.reports import as_terminal

    console = Console(file=stream, highlight=False)
    if not console.is_terminal:
        stream.write(as_terminal.render(result, output.top))
        return
    with console.capture() as capture:
        console.print(as_terminal.view(result, output.top, console.width))
    stream.write(capture.get())


class ProgressBar:
    """A progress bar with rate and time left, on a terminal only."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._shown = self._console.is_terminal and not quiet

    def __call__(self, items: Iterable[T], *, total: int, label: str) -> Iterable[T]:
        """Give the items one by one and move the bar."""
        return self._follow(items, total, label) if self._shown else items

    def _follow(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(show_speed=True),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            yield from progress.track(items, total=total, description=label)

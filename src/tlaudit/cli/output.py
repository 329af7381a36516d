"""What a command leaves behind: the document on stdout or in a file, progress and summary on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from tlaudit.errors import DataError, UsageError
from tlaudit.files import refuse_unwritable, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
        For each format the file it goes to, ``None`` for stdout. A ``--report`` comes on top.

    Raises:
        UsageError: If a format is unknown, two would go to stdout, or a file cannot be written.
    """
    from tlaudit.reports import FORMATS

    if output.report is not None:
        if output.report.suffix.lower() not in {".html", ".htm"}:
            raise UsageError(f"{output.report}: a report is HTML; name a file that ends in .html")
        refuse_unwritable(output.report)
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
        keep_apart({"--output": path, "--report": output.report}, {})
    return dict(places)


def keep_apart(written: Mapping[str, Path | None], read: Mapping[str, Path | None], folder: Path | None = None) -> None:
    """Refuse to write two things to one file, to write over what is read, or to write into a folder that is replaced.

    Args:
        written: Files by option; None for one that is not asked for.
        read: Files that are read, by option.
        folder: Of `--save-composites`.

    Raises:
        UsageError: With the two options that meet.
    """
    taken: dict[Path, str] = {path.resolve(): option for option, path in read.items() if path is not None}
    for option, path in written.items():
        if path is None:
            continue
        other = taken.get(path.resolve())
        if other is not None:
            raise UsageError(f"{path}: both {other} and {option} name it; give each its own file")
        if folder is not None and path.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{path}: {option} lies in the folder of --save-composites, which is written as a whole")
        taken[path.resolve()] = option


def deliver(
    result: CheckResult, output: Output, places: dict[str, Path | None], beside: Sequence[CheckResult] = ()
) -> None:
    """Write each format to its place; the summary goes to stderr where stdout does not show it.

    Args:
        result: What the document holds.
        output: The options.
        places: As `plan` gave them.
        beside: Further results for the report.

    Raises:
        DataError: If a file cannot be written; the summary has been shown before.
    """
    from tlaudit.reports import FORMATS

    summarised = places.get("table", ...) is None
    if not summarised and not output.quiet:
        _show(result, output, sys.stderr)
    for name, path in places.items():
        if path is not None:
            _write(path, FORMATS[name].render(result, output.top), output)
        elif name == "table":
            _show(result, output, sys.stdout)
        else:
            sys.stdout.write(FORMATS[name].render(result, output.top))
    if sys.stdout is not None:
        sys.stdout.flush()
    if output.report is not None:
        write_report((result, *beside), output.report, output)


def write_report(results: Sequence[CheckResult], path: Path, output: Output) -> None:
    """Write one HTML report about several results.

    Raises:
        DataError: If the file cannot be written.
    """
    from tlaudit.reports import as_html

    _write(path, as_html.page(results, output.top), output)


def _write(path: Path, text: str, output: Output) -> None:
    try:
        write_atomically(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    if not output.quiet:
        sys.stderr.write(f"written: {path}\n")


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

    def __call__(
        self,
        items: Iterable[T],
        *,
        total: int,
        label: str,
        size: Callable[[T], int] | None = None,
        note: Callable[[T], str] | None = None,
    ) -> Iterable[T]:
        """Give the items one by one and move the bar."""
        return self._follow(items, total, label, size, note) if self._shown else items

    def _follow(
        self,
        items: Iterable[T],
        total: int,
        label: str,
        size: Callable[[T], int] | None,
        note: Callable[[T], str] | None,
    ) -> Iterator[T]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(label, total=total, rate="", note="")
            for item in items:
                yield item
                # The rate is that of the step before: this one's is known with the next.
                speed = progress.tasks[0].speed
                progress.update(
                    task,
                    advance=size(item) if size else 1,
                    rate=f"{speed:.1f}/s" if speed else "",
                    note=note(item) if note else "",
                )

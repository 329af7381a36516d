"""What a command leaves behind: the document on stdout or in a file, progress and summary on stderr."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tlaudit.cli.streams import hand_over, say, show, tell
from tlaudit.errors import DataError, UsageError
from tlaudit.files import refuse_unwritable, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TextIO

    from tlaudit.cli.options import Output
    from tlaudit.records import Document
    from tlaudit.reports import Format

T = TypeVar("T")


def plan(output: Output, formats: Mapping[str, Format] | None = None) -> dict[str, Path | None]:
    """Say which format goes where, and refuse what cannot be written before any work is done.

    Args:
        output: The options.
        formats: Those of the document by name; of a check's result where left out.

    Returns:
        For each format the file it goes to, ``None`` for stdout. A ``--report`` comes on top.

    Raises:
        UsageError: If a format is unknown, two would go to stdout, or a file cannot be written, or would be written
            over the configuration file, be it named or found.
    """
    from tlaudit.config import found
    from tlaudit.reports import FORMATS

    formats = formats or FORMATS
    if output.report is not None:
        if output.report.suffix.lower() not in {".html", ".htm"}:
            raise UsageError(f"{output.report}: a report is HTML; name a file that ends in .html")
        refuse_unwritable(output.report)
    settings = {"--config": output.config, "the configuration": found()}
    keep_apart({"--report": output.report}, settings)
    unknown = [name for name in output.formats if name not in formats]
    if unknown:
        raise UsageError(f"unknown format {unknown[0]!r}; known are {', '.join(formats)}")
    if output.path is None:
        if sys.stdout is None:
            raise UsageError("stdout is closed: give --output")
        if len(output.formats) > 1:
            raise UsageError("several formats need a file to go to: give --output")
        return dict.fromkeys(output.formats or ("table",))
    by_suffix = {format_.suffix: name for name, format_ in formats.items()}
    suffix = output.path.suffix.lower()
    if not output.formats and suffix not in by_suffix:
        raise UsageError(
            f"{output.path}: no format ends in {suffix!r}; known are {', '.join(by_suffix)}, or give --format"
        )
    names = output.formats or (by_suffix[suffix],)
    several = len(names) > 1
    places = {name: output.path.with_suffix(formats[name].suffix) if several else output.path for name in names}
    for path in places.values():
        refuse_unwritable(path)
        keep_apart({"--output": path, "--report": output.report}, settings)
    return dict(places)


def written(output: Output, places: Mapping[str, Path | None], option: str = "--output") -> dict[str, Path | None]:
    """Give all files that a document goes to, for `keep_apart`: the report, and by format what `option` names."""
    return {"--report": output.report, **{f"{option} ({name})": place for name, place in places.items()}}


def keep_apart(written: Mapping[str, Path | None], read: Mapping[str, Path | None], folder: Path | None = None) -> None:
    """Refuse to write two things to one file, to write over what is read, or to write into a folder that is replaced.

    Args:
        written: Files by option; None for one that is not asked for.
        read: Files that are read, by option.
        folder: Of `--save-composites`.

    Raises:
        UsageError: With the two options that meet. Of files that are read the first one is named.
    """
    within = None if folder is None else _place(folder)
    taken: dict[str, str] = {}
    for option, path in (*read.items(), *written.items()):
        if path is None:
            continue
        place = _place(path)
        other = taken.get(place)
        if other is not None and option in written:
            raise UsageError(f"{path}: both {other} and {option} name it; give each its own file")
        if within is not None and Path(place).is_relative_to(within):
            raise UsageError(f"{path}: {option} lies in the folder of --save-composites, which is written as a whole")
        taken.setdefault(place, option)


def _place(path: Path) -> str:
    """Where a path leads to, links followed as far as they lead anywhere."""
    try:
        return os.path.realpath(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: the current folder does not exist any more; go to one that does") from None


def deliver(
    document: Document,
    output: Output,
    places: dict[str, Path | None],
    formats: Mapping[str, Format] | None = None,
    page: str | None = None,
) -> None:
    """Write each format to its place; the summary goes to stderr where stdout does not show it.

    Files come first and stdout last, so that whoever reads it, or stops reading, has no say in which files there are.

    Args:
        document: What is written: a check's result, or another document with its `formats`.
        output: The options.
        places: As `plan` gave them.
        formats: Those of the document by name, ``table`` and ``html`` among them; of a check's result where left out.
        page: The report, where it is about more than the document.

    Raises:
        DataError: If a file, or stdout, cannot be written; the summary has been shown before.
    """
    from tlaudit.reports import FORMATS

    formats = formats or FORMATS
    if places.get("table", ...) is not None and not output.quiet and sys.stderr is not None:
        tell(_shown(document, output, formats["table"], sys.stderr))
    texts = {path: formats[name].render(document, output.top) for name, path in places.items() if path is not None}
    if output.report is not None:
        texts[output.report] = page or formats["html"].render(document, output.top)
    _write_all(texts, output)
    for name in (name for name, path in places.items() if path is None):
        if name == "table":
            show(_shown(document, output, formats[name], sys.stdout))
        else:
            hand_over(formats[name].render(document, output.top))


def _write_all(texts: Mapping[Path, str], output: Output) -> None:
    """Write all files that can be written; one that cannot does not stop the others."""
    failed = []
    for path, text in texts.items():
        try:
            write(path, text)
        except DataError as error:
            failed.append(str(error))
        else:
            if not output.quiet:
                say(f"written: {path}")
    if failed:
        raise DataError("; ".join(failed))


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Raises:
        DataError: If it cannot be written; an old one then is as it was.
    """
    try:
        write_atomically(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def _shown(document: Document, output: Output, table: Format, stream: TextIO) -> str:
    """In colours and as wide as the terminal; plainly where it is none.

    The text is drawn and not printed: rich would end the program with code 1 where the reader went away.
    """
    from rich.console import Console

    console = Console(file=stream, highlight=False)
    if not console.is_terminal or table.view is None:
        return table.render(document, output.top)
    with console.capture() as capture:
        console.print(table.view(document, output.top, console.width))
    return capture.get()


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

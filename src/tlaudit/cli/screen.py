"""`tlaudit screen`."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from tlaudit.cli.flags import DATA, EXECUTION, MODELS, PREPROCESS, SCREEN
from tlaudit.cli.options import OUTPUT_PANEL, Output, configured
from tlaudit.cli.output import ProgressBar, deliver, keep_apart, plan
from tlaudit.cli.subject import files_of_set, load_networks, named_files
from tlaudit.errors import DataError, UsageError
from tlaudit.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TextIO

    from tlaudit.options import ScreenOptions, Settings
    from tlaudit.records import Cell

    Rows = Iterable[Mapping[str, Cell]]

FLAGGED = 1

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_OWN = (
    inspect.Parameter(
        "images",
        _KEYWORD,
        annotation=Annotated[list[Path], typer.Argument(help="Images, and folders with images anywhere below them.")],
    ),
    inspect.Parameter(
        "formats",
        _KEYWORD,
        default=None,
        annotation=Annotated[
            list[str] | None,
            typer.Option("--format", "-f", help="jsonl (default) or csv.", rich_help_panel=OUTPUT_PANEL),
        ],
    ),
)


class RowFormat(NamedTuple):
    """A way to write rows: `header` once, then `rows` again and again."""

    header: Callable[[TextIO, tuple[str, ...]], None]
    rows: Callable[[TextIO, Rows], None]


def _no_header(_file: TextIO, _columns: tuple[str, ...]) -> None:
    """JSONL says the names in each line."""


def _csv_header(file: TextIO, columns: tuple[str, ...]) -> None:
    from tlaudit.reports import separated

    file.write(separated.line(columns))


def _json_rows(file: TextIO, rows: Rows) -> None:
    file.writelines(json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n" for row in rows)


def _csv_rows(file: TextIO, rows: Rows) -> None:
    from tlaudit.reports import separated

    file.writelines(separated.line(row.values()) for row in rows)


ROW_FORMATS = {"jsonl": RowFormat(_no_header, _json_rows), "csv": RowFormat(_csv_header, _csv_rows)}


@configured(
    MODELS,
    DATA,
    SCREEN,
    PREPROCESS,
    EXECUTION,
    own=_OWN,
    without=("--fuse/--no-fuse", "--compile/--no-compile", "--cache/--no-cache", "--cache-dir", "--cache-size"),
)
def screen(settings: Settings, output: Output, images: list[Path]) -> None:
    """Flag images that remind the finetuned network of a lingering class.

    One row an image, as JSONL or CSV: flagged, score, the class it reminds of, prediction. Needs --source, --finetuned
    and --lingering. The threshold is p_lo, --threshold, or set by --calibrate DIR --alpha A; --val-data adds the
    false-positive rate, --source-data and --target-data the true-positive rate on composites. --limit does not apply to
    the images named, and --baseline is only compared with the one the lingering classes were found with. With
    --fail-on-flag the exit code is 1 when an image is flagged, else 3 when one could not be read.
    """
    options = settings.screen
    form, places = _plan(output, options)
    read: dict[str, Path | None] = {"--lingering": options.lingering, **named_files(settings)}
    for number, place in enumerate(images, 1):
        read |= files_of_set(f"IMAGES {number}", place)
    keep_apart({"--output": output.path, "--summary": options.summary, "--report": output.report}, read)
    pair = load_networks(settings, {"--lingering": options.lingering})
    from tlaudit.data.inputs import gather
    from tlaudit.documents import read_result
    from tlaudit.models.runtime import keep_memory
    from tlaudit.screen import ROW_COLUMNS, Screening

    keep_memory()
    assert options.lingering is not None  # load_networks has refused to go on without it
    inputs, known = gather(images), read_result(options.lingering, "lingering")
    # Rows and a moving bar do not share a terminal.
    progress = ProgressBar(quiet=output.quiet or (output.path is None and sys.stdout.isatty()))
    screening = Screening(pair, known, settings, progress)
    with _opened(output.path) as file:
        form.header(file, ROW_COLUMNS)
        for batch in screening.rows(inputs):
            form.rows(file, batch)
            file.flush()
    result = screening.result()
    deliver(result, output, places)
    if options.fail_on_flag and result["screen.flagged"].value:
        raise typer.Exit(FLAGGED)
    unread = result["screen.unread"].value
    if options.fail_on_flag and unread:
        raise DataError(f"{unread} images could not be read: none of the others is flagged, of these nobody knows")


def _plan(output: Output, options: ScreenOptions) -> tuple[RowFormat, dict[str, Path | None]]:
    """Say how rows are written and where the summary goes; what cannot be written is refused before the work."""
    plan(replace(output, formats=("csv",)))  # is there a place for rows, and another one for the report?
    if options.summary is None:
        return ROW_FORMATS[_format(output)], {}
    return ROW_FORMATS[_format(output)], plan(replace(output, formats=("json",), path=options.summary))


def _format(output: Output) -> str:
    """The format asked for, or the one the suffix says."""
    known = ", ".join(ROW_FORMATS)
    if len(output.formats) > 1:
        raise UsageError(f"rows are written in one format, got {', '.join(output.formats)}")
    if output.formats:
        if output.formats[0] not in ROW_FORMATS:
            raise UsageError(f"unknown format {output.formats[0]!r}; known are {known}")
        return output.formats[0]
    if output.path is None:
        return "jsonl"
    suffix = output.path.suffix.lower().removeprefix(".")
    if suffix not in ROW_FORMATS:
        raise UsageError(
            f"{output.path}: no format ends in {output.path.suffix!r}; known are {known}, or give --format"
        )
    return suffix


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    """Give stdout, or a file that appears under its name when all rows are in it."""
    if path is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Rows are UTF-8 wherever they go; a terminal of another encoding must not end the run.
            sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        return
    try:
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error

"""The `tlaudit` command: its subcommands, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import sys
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer

from tlaudit.cli import interrupts, streams
from tlaudit.cli.audit import audit
from tlaudit.cli.compare import compare
from tlaudit.cli.demo import demo
from tlaudit.cli.distraction import distraction
from tlaudit.cli.erosion import erosion
from tlaudit.cli.gate import gate
from tlaudit.cli.init import init
from tlaudit.cli.inspect import inspect
from tlaudit.cli.interrupts import which
from tlaudit.cli.lingering import lingering
from tlaudit.cli.processes import refuse_several
from tlaudit.cli.repair import repair
from tlaudit.cli.schema import schema
from tlaudit.cli.screen import screen
from tlaudit.cli.stress import stress
from tlaudit.errors import TlauditError, UsageError
from tlaudit.failures import ElsewhereError, is_told
from tlaudit.files import crash_details, crash_line

if TYPE_CHECKING:
    from collections.abc import Callable

WRONG_USAGE, NO_ANSWER = 2, 3

_REFUSED = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])
"""What typer raises for arguments it refuses, of all kinds."""

app = typer.Typer(
    name="tlaudit",
    help="Audit finetuned image classifiers before they are released.",
    epilog="Exit codes: 0 yes or done, 1 the answer is no, 2 wrong usage, 3 no answer, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tlaudit {version('tlaudit')}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what a command raises into a line on stderr and an exit code."""

    @functools.wraps(command)
    def guard(*args: object, **kwargs: object) -> None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(streams.OneLine(f"tlaudit: {which()}%(message)s"))
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        # What is noticed is said by the process that leads.
        usual = logging.ERROR if which() else logging.WARNING
        logging.getLogger("tlaudit").setLevel(logging.INFO if kwargs.get("verbose") else usual)
        try:
            with interrupts.raised():
                refuse_several(command.__name__)
                command(*args, **kwargs)
        except typer.Exit:
            raise
        except UsageError as error:
            raise _stop(_said(error), WRONG_USAGE) from None
        except TlauditError as error:
            raise _stop(_said(error), NO_ANSWER) from None
        except KeyboardInterrupt:
            interrupts.hush()
            raise _stop("interrupted", interrupts.INTERRUPTED) from None
        except SystemExit as stop:
            # Its code would be taken for ours: 0 for done, 1 for "the answer is no".
            raise _stop(f"code of the model's own ended the program (exit code {stop.code})", NO_ANSWER) from None
        except BrokenPipeError:
            # The reader went away from what is written bit by bit, and never got all of it.
            for stream in filter(None, (sys.stdout, sys.stderr)):
                with contextlib.suppress(OSError):
                    streams.abandon(stream)
            raise typer.Exit(NO_ANSWER) from None
        except Exception as error:  # noqa: BLE001 - the outermost frame: a crash is "no answer", not Python's exit code 1
            raise _stop(_said(error) if isinstance(error, ElsewhereError) else _crashed(error), NO_ANSWER) from None

    return guard


def _said(error: TlauditError | ElsewhereError) -> str:
    """What the error says; nothing where all processes have it and another one says it."""
    if which() and is_told(error):
        return ""
    return f"crashed {error}" if isinstance(error, ElsewhereError) else str(error)


def _stop(message: str, code: int) -> typer.Exit:
    if message:
        streams.say(f"tlaudit: {which()}{message}")
    return typer.Exit(code)


def _crashed(error: Exception) -> str:
    """One line for a crash; the traceback goes to a file."""
    if "torchvision::nms" in str(error):
        return (
            "torch and torchvision are of different builds (operator torchvision::nms does not exist). Let torchvision "
            "bring its own torch: pip uninstall -y torch torchvision && pip install torchvision"
        )
    return f"{crash_line(error)}{crash_details(error)}"


COMMANDS: dict[str, Callable[..., None]] = {
    "inspect": inspect,
    "init": init,
    "lingering": lingering,
    "distraction": distraction,
    "erosion": erosion,
    "stress": stress,
    "audit": audit,
    "screen": screen,
    "repair": repair,
    "gate": gate,
    "compare": compare,
    "demo": demo,
    "schema": schema,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(guarded(_command))


def main() -> None:
    """Run the command line.

    The overview of the commands is printed plainly, which takes a third of the time; the long help of a command is
    worth loading what draws its panels.
    """
    interrupts.listen()
    streams.settle()
    if {"-h", "--help", "--version"} & set(sys.argv) and hasattr(signal, "SIGPIPE"):
        # A reader that has seen enough of the help is no error; typer would make it exit code 1.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    app.rich_markup_mode = None if sys.argv[1:] in ([], ["-h"], ["--help"]) else "rich"
    if which() and sys.argv[1:]:
        _follow()
    app()


def _follow() -> NoReturn:
    """Run the command line in a process that does not lead: what typer refuses is one line, not one more box.

    It is not left to the one that leads, which may be ended before it has come to say it, or have other arguments.
    """
    try:
        code = app(standalone_mode=False)
    except _REFUSED as error:
        streams.say(f"tlaudit: {which()}{' '.join(error.format_message().split())}")
        code = error.exit_code
    sys.exit(code or 0)

"""Every command that writes files, with the names of what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hardening.forked import Process
    from hardening.world import World


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        name: In the table of `hardening.faults`.
        arguments: Its words, for a world and the folder to write into.
        writes: Names below that folder that a finished run leaves; of a folder all that is in it.
        resumes: Whether what a stopped run has done serves the next one.
        grows: Those of them that are written row by row, and gone on with by the next run.
        prepared: Called in the process of the command before it begins.
    """

    name: str
    arguments: Callable[[World, Path], list[str]]
    writes: tuple[str, ...]
    resumes: bool = False
    grows: tuple[str, ...] = ()
    prepared: Callable[[World], None] | None = None


def start(
    command: Command,
    world: World,
    folder: Path,
    said: Path,
    before: Callable[[], None] | None = None,
    more: tuple[str, ...] = (),
    **environment: str,
) -> Process:
    """Start a command that writes into a folder, in a process of its own.

    Args:
        command: Which.
        world: What it works on; it runs in its folder.
        folder: Where it writes.
        said: File for what it says.
        before: Called in the new process before the command is.
        more: Further words.
        **environment: Variables on top of those of this process.
    """
    from hardening import forked

    def ready() -> None:
        if command.prepared is not None:
            command.prepared(world)
        if before is not None:
            before()

    return forked.started([*command.arguments(world, folder), *more], said, ready, folder=world.root, **environment)


def _check(name: str, *more: str) -> Callable[[World, Path], list[str]]:
    """A check with a document and a report; words of `more` may name the folder."""

    def arguments(_world: World, folder: Path) -> list[str]:
        own = [word.format(folder=folder) for word in more]
        return [name, "-o", str(folder / f"{name}.json"), "--report", str(folder / f"{name}.html"), *own]

    return arguments


def _screen(_world: World, folder: Path) -> list[str]:
    more = ["--summary", str(folder / "summary.json"), "--report", str(folder / "screen.html")]
    return ["screen", "target", "val", "-o", str(folder / "rows.jsonl"), *more]


def _repair(world: World, folder: Path) -> list[str]:
    more = [
        "--config",
        str(world.repair),
        "--result",
        str(folder / "repair.json"),
        "--report",
        str(folder / "repair.html"),
        "--resume",
    ]
    return ["repair", "-o", str(folder / "new.safetensors"), "--steps", str(folder / "steps.csv"), *more]


def _gate(world: World, folder: Path) -> list[str]:
    return [*_check("gate", "--policy", str(world.policy), "--first-release")(world, folder), str(world.report)]


def _compare(world: World, folder: Path) -> list[str]:
    return [*_check("compare")(world, folder), f"a={world.lingering}", f"b={world.other}"]


def _inspect(_world: World, folder: Path) -> list[str]:
    return ["inspect", "finetuned.pth", "--arch", _arch(), "-f", "json", "-o", str(folder / "inspection.json")]


def _init(_world: World, folder: Path) -> list[str]:
    networks = ["--source", "source.pth", "--finetuned", "finetuned.pth", "--arch", _arch()]
    return ["init", *networks, "--target-data", "target", "-o", str(folder / "first.toml"), "--force"]


def _demo(_world: World, folder: Path) -> list[str]:
    return ["demo", "--no-cache", "-j", "0", "--device", "cpu", "--report", str(folder / "demo.html")]


def _little_demo(world: World) -> None:
    from tlaudit.demo import audit
    from tlaudit.demo.world import WorldFiles
    from tlaudit.options import DistractionOptions

    audit.world_files = lambda: WorldFiles(world.demo)
    audit.COMPOSITES = DistractionOptions(per_class=1, common_classes=1, max_classes=1, bootstrap=100)


def _arch() -> str:
    import several

    return several.ARCH


_STEPS = ("steps.plain.csv", "steps.l2sp.csv")


def _documents(name: str, *more: str) -> tuple[str, ...]:
    return (f"{name}.json", f"{name}.html", *more)


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("inspect", _inspect, ("inspection.json",)),
        Command("init", _init, ("first.toml",)),
        Command("lingering", _check("lingering"), _documents("lingering")),
        Command(
            "distraction",
            _check("distraction", "--save-composites", "{folder}/composites", "--save-rows", "{folder}/rows.csv"),
            _documents("distraction", "composites", "rows.csv"),
        ),
        Command("erosion", _check("erosion", "--data", "images"), _documents("erosion")),
        Command("stress", _check("stress", "--runs", "{folder}/runs"), _documents("stress", "runs"), resumes=True),
        Command("audit", _check("audit"), _documents("audit")),
        Command(
            "cache",
            _check("lingering", "--cache", "--cache-dir", "{folder}/cache"),
            _documents("lingering", "cache"),
            resumes=True,
        ),
        Command("screen", _screen, ("rows.jsonl", "summary.json", "screen.html")),
        Command(
            "repair",
            _repair,
            _documents("repair", "new.plain.safetensors", "new.l2sp.safetensors", *_STEPS),
            resumes=True,
            grows=_STEPS,
        ),
        Command("gate", _gate, _documents("gate")),
        Command("compare", _compare, _documents("compare")),
        Command("demo", _demo, _documents("demo"), prepared=_little_demo),
    )
}

"""Coverage-guided fuzzing of what reads checkpoints, reports and policies: figures in a table, defects as files.

    python -m hardening.fuzz                        # two minutes each
    python -m hardening.fuzz --seconds 600 --only checkpoint

Each target has a process of its own, in which the tool's modules, torch's safe unpickler and the TOML parser are
instrumented. An input that the tool neither refuses with an error of its own nor accepts as it promised is a defect:
it is kept under build/fuzz/, printed, begins the next run, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tlaudit.files import write_atomically

from .fuzzing.runner import CORPUS, CRASHES, LINES, SEEDS, STATE, clear_scratch

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {
    "checkpoint": "files of networks, zip, legacy and safetensors, until the network is built",
    "report": "JSON reports, until they are judged, compared and shown",
    "policy": "configuration files, until their rules are held against a report",
}
_LOG = "log.txt"
_START, _REPLAY = 240, 60
"""Seconds that a process may take to begin and to end; most seconds of counting lines."""
_FINAL = re.compile(r"#\d+\s+DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)/")
_UNITS = re.compile(r"stat::number_of_executed_units: (\d+)")
_FIRST = re.compile(r"#\d+\s+INITED cov: (\d+)")


@dataclass(frozen=True)
class Figures:
    """What one target showed.

    Attributes:
        target: Its name.
        seconds: Of fuzzing.
        executions: Inputs tried.
        seeds: Inputs it began with.
        corpus: Inputs that each reached something new.
        edges_of_seeds: Branches that the seeds reach.
        edges: Branches reached in the end.
        lines: Lines of functions in the modules that read such files.
        lines_of_seeds: Of these, reached by the seeds.
        lines_reached: Reached by seeds and corpus.
        accepted: Inputs that were read and used, not refused.
        complaints: Different things the tool said of what it refused, names and numbers taken out.
        slowest: Seconds of the process's own time of the slowest input.
        ends: How often inputs ended how.
        crashes: What went wrong, with the file that shows it.
    """

    target: str
    seconds: float
    executions: int
    seeds: int
    corpus: int
    edges_of_seeds: int | None
    edges: int | None
    lines: int | None
    lines_of_seeds: int | None
    lines_reached: int | None
    accepted: int
    complaints: int
    slowest: float
    ends: dict[str, int]
    crashes: dict[str, str]

    @property
    def a_second(self) -> float:
        return self.executions / self.seconds if self.seconds else 0.0


def prepare(target: str, folder: Path) -> int:
    """Write the inputs to begin with, those of earlier defects included, and the words.

    Returns:
        How many inputs.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from .fuzzing import seeds

    for name in (SEEDS, CORPUS, "replay"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    (folder / CRASHES).mkdir(exist_ok=True)
    for name in (STATE, LINES):
        (folder / name).unlink(missing_ok=True)
    valid = list(seeds.SEEDS[target]())
    earlier = [path.read_bytes() for path in sorted((folder / CRASHES).iterdir()) if path.suffix != ".txt"]
    for content in (*valid, *earlier):
        (folder / SEEDS / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
    trees = [json.loads(one) for one in valid] if target == "report" else []
    words = seeds.words(trees)
    (folder / "words.json").write_text(json.dumps(words), encoding="utf-8")
    (folder / "dictionary").write_text(seeds.dictionary(words), encoding="utf-8")
    return len(list((folder / SEEDS).iterdir()))


def fuzzed(target: str, seconds: int, folder: Path, seed: int = 1, starter: Sequence[str] | None = None) -> Figures:
    """Fuzz one target in a process of its own.

    Args:
        target: Its name.
        seconds: How long.
        folder: Where corpus and defects are kept.
        seed: Of all choices; what is reached in a given time still depends on the machine.
        starter: The command that starts the process, without its arguments.

    Returns:
        What it showed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    begun_with = prepare(target, folder)
    before = set((folder / CRASHES).iterdir())
    command = list(starter or (sys.executable, "-m", "hardening.fuzzing"))
    begun = time.perf_counter()
    code, said = _run([*command, "fuzz", target, str(folder), str(seconds), str(seed)], seconds + _START, folder / _LOG)
    took = time.perf_counter() - begun
    state = _json(folder / STATE)
    crashes: dict[str, str] = dict(state.get("crashes", {}))
    artifacts = {path for path in set((folder / CRASHES).iterdir()) - before if path.name.startswith(_ARTIFACTS)}
    for path in sorted(artifacts):
        crashes[f"{path.name.partition('-')[0]} of the process"] = str(path)
    if code and not artifacts:
        crashes[f"the process ended with {code}"] = str(folder / _LOG)
    final, first = _FINAL.search(said), _FIRST.search(said)
    lines = _lines(command, target, folder, seconds)
    ends: dict[str, int] = state.get("ends", {})
    refused = {end: count for end, count in ends.items() if end.startswith("refused")}
    return Figures(
        target=target,
        seconds=round(_fuzzing_seconds(said, took), 1),
        executions=max(state.get("tried", 0), int(units[1]) if (units := _UNITS.search(said)) else 0),
        seeds=begun_with,
        corpus=int(final[3]) if final else len(list((folder / CORPUS).iterdir())),
        edges_of_seeds=int(first[1]) if first else None,
        edges=int(final[1]) if final else None,
        lines=lines.get("lines"),
        lines_of_seeds=lines.get(SEEDS),
        lines_reached=lines.get(CORPUS),
        accepted=sum(ends.values()) - sum(refused.values()) - ends.get("DEFECT", 0),
        complaints=state.get("complaints", 0),
        slowest=round(state.get("slowest", 0.0), 3),
        ends=dict(sorted(ends.items(), key=lambda end: -end[1])),
        crashes=crashes,
    )


_ARTIFACTS = ("crash-", "timeout-", "oom-", "leak-", "slow-unit-")


def _fuzzing_seconds(said: str, took: float) -> float:
    """As the fuzzer itself counts them, without the imports before."""
    done = re.search(r"Done \d+ runs in (\d+) second", said)
    return float(done[1]) if done else took


def _run(command: list[str], seconds: int, log: Path) -> tuple[int, str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TLAUDIT_CACHE_DIR": "", "TLAUDIT_FUZZ_RUN": str(os.getpid())}
    with log.open("wb") as file:
        try:
            code = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=file, stderr=file, timeout=seconds, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = -9
        finally:
            clear_scratch()
    return code, log.read_text(encoding="utf-8", errors="replace")


def _lines(command: list[str], target: str, folder: Path, seconds: int) -> dict[str, int]:
    """Count lines in a process that is not instrumented, so that they are those of the files."""
    most = max(5, min(seconds, _REPLAY))
    _run([*command, "lines", target, str(folder), str(most), "0"], most + _START, folder / "lines.txt")
    return _json(folder / LINES)


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except FileNotFoundError:
        return {}


def table(rows: Sequence[Figures]) -> Table:
    """The figures, a row a target."""
    titles = ("seconds", "executions", "a second", "corpus", "branches", "lines", "accepted", "complaints", "crashes")
    shown = Table(title="Fuzzing", caption="branches and lines: of the seeds → in the end; accepted: read and used")
    shown.add_column("target")
    for title in titles:
        shown.add_column(title, justify="right")
    for row in rows:
        shown.add_row(
            row.target,
            f"{row.seconds:.0f}",
            f"{row.executions:,}",
            f"{row.a_second:.0f}",
            str(row.corpus),
            _grown(row.edges_of_seeds, row.edges),
            f"{_grown(row.lines_of_seeds, row.lines_reached)} of {row.lines or '?'}",
            f"{row.accepted:,}",
            f"{row.complaints:,}",
            str(len(row.crashes)),
        )
    return shown


def _grown(before: int | None, after: int | None) -> str:
    return f"{before if before is not None else '?'} → {after if after is not None else '?'}"


def verdict(rows: Sequence[Figures]) -> int:
    """Say what went wrong, and give the exit code: 1 if anything did, or nothing was tried."""
    for row in rows:
        for what, path in row.crashes.items():
            print(f"{row.target}: {what}: {path}")
        if not row.executions:
            print(f"{row.target}: nothing was tried; log.txt beside its corpus says why")
    return int(any(row.crashes or not row.executions for row in rows))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hardening.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=120, help="of each target (default %(default)s)")
    parser.add_argument("--only", action="append", choices=TARGETS, metavar="NAME", help="repeatable: %(choices)s")
    parser.add_argument("--seed", type=int, default=1, help="of all choices (default %(default)s)")
    parser.add_argument(
        "--folder", type=Path, default=Path("build/fuzz"), help="corpora, crashes (default %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=Path("build/fuzz.json"), help="JSON file (default %(default)s)")
    chosen = parser.parse_args(arguments)
    if chosen.seconds < 1:
        parser.error("--seconds: expected at least 1")
    rows = []
    for target in [name for name in TARGETS if chosen.only is None or name in chosen.only]:
        rows.append(fuzzed(target, chosen.seconds, (chosen.folder / target).absolute(), chosen.seed))
        print(f"{target}: {TARGETS[target]}: {rows[-1].executions:,} executions", file=sys.stderr)
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": chosen.seed,
        "targets": [{**asdict(row), "executions_per_second": round(row.a_second, 1)} for row in rows],
    }
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(chosen.output, (json.dumps(document, indent=2) + "\n").encode())
    Console(width=120).print(table(rows))
    return verdict(rows)


if __name__ == "__main__":
    sys.exit(main())

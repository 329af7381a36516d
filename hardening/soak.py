"""A hundred audits in one process: what a process keeps of each, and whether that is nothing.

    python -m hardening.soak                        # a hundred audits, in some minutes
    python -m hardening.soak --audits 20

Audits of small networks with all checks, through the command line, as JSON and HTML: seeds, batch sizes, worker
processes and the cache change from one to the next, and some fail. After each the operating system is asked what the
process holds. Flat means: handles, threads, children, temporary files, tensors and networks are after the last audits
what they were when all kinds of audits had been made once, and the slope of resident memory is below a bound. If it is
not flat the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tlaudit.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[1]
MOST_SLOPE = 0.1
"""MiB an audit by which resident memory may seem to rise. The allocator keeps freed memory in pieces, so that the same
work ends some MiB higher or lower: over the last 75 of 100 audits 0.1 is 7.5 MiB, one per cent of the process. What an
audit here decodes and draws is several MiB, so that keeping a twentieth of it shows; kept tensors and networks, which
are small here, are counted one by one instead."""
EXACT = ("handles", "threads", "children", "temporary", "shared", "tensors", "networks", "modules")
"""What has to be exactly what it was."""
FEWEST = 6
_EVERY = 10
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SHARED = Path("/dev/shm")
_KEPT = "tlaudit-crash-"
"""Tracebacks of crashes, which are kept for the user and are no left-overs."""

FAILING = """
from several import Net


class Broken(Net):
    def forward(self, x):
        raise RuntimeError("planted")
"""


@dataclass(frozen=True)
class Sample:
    """What the process holds after an audit.

    Attributes:
        audit: Its number, from 1.
        kind: What was special about it.
        code: Its exit code.
        seconds: How long it took.
        resident: MiB of memory by the operating system's count.
        of_children: MiB of memory of child processes, shared memory in proportion.
        handles: Open files.
        threads: Of the operating system.
        children: Processes.
        temporary: Files and folders for temporary files, tracebacks that are kept for the user aside.
        shared: Entries of shared memory that are named after this process; others use it too.
        tensors: Of torch, alive.
        networks: Modules of torch, alive.
        modules: Of Python, imported.
    """

    audit: int
    kind: str
    code: int
    seconds: float
    resident: float
    of_children: float
    handles: int
    threads: int
    children: int
    temporary: int
    shared: int
    tensors: int
    networks: int
    modules: int


def warm_up(audits: int) -> int:
    """Audits after which each kind of audit has been made, and that are not judged."""
    return max(5, audits // 4)


def slope(samples: Sequence[Sample]) -> float:
    """MiB an audit by which memory rises: the median of the slopes between all pairs (Theil and Sen)."""
    pairs = combinations(samples, 2)
    return statistics.median((two.resident - one.resident) / (two.audit - one.audit) for one, two in pairs)


def judged(samples: Sequence[Sample]) -> list[str]:
    """Say what is not flat; nothing if all is."""
    begin = warm_up(len(samples)) - 1
    base, later = samples[begin], samples[begin:]
    found = []
    rise = slope(later)
    if rise > MOST_SLOPE:
        found.append(f"resident memory rises by {rise:.3f} MiB an audit, more than {MOST_SLOPE}")
    for name in EXACT:
        before, after = getattr(base, name), getattr(later[-1], name)
        most = max(getattr(one, name) for one in later)
        if after != before or most > before:
            found.append(f"{name}: {before} after audit {base.audit}, {after} in the end, {most} at most")
    return found


class Audits:
    """Audits of one world, each another one than the last.

    `FAILS` are the kinds that fail, with the exit code that is right for them.
    """

    FAILS = (("broken checkpoint", 3), ("missing folder", 2), ("exception in a network", 3))

    def __init__(self, root: Path) -> None:
        sys.path[:0] = [str(ROOT / "tests")] * (str(ROOT / "tests") not in sys.path)
        import several

        from .world import SETTINGS

        several.build(root)
        text = SETTINGS.format(arch=several.ARCH).replace("cache = false", "").replace(', "erosion"]', _ALL)
        (root / "tlaudit.toml").write_text(text, encoding="utf-8")
        (root / "own.py").write_text(FAILING, encoding="utf-8")
        (root / "broken.pth").write_bytes((root / "finetuned.pth").read_bytes()[:-900])

    def words(self, number: int) -> tuple[str, list[str], int]:
        """What the audit of a number is: its kind, its command line, and the exit code that is right."""
        words = ["audit", "-q", "-o", "audit.json", "--report", "audit.html", "--seed", str(number)]
        # The largest batch is the first that worker processes get: what they share with this one is kept for the next.
        workers, cached = number % 2, number % 4 in {1, 2}
        words += ["--batch-size", str((5, 16, 8)[number % 3]), "--workers", str(workers)]
        words += ["--cache-dir", "cache"] if cached else ["--no-cache"]
        if number not in {2, 3, 4} and (number % 8 != 2 or number < 8):
            return f"workers {workers}{', cache' if cached else ''}", words, 0
        kind, code = self.FAILS[number - 2 if number < 8 else number // 8 % len(self.FAILS)]
        more = {
            "broken checkpoint": ["--finetuned", "broken.pth"],
            "missing folder": ["--target-data", "nowhere"],
            "exception in a network": ["--arch", "own.py:Broken"],
        }
        return kind, [*words, *more[kind]], code


_ALL = ', "erosion", "stress"]'


def run(words: Sequence[str]) -> int:
    """Run the command line in this process, as a program that calls it does."""
    from tlaudit.cli.app import app

    code = app(list(words), standalone_mode=False)
    return int(code or 0)


def sample(audit: int, kind: str, code: int, seconds: float, folder: Path) -> Sample:
    """Ask the operating system, and the garbage collector, what there is."""
    import torch

    gc.collect()
    alive = [type(one) for one in gc.get_objects()]
    children = _children()
    return Sample(
        audit=audit,
        kind=kind,
        code=code,
        seconds=round(seconds, 2),
        resident=round(int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 2**20, 2),
        of_children=round(sum(map(_proportional, children)), 2),
        handles=len(_names("/proc/self/fd")),
        threads=len(_names("/proc/self/task")),
        children=len(children),
        temporary=sum(not name.startswith(_KEPT) for name in _names(folder)),
        shared=sum(str(os.getpid()) in name for name in _names(_SHARED)) if _SHARED.is_dir() else 0,
        tensors=sum(issubclass(one, torch.Tensor) for one in alive),
        networks=sum(issubclass(one, torch.nn.Module) for one in alive),
        modules=len(sys.modules),
    )


def _names(folder: str | Path) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


def _children() -> list[int]:
    found: list[int] = []
    for task in _names("/proc/self/task"):
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/self/task/{task}/children").read_text().split())
    return found


def _proportional(process: int) -> float:
    """MiB of a process, what it shares with others in proportion; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


@contextlib.contextmanager
def apart() -> Iterator[tuple[Path, Path, io.StringIO]]:
    """Work in a new folder, with one of its own for temporary files; what is said is kept."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="tlaudit-soak-") as root:
        place, temporary = Path(root) / "world", Path(root) / "temporary"
        place.mkdir()
        temporary.mkdir()
        kept, tempfile.tempdir = tempfile.tempdir, str(temporary)
        os.chdir(place)
        try:
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                yield place, temporary, said
        finally:
            os.chdir(before)
            tempfile.tempdir = kept


def soak(audits: int, show: Console) -> tuple[list[Sample], list[str]]:
    """Make audits.

    Returns:
        What there was after each, and which did not end as they should have.
    """
    samples: list[Sample] = []
    wrong: list[str] = []
    with apart() as (place, temporary, said):
        world = Audits(place)
        for number in range(audits):
            kind, words, right = world.words(number)
            begun = time.perf_counter()
            code = run(words)
            samples.append(sample(number + 1, kind, code, time.perf_counter() - begun, temporary))
            if code != right:
                told = (said.getvalue().splitlines() or ["nothing"])[-1]
                wrong.append(f"audit {number + 1} ({kind}) ended with {code}, expected {right}; it said: {told[:300]}")
            said.seek(0)
            said.truncate()
            if (number + 1) % _EVERY == 0 and number + 1 < audits:
                show.print(table(samples[-_EVERY:], f"Audits {number + 2 - _EVERY} to {number + 1} of {audits}"))
    return samples, wrong


def table(samples: Sequence[Sample], title: str) -> Table:
    """Audits and what there was after each, a row an audit."""
    shown = Table(title=title, caption="memory in MiB")
    for field in fields(Sample):
        shown.add_column(field.name, justify="left" if field.name == "kind" else "right", no_wrap=True)
    for one in samples:
        shown.add_row(*(f"{value:.1f}" if isinstance(value, float) else str(value) for value in asdict(one).values()))
    return shown


def verdict(samples: Sequence[Sample], wrong: Sequence[str]) -> tuple[str, int]:
    """The last lines, and the exit code."""
    begin = warm_up(len(samples)) - 1
    later = samples[begin:]
    troubles = [*wrong, *judged(samples)]
    third = max(1, len(later) // 3)
    first, last = (statistics.median(one.resident for one in part) for part in (later[:third], later[-third:]))
    text = (
        f"{len(samples)} audits, {sum(one.code != 0 for one in samples)} with another exit code than 0; judged from "
        f"audit {later[0].audit} on: resident memory {slope(later):+.3f} MiB an audit (bound {MOST_SLOPE}), median of "
        f"the first third {first:.1f} MiB, of the last {last:.1f} MiB"
    )
    if not troubles:
        exact = ", ".join(f"{name} {getattr(later[-1], name)}" for name in EXACT)
        return f"{text}\nflat: {exact}, as they were", 0
    return "\n".join((text, *(f"NOT FLAT: {one}" for one in troubles))), 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hardening.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--audits", type=int, default=100, help="how many (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("build/soak.json"), help="JSON file (default %(default)s)")
    chosen = parser.parse_args(arguments)
    if chosen.audits < FEWEST:
        parser.error(f"--audits: expected at least {FEWEST}, so that something is left to judge")
    output = chosen.output.absolute()
    output.parent.mkdir(parents=True, exist_ok=True)
    show = Console(file=sys.stdout, width=170)
    samples, wrong = soak(chosen.audits, show)
    rest = samples[len(samples) - 1 - (len(samples) - 1) % _EVERY :]
    show.print(table(rest, f"Audits {rest[0].audit} to {rest[-1].audit} of {chosen.audits}"))
    text, code = verdict(samples, wrong)
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads_of_python": threading.active_count(),
        "slope_mib_an_audit": round(slope(samples[warm_up(len(samples)) - 1 :]), 4),
        "bound": MOST_SLOPE,
        "flat": not code,
        "verdict": text.splitlines(),
        "samples": [asdict(one) for one in samples],
    }
    write_atomically(output, (json.dumps(document, indent=1) + "\n").encode())
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())

"""One target in a process of its own: inputs tried, defects kept with what reproduces them, lines counted."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlaudit.errors import TlauditError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType

    from .documents import Mutation

CRASHES, CORPUS, SEEDS, STATE, LINES = "crashes", "corpus", "seeds", "state.json", "lines.json"
MEMORY, SCRATCH = Path("/dev/shm"), "tlaudit-fuzz-"
_OURS = "/tlaudit/"
_PAUSE = 0.2
_MOST_COMPLAINTS = 5000
_WHAT = re.compile(r"'[^']*'|\"[^\"]*\"|[-+]?\d[\w.+-]*|/\S+")
_ROUND_TRIPS = 4300
"""Digits of a number that Python turns to text of its own accord; what changes inputs is not held to it."""


class Runner:
    """Tries inputs.

    Attributes:
        tried: How many.
        ends: How they ended, by where they were refused or how far they came.
        crashes: File of each kind of defect, by its signature.
        slowest: Seconds of the slowest input, of this process's own time.
        complaints: What the tool said, names and numbers taken out; a few thousand at most.
    """

    def __init__(self, read: Callable[[bytes], str], folder: Path) -> None:
        self._read, self._folder = read, folder
        self._written = 0.0
        self.tried = 0
        self.ends: Counter[str] = Counter()
        self.crashes: dict[str, str] = {}
        self.slowest = 0.0
        self.complaints: set[str] = set()

    def __call__(self, data: bytes) -> None:
        """Try an input; a defect is kept, and the fuzzing goes on."""
        self.tried += 1
        begun = time.process_time()
        try:
            end = self._read(data)
        except TlauditError as error:
            end = f"refused in {_place(error)}"
            if len(self.complaints) < _MOST_COMPLAINTS:
                self.complaints.add(_WHAT.sub("…", str(error))[:80])
        except Exception as error:  # noqa: BLE001 - whatever else is raised is what is looked for
            end = "DEFECT"
            self._keep(data, error)
        self.ends[end] += 1
        self.slowest = max(self.slowest, time.process_time() - begun)
        if time.monotonic() - self._written > _PAUSE:
            self.write()

    def _keep(self, data: bytes, error: Exception) -> None:
        signature = _signature(error)
        if signature in self.crashes:
            return
        folder = self._folder / CRASHES
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{type(error).__name__}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        path.with_name(f"{path.name}.txt").write_text(
            "".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace"
        )
        self.crashes[signature] = str(path)
        self.write()

    def write(self) -> None:
        """Write what was counted, because the fuzzer ends the process without a word."""
        self._written = time.monotonic()
        state = {"tried": self.tried, "ends": self.ends, "crashes": self.crashes, "slowest": self.slowest}
        state["complaints"] = len(self.complaints)
        path = self._folder / STATE
        path.with_suffix(".new").write_text(json.dumps(state), encoding="utf-8")
        path.with_suffix(".new").replace(path)


def _place(error: BaseException) -> str:
    """The innermost function of the tool that an error passed through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _OURS in frame.filename]
    return f"{Path(frames[-1].filename).stem}.{frames[-1].name}" if frames else "no place"


def _signature(error: BaseException) -> str:
    """What tells one kind of defect from another: its type, where it was raised, where it left the tool."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _OURS in frame.filename]
    places = [f"{Path(frame.filename).name}:{frame.name}:{frame.lineno}" for frame in (*ours[-1:], *frames[-1:])]
    told = re.sub(r"\d+", "N", str(error))[:60] if not ours else ""
    return " ".join((type(error).__name__, *dict.fromkeys(places), told)).strip()


def fuzz(name: str, folder: Path, seconds: int, seed: int) -> None:
    """Fuzz a target; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["tlaudit"]):
        from .targets import TARGETS
    _instrument(atheris.instrument_func)
    from .oracle import Watch

    runner = Runner(TARGETS[name](_place_to_work(), Watch()).read, folder)

    def by_bytes(data: bytes, most: int) -> bytes:
        # Looked up anew each time: it is another function once the fuzzer runs.
        return bytes(atheris.Mutate(data, most))

    mutate = _mutation(name, folder, by_bytes)

    def mutated(data: bytes, most: int, number: int) -> bytes:
        # No more than this is written, and the tool keeps the limit that users have.
        sys.set_int_max_str_digits(0)
        try:
            return mutate(data, most, random.Random(number))[:most]
        finally:
            sys.set_int_max_str_digits(_ROUND_TRIPS)

    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-artifact_prefix={folder / CRASHES}/",
        f"-dict={folder / 'dictionary'}",
        "-rss_limit_mb=6000",
        "-timeout=60",
        "-max_len=65536",
        "-len_control=0",
        "-print_final_stats=1",
        str(folder / CORPUS),
        str(folder / SEEDS),
    ]
    atheris.Setup(arguments, runner, custom_mutator=mutated)
    atheris.Fuzz()


def _place_to_work() -> Path:
    """A folder in memory where there is one: thousands of files are written, and none is kept."""
    pid = os.getpid()
    prefix = f"{SCRATCH}{os.environ.get('TLAUDIT_FUZZ_RUN', pid)}-{pid}-"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if MEMORY.is_dir() else None))


def clear_scratch() -> None:
    """Remove what processes of this run, and any that are gone, worked in; they are ended without being asked."""
    for path in (MEMORY if MEMORY.is_dir() else Path(tempfile.gettempdir())).glob(f"{SCRATCH}*"):
        # The run, and its process; each ends with a dash.
        pids = [int(pid) for pid in re.findall(r"-(\d+)(?=-)", path.name)]
        if os.getpid() in pids[:1] or (pids and not any(map(_is_there, pids))):
            shutil.rmtree(path, ignore_errors=True)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _instrument(instrumented: Callable[[Any], Any]) -> None:
    """Watch the branches of what parses in Python outside of the tool: no more of torch than its safe unpickler."""
    for name in ("torch._weights_only_unpickler", "tomllib._parser"):
        module = importlib.import_module(name)
        for holder in (module, *(one for one in vars(module).values() if isinstance(one, type))):
            for function in list(vars(holder).values()):
                if getattr(function, "__module__", None) == name and hasattr(function, "__code__"):
                    instrumented(function)


def _mutation(name: str, folder: Path, by_bytes: Callable[[bytes, int], bytes]) -> Mutation:
    from .archives import checkpoint_mutation
    from .documents import json_mutation, toml_mutation

    seeds = [path.read_bytes() for path in sorted((folder / SEEDS).iterdir())]
    if name == "checkpoint":
        return checkpoint_mutation(seeds, by_bytes)
    words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    if name == "report":
        return json_mutation(_valid(seeds, json.loads), words, by_bytes)
    import tomllib

    return toml_mutation(_valid(seeds, lambda seed: tomllib.loads(seed.decode())), words, by_bytes)


def _valid(seeds: Iterable[bytes], parse: Callable[[bytes], object]) -> list[bytes]:
    """Seeds that can be parsed; inputs of earlier defects need not be."""
    found = []
    for seed in seeds:
        try:
            parse(seed)
        except (ValueError, RecursionError):
            continue
        found.append(seed)
    return found


def count_lines(name: str, folder: Path, seconds: int) -> None:
    """Count the lines of functions that the seeds, and then the whole corpus, come by; at least so many."""
    from .oracle import Watch
    from .targets import TARGETS

    target = TARGETS[name](_place_to_work(), Watch())
    there = {module: _lines_of(module) for module in target.modules}
    reached: dict[str, set[int]] = {str(importlib.import_module(module).__file__): set() for module in there}
    runner, until, replayed = Runner(target.read, folder / "replay"), time.monotonic() + seconds, 0
    (folder / "replay").mkdir(exist_ok=True)
    found: dict[str, Any] = {"lines": sum(map(len, there.values()))}
    for kind in (SEEDS, CORPUS):
        for path in sorted((folder / kind).iterdir()):
            if time.monotonic() > until:
                break
            _traced(runner, path.read_bytes(), reached)
            replayed += 1
        found[kind] = _within(there, reached)
    (folder / LINES).write_text(json.dumps({**found, "replayed": replayed}), encoding="utf-8")


def _within(there: dict[str, set[int]], reached: dict[str, set[int]]) -> int:
    files = {module: str(importlib.import_module(module).__file__) for module in there}
    return sum(len(lines & reached[files[module]]) for module, lines in there.items())


def _traced(runner: Runner, data: bytes, reached: dict[str, set[int]]) -> None:
    def local(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "line":
            reached[frame.f_code.co_filename].add(frame.f_lineno)
        return local

    def entered(frame: FrameType, _event: str, _argument: object) -> Any:
        return local if frame.f_code.co_filename in reached else None

    sys.settrace(entered)
    try:
        runner(data)
    finally:
        sys.settrace(None)


def _lines_of(module: str) -> set[int]:
    """Lines of the functions of a module; what runs at its import is not counted."""
    path = Path(str(importlib.import_module(module).__file__))
    lines: set[int] = set()
    waiting: list[tuple[CodeType, bool]] = [(compile(path.read_bytes(), str(path), "exec"), False)]
    while waiting:
        code, counts = waiting.pop()
        if counts:
            lines |= {line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno}
        for one in code.co_consts:
            # The body of a class runs at import, its functions do not.
            waiting += [(one, bool(one.co_flags & inspect.CO_OPTIMIZED))] if inspect.iscode(one) else []
    return lines

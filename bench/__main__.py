"""All measurements in one run: one table on stdout, one JSON file.

    python -m bench                 # all of them, in about a quarter of an hour
    python -m bench --quick         # shows that they work, in a few minutes
    python -m bench --only cka --only erosion

Each measurement has a process of its own. One that fails leaves a row that says so, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tlaudit.files import write_atomically

from .apart import FailedError, call
from .options import Options
from .rows import Comparison, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

MEASUREMENTS = {
    "lingering": "the whole check, beside bare forward passes and Pillow",
    "decoding": "files to pixels, beside torchvision's DataLoader and Pillow",
    "attribution": "Grad-CAM, beside pytorch-grad-cam, captum and a bare forward pass",
    "distraction": "the whole check, beside the forward passes it needs",
    "erosion": "the whole check, beside bare forward passes",
    "cka": "similarity of all stages, beside torch_cka and bare forward passes",
    "repair": "steps of the methods, beside plain finetuning",
    "intervals": "bootstrap, beside scipy",
    "startup": "the time until anything happens",
    "scaling": "how cost grows with images, classes, stages",
    "memory": "what a run takes, and what each image adds",
    "processes": "one process and several",
    "cache": "the second run beside the first",
    "choices": "precision, memory format, batch size, workers",
}
"""One file of this folder each, with a ``measure(options)`` that gives rows; the order is that of the table."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="small networks, few images, one round: figures mean little"
    )
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, metavar="NAME", help="repeatable: %(choices)s")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default auto)")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"), help="JSON file (default %(default)s)")
    chosen = parser.parse_args(arguments)
    options = Options(quick=chosen.quick, device=chosen.device)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "arguments": {"quick": chosen.quick, "only": chosen.only, "device": chosen.device},
        "machine": call("machine", "facts", device=chosen.device).value,
        "load_before": _load(),
    }
    rows: list[Row] = []
    failed: list[str] = []
    for name in [name for name in MEASUREMENTS if chosen.only is None or name in chosen.only]:
        started = time.perf_counter()
        try:
            found = call("measured", "rows", name=name, **asdict(options)).value
            rows += [Row.from_json(row) for row in found]
        except FailedError as error:
            rows.append(Row(name, MEASUREMENTS[name], absent=f"failed: {error}"))
            failed.append(name)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        # After each, so that nothing is lost of a run that is stopped.
        document |= {"load_after": _load(), "failed": failed, "rows": [row.as_json() for row in rows]}
        write_atomically(chosen.output, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
    _show(document, rows)
    return 1 if failed else 0


def _load() -> float | None:
    """Programs that wanted a core in the last minute, on average."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _show(document: dict[str, Any], rows: Sequence[Row]) -> None:
    table = Table(title="Ratio: how many times as fast, or as small, ours is; median (range) of rounds that took turns")
    for heading in ("measurement", "what", "unit"):
        table.add_column(heading, no_wrap=True)
    table.add_column("ours", justify="right", no_wrap=True)
    for heading in ("peer", "bound"):
        table.add_column(heading, no_wrap=True)
        table.add_column("ratio", no_wrap=True)
    before = None
    for row in rows:
        if row.measurement != before:
            table.add_section()
        name = row.measurement if row.measurement != before else ""
        before = row.measurement
        ours = "-" if row.ours is None else _number(row.ours)
        what = row.what if row.absent is None else f"{row.what}: {row.absent}"
        table.add_row(name, what, row.unit, ours, *_cells(row.peer), *_cells(row.bound))
    # A file or pipe has no width, and lines that are broken at 80 characters cannot be read.
    console = Console(width=None if sys.stdout.isatty() else 240)
    console.print(table)
    machine = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in document["machine"].items())
    console.print(f"{machine}; load {document['load_before']} before, {document['load_after']} after", highlight=False)


def _cells(other: Comparison | None) -> tuple[str, str]:
    if other is None:
        return "", ""
    if other.value is None or other.ratio is None:
        return f"{other.name}: {other.absent}", "-"
    spread = "" if other.low == other.high else f" ({other.low:.2f} to {other.high:.2f})"
    return f"{other.name}: {_number(other.value)}", f"{other.ratio:.2f}{spread}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())

"""`python -m hardening.fuzzing fuzz|lines TARGET FOLDER SECONDS SEED`: what `hardening.fuzz` starts apart."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from . import runner

what, name, folder, seconds, seed = sys.argv[1:]
if what == "fuzz":
    runner.fuzz(name, Path(folder), int(seconds), int(seed))
else:
    runner.count_lines(name, Path(folder), int(seconds))

"""The house stands as drawn: who may import whom, and which rooms never see torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "tlaudit"

FLOORS = [
    {"__main__"},
    {"cli"},
    {"api", "demo"},
    {"auditing", "screen", "repair", "scaffold"},
    {"checks"},
    {"training"},
    {"cache", "comparison", "measure", "models", "data", "policy"},
    {"comparable", "distributed", "documents"},
    {"comparisons"},
    {"verdicts"},
    {"config", "files", "results"},
    {"exhibits", "meeting", "options"},
    {"failures", "metrics", "toml_lines"},
    {"errors", "progress", "quoting", "reading", "records"},
]
REPORTS_SEE = {"results", "verdicts", "comparisons", "exhibits", "records", "errors", "quoting", "reports"}
STRANGERS_MAY_SHARE = {
    "checks": {
        "asking",
        "assembly",
        "base",
        "compared",
        "followed",
        "probed",
        "kept_features",
        "profile",
        "remembered",
        "composed",
        "explained",
        "gallery",
        "judged",
        "measured",
        "prevalence",
        "recognition",
        "survey",
        "tally",
        "target_task",
        "vocabulary",
        "vocabulary_distraction",
        "vocabulary_erosion",
        "vocabulary_stress",
    },
    "repair": {
        "base",
        "candidate",
        "ground",
        "judge",
        "judgement",
        "places",
        "task",
        "told",
        "trainer",
        "vocabulary",
    },
    "reports": {
        "drawing",
        "figures",
        "markdown",
        "marks",
        "next_steps",
        "pages",
        "plain_words",
        "sections",
        "separated",
        "terminal",
        "wording",
    },
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Modules imported anywhere in the file, each with whether it is imported when the file is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef)
        or (isinstance(outer, ast.If) and ast.unparse(outer.test) == "TYPE_CHECKING")
        for node in ast.walk(outer)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in late) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(f"{node.module}.{alias.name}", id(node) not in late) for alias in node.names]
    return found


def floor(name: str) -> int:
    return next((number for number, rooms in enumerate(FLOORS) if name in rooms), -1)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downward(path):
    here = room(path)
    for name, _ in imports(path):
        parts = name.split(".")
        if parts[0] != "tlaudit" or here == "__init__":
            continue
        there = parts[1]
        if here == "reports":
            assert there in REPORTS_SEE, f"{path.name} imports {name}: reports see results only"
        elif there == "reports":
            assert here == "cli", f"{path.name} imports {name}: only the command line renders"
        elif there != here:
            assert floor(here) < floor(there), f"{path.name} ({here}) imports {name}, which is not below it"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_siblings_are_strangers(path):
    here = room(path)
    if here not in STRANGERS_MAY_SHARE or path.stem == "__init__":
        return
    for name, _ in imports(path):
        parts = name.split(".")
        if parts[:2] == ["tlaudit", here] and len(parts) > 2:
            siblings = {p.stem for p in (PACKAGE / here).glob("*.py")}
            # `stress.py` and `stress_runs.py` are one check in two files.
            named = {s for s in {parts[2]} & siblings if s.split("_")[0] != path.stem.split("_")[0]}
            assert named <= STRANGERS_MAY_SHARE[here], f"{path.name} imports its sibling {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_one_room_reads_checkpoints(path):
    source = path.read_text(encoding="utf-8")
    if path.name != "checkpoint.py":
        assert "torch.load(" not in source
    if path.name != "checkpoint.py" and room(path) != "cache":
        assert "safetensors" not in {name.split(".")[0] for name, _ in imports(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem not in {"utils", "helpers", "common", "manager"}
    assert "click" not in {name.split(".")[0] for name, _ in imports(path)}


@pytest.mark.parametrize(
    "module",
    [
        "tlaudit",
        "tlaudit.cli.app",
        "tlaudit.config",
        "tlaudit.options",
        "tlaudit.results",
        "tlaudit.reports",
        "tlaudit.policy",
        "tlaudit.documents",
        "tlaudit.comparison",
    ],
)
def test_starts_without_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

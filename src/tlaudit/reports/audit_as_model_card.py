"""Model card: what model hubs read in front, and the audit as a section for people.

The block between the lines ``---`` is that of a card's ``README.md``: tags, and a ``model-index`` with the measured
numbers. Hubs take accuracy as a fraction, 0.9 and not 90 (so the cards that their training tools write), and so are all
shares here. In the text shares stand in percent, as everywhere in tlaudit. A card is published: files and folders are
named without the path to them, in sentences of the report too (`audit_without_paths`).
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from tlaudit.quoting import quoted
from tlaudit.reports import audit_without_paths, markdown, plain_words, wording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tlaudit.results import AuditReport, CheckResult, DataRecord, Measurement

SUFFIX = ".card.md"

_TASK = {"type": "image-classification", "name": "Image Classification"}
_TAGS = ["image-classification", "transfer-learning", "tlaudit"]
_WEIGHTS = {".pt", ".pth", ".th", ".ckpt", ".safetensors"}
_KEYS = {
    "tags",
    "pipeline_tag",
    "metrics",
    "model-index",
    "name",
    "results",
    "task",
    "type",
    "dataset",
    "args",
    "value",
}
"""Keys that need no quotes: hubs' own."""

_HELD_OUT = "val"


def render(report: AuditReport, rows: int) -> str:  # noqa: ARG001 - a card has no long tables
    """Write metadata block and section; `rows` is not needed."""
    block = "\n".join(_yaml(_metadata(report), ""))
    return f"---\n{block}\n---\n\n" + "\n\n".join(_section(report)) + "\n"


def _metadata(report: AuditReport) -> dict[str, Any]:
    """What a hub reads; numbers that were not measured are not in it."""
    results = list(_results(report))
    found: dict[str, Any] = {"tags": _TAGS, "pipeline_tag": _TASK["type"]}
    if any(metric["type"] == "accuracy" for result in results for metric in result["metrics"]):
        found["metrics"] = ["accuracy"]
    if results:
        found["model-index"] = [{"name": _name(report.subject), "results": results}]
    return found


def _results(report: AuditReport) -> Iterator[dict[str, Any]]:
    """One entry for the accuracy on held-out images, and one for each check that measured something."""
    for result, measurement in _accuracy(report):
        entry = {"type": "accuracy", "name": "Accuracy", "value": measurement.value}
        held_out = {role: one for role, one in result.provenance.data.items() if role == _HELD_OUT}
        yield {"task": _TASK, "dataset": _dataset(held_out), "metrics": [entry]}
    for result in report.checks:
        metrics = [
            {"type": m.name, "name": wording.visible(m.meaning), "value": m.value}
            for m in _headline(result)
            if m.value is not None and m.name != plain_words.VALIDATION
        ]
        if metrics:
            looked_at = {role: one for role, one in result.provenance.data.items() if role != _HELD_OUT}
            yield {"task": _TASK, "dataset": _dataset(looked_at), "metrics": metrics}


def _accuracy(report: AuditReport) -> list[tuple[CheckResult, Measurement]]:
    """The accuracy on the target task, from the first check that measured it."""
    found = [
        (result, m)
        for result in report.checks
        for m in result.measurements
        if m.name == plain_words.VALIDATION and m.value is not None
    ]
    return found[:1]


def _dataset(data: dict[str, DataRecord]) -> dict[str, Any]:
    """Images as a hub's data set: its type is an id there, for which the folder's name has to serve."""
    name = " + ".join(dict.fromkeys(_name(one.path, parents=1) for one in data.values())) or "images"
    args = {role: {"images": one.images, "fingerprint": wording.visible(one.fingerprint)} for role, one in data.items()}
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "images"
    return {"type": slug, "name": name} | ({"args": args} if args else {})


def _headline(result: CheckResult) -> list[Measurement]:
    return [result[name] for name in result.headline]


def _name(path: str, parents: int = 0) -> str:
    """The last parts of a path, without the suffix of weights."""
    parts = [part for part in PurePath(path.replace("\\", "/")).parts if part not in {"/", ".", ".."}]
    if not parts:
        return "images"
    last = PurePath(parts[-1])
    parts[-1] = last.stem if last.suffix.lower() in _WEIGHTS else last.name
    return wording.visible("/".join(parts[-1 - parents :]))


def _section(report: AuditReport) -> Iterator[str]:
    word, sentence = wording.VERDICTS[report.verdict]
    bare = audit_without_paths.of(report)
    yield markdown.heading("Transfer-learning audit", 2)
    yield f"**{word}.** {sentence} {markdown.text(bare(report.summary))}"
    answers = [(question, bare(answer)) for question, answer in map(_answer, report.checks)]
    yield from markdown.bullets("What was asked, and what was found", answers, 3)
    measured = [m for m in _told(report) if m.value is not None]
    if measured:
        yield markdown.heading("Numbers", 3)
        levels = {m.interval.confidence for m in measured if m.interval}
        share = f"{100 * levels.pop():g} % " if len(levels) == 1 else ""
        yield markdown.measurements(measured, f"{share}interval")
    yield from markdown.bullets("Limits", (("", line) for line in dict.fromkeys(map(bare, _limits(report)))), 3)
    yield from markdown.bullets("How it was made", _making(report, bare), 3)


def _answer(result: CheckResult) -> tuple[str, str]:
    """The question a check answers, and its answer."""
    if result.failure is not None:
        return plain_words.question(result.check), f"This could not be found out: {result.failure}"
    return plain_words.question(result.check), f"{wording.VERDICTS[result.verdict][0]}. {result.summary}"


def _told(report: AuditReport) -> list[Measurement]:
    """Accuracy first, then what each check shows first; each once."""
    shown = [m for _, m in _accuracy(report)] + [m for result in report.checks for m in _headline(result)]
    return list({m.name: m for m in shown}.values())


def _limits(report: AuditReport) -> Iterator[str]:
    """What was not measured and why, what was not looked at, and what a reader has to know."""
    for check, reason in report.left_out.items():
        yield f"{plain_words.question(check)} Not asked ({check}): {reason}"
    for result in report.checks:
        if result.failure is None:
            yield from wording.absences(result)
        yield from (f.message for f in result.findings if f.severity != "info")
        for role, data in result.provenance.data.items():
            if data.skipped:
                yield f"{role} images: {len(data.skipped)} of {data.images + len(data.skipped)} could not be read"
            if data.images + len(data.skipped) < data.available:
                yield f"{role} images: a sample of {data.images + len(data.skipped)} of {data.available}"


def _making(report: AuditReport, bare: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """What the numbers depend on; each network and set of images once."""
    first = report.checks[0].provenance
    version = first.versions.get("tlaudit", "of an unknown version")
    yield "tool", f"tlaudit {version}, seed {first.seed}, {first.precision} on {first.device}"
    yield "date", report.run.started_at
    networks = (pair for result in report.checks for pair in result.provenance.models.items())
    for role, model in dict(networks).items():
        digest = f"SHA-256 {model.sha256}" if model.sha256 else "no SHA-256"
        what = f"{_name(model.spec)}, {bare(model.architecture)}, {model.num_classes} classes"
        yield f"network ({role})", f"{what}, {digest}"
    images = (pair for result in report.checks for pair in result.provenance.data.items())
    for role, data in dict(images).items():
        yield f"images ({role})", f"{_name(data.path, parents=1)}, {data.images} images, fingerprint {data.fingerprint}"


def _yaml(given: Any, indent: str) -> Iterator[str]:
    """Write mappings, lists, strings and numbers as YAML that its versions 1.1 and 1.2 read alike."""
    if isinstance(given, dict):
        for name, one in given.items():
            key = name if name in _KEYS else quoted(name)
            if isinstance(one, dict | list):
                yield f"{indent}{key}:"
                yield from _yaml(one, indent + "  " * isinstance(one, dict))
            else:
                yield f"{indent}{key}: {_scalar(one)}"
        return
    for one in given:
        first, *rest = _yaml(one, f"{indent}  ") if isinstance(one, dict) else [_scalar(one)]
        yield f"{indent}- {first.strip()}"
        yield from rest


def _scalar(given: object) -> str:
    """Text between quotes, a number so that it is read as one."""
    if isinstance(given, str):
        return quoted(given)
    text = repr(given)
    # 1e-05 is a string to YAML 1.1, which wants a point.
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text

"""What is fuzzed: an input is read and used as far as it goes, and held to what was promised of it."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ET
import zlib
from datetime import date
from typing import TYPE_CHECKING, Protocol

import torch

import compared
import gated
import tiny
from tlaudit import comparison
from tlaudit.config import load_policy, load_settings
from tlaudit.documents import read_report, read_result, report_of, source_classes
from tlaudit.errors import CheckpointError, ConfigError, ReportError, TlauditError, UsageError
from tlaudit.models.checkpoint import read_checkpoint
from tlaudit.models.sources import load_model
from tlaudit.options import Settings
from tlaudit.policy import decide, explain, load
from tlaudit.reports import COMPARISON_FORMATS, FORMATS, VERDICT_FORMATS
from tlaudit.verdicts import Verdict

from .oracle import demand, demand_finite, demand_in_range

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tlaudit.documents import Report
    from tlaudit.models.checkpoint import Checkpoint
    from tlaudit.reports import Format
    from tlaudit.results import AuditReport, CheckResult

    from .oracle import Watch

TODAY = date(2026, 6, 1)
_PAGE_OF = 32
"""One in so many documents is also made a page, which costs more than all the rest."""
_NAMED = 5
_FEW = 8


class Target(Protocol):
    """Reads an input.

    `read` says how far it came; what the tool refuses leaves it as one of the tool's own errors, everything else is a
    defect. `modules` are those whose lines are counted.
    """

    modules: tuple[str, ...]

    def __init__(self, folder: Path, watch: Watch) -> None: ...

    def read(self, data: bytes) -> str: ...


class Checkpoints:
    """A checkpoint file: read, its keys unwrapped, its architecture found, the network built."""

    modules = (
        *("tlaudit.models." + name for name in ("checkpoint", "unwrap", "metadata", "architecture", "detection")),
        *("tlaudit.models." + name for name in ("fitting", "construction", "blueprint", "sources")),
        "torch._weights_only_unpickler",
    )

    def __init__(self, folder: Path, watch: Watch) -> None:
        self._folder, self._watch = folder, watch
        # What is made once for all networks is made now, and not while somebody looks for what an input does.
        first = folder / "first.pth"
        torch.save(tiny.own(2).state_dict(), first)
        load_model(first, arch=tiny.OWN)
        with_unknown_keys = folder / "unknown.pth"
        torch.save({"nobody.knows": torch.zeros(1)}, with_unknown_keys)
        for spec in (first, with_unknown_keys):
            try:
                load_model(spec)
            except CheckpointError:
                continue

    def read(self, data: bytes) -> str:
        mark = zlib.crc32(data)
        path = self._folder / f"a{self._suffix(data, mark)}"
        path.write_bytes(data)
        use_ema = mark % 8 == 0
        with self._watch.looking():
            found = read_checkpoint(path, use_ema=use_ema)
        self._demand_weights(found, data)
        with self._watch.looking():
            model = load_model(path, arch=self._arch(found, mark), use_ema=use_ema)
        for name, tensor in model.module.state_dict().items():
            finite = bool(torch.isfinite(tensor).all())
            demand(finite or name in model.record.non_finite, f"{name} is not finite and the record does not say so")
        demand(model.record.num_classes >= 1, "a network without classes")
        demand_finite(model.record)
        return "a network"

    @staticmethod
    def _arch(found: Checkpoint, mark: int) -> str | None:
        """None to have it found; of few tensors only now and then, because then all networks are compared with them."""
        looked_for = "stem.0.weight" not in found.state and (len(found.state) > _FEW or mark % 32 == 2)
        return None if looked_for else tiny.OWN

    @staticmethod
    def _suffix(data: bytes, mark: int) -> str:
        """The ending that fits the content; of one in thirty-two files the other."""
        usual = ".safetensors" if data[8:9] == b"{" else ".pth"
        return usual if mark % 32 else {".pth": ".safetensors", ".safetensors": ".pth"}[usual]

    @staticmethod
    def _demand_weights(found: Checkpoint, data: bytes) -> None:
        demand(found.sha256 == hashlib.sha256(data).hexdigest(), "the hash is of something else")
        demand(not found.blocked, f"loaded although it asks for {found.blocked}")
        demand(bool(found.readings) and all(reading.state for reading in found.readings), "accepted without weights")
        for reading in found.readings:
            for key, tensor in reading.state.items():
                demand(isinstance(key, str), f"a key that is {type(key).__name__}")
                demand(isinstance(tensor, torch.Tensor), f"{key} is {type(tensor).__name__}, no tensor")
                usual = tensor.layout == torch.strided and not (
                    tensor.is_quantized or tensor.is_meta or tensor.is_complex() or tensor.is_nested
                )
                demand(usual and tensor.device.type == "cpu", f"{key} holds no plain numbers")
                _demand_inside(key, tensor)
        names = found.classes
        demand(names is None or (bool(names) and all(isinstance(one, str) for one in names)), f"classes {names!r}")
        if found.preprocessing is not None:
            demand_finite(found.preprocessing)
            demand_in_range(found.preprocessing)


def _demand_inside(key: str, tensor: torch.Tensor) -> None:
    """Demand that every number of a tensor lies in its storage."""
    if not tensor.numel():
        return
    last = tensor.storage_offset() + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    held = tensor.untyped_storage().nbytes() // tensor.element_size()
    demand(tensor.storage_offset() >= 0 and min(tensor.stride(), default=0) >= 0, f"{key} begins before its storage")
    demand(last < held, f"{key} reaches beyond its storage: number {last} of {held}")


class Reports:
    """A JSON report: read, written and read again, judged by the policy, compared with another, shown."""

    modules = (
        *("tlaudit." + name for name in ("documents", "results", "records", "verdicts", "exhibits", "comparable")),
        *("tlaudit.policy." + name for name in ("evidence", "expected", "conditions", "judging", "deciding")),
        *("tlaudit.comparison." + name for name in ("told", "candidates", "agreement", "axes", "board", "change")),
        *("tlaudit.comparison." + name for name in ("ranking", "front", "tables", "charts", "classes")),
    )

    def __init__(self, folder: Path, watch: Watch) -> None:
        self._path, self._again, self._watch = folder / "report.json", folder / "again.json", watch
        self._policy = load(found=False)
        self._before = report_of(gated.an_audit(gated.flips(0.1), *compared.a_study()["small"].checks[:1]))
        self._other = compared.a_study()["small"]
        for table in (FORMATS, VERDICT_FORMATS, COMPARISON_FORMATS):
            for form in table.values():
                form.render(_SAMPLES[id(table)](), _NAMED)

    def read(self, data: bytes) -> str:
        self._path.write_bytes(data)
        try:
            with self._watch.looking():
                report = read_report(self._path)
        except ReportError:
            raise
        except TlauditError as error:
            raise AssertionError(f"read_report raised {type(error).__name__}, documented is ReportError") from error
        for result in report.results:
            demand_finite(result)
            self._again.write_text(result.to_json(), encoding="utf-8")
            with self._watch.looking():
                again = read_result(self._again)
            demand(again == result, f"{result.check}: written and read again it is another")
        mark = zlib.crc32(data)
        with self._watch.looking():
            came = [self._classes(report), self._judged(report, mark), self._compared(report, mark)]
            _shown(FORMATS, mark, report.results[0])
        return f"a report; {', '.join(one for one in came if one)}"

    @staticmethod
    def _classes(report: Report) -> str:
        for result in report.results:
            if result.check == "lingering":
                try:
                    classes = source_classes(result)
                except UsageError:
                    return ""
                demand([one.index for one in classes] == list(range(len(classes))), "classes out of order")
                return "classes"
        return ""

    def _judged(self, report: Report, mark: int) -> str:
        before = self._before if mark % 2 else None
        try:
            verdict = decide(self._policy, [report], before, None, today=TODAY, first_release=before is None)
        except (UsageError, ReportError):
            return ""
        _demand_verdict(verdict)
        _shown(VERDICT_FORMATS, mark, verdict)
        return f"judged: {verdict.outcome}"

    def _compared(self, report: Report, mark: int) -> str:
        other = self._other if mark % 4 == 0 else _of_another_network(report.results)
        try:
            found = comparison.compare({"one": self._path, "other": other})
        except (UsageError, ReportError):
            return ""
        demand_finite(found)
        demand(type(found).model_validate_json(found.to_json()) == found, "the comparison is read back as another")
        _shown(COMPARISON_FORMATS, mark, found)
        return "compared"


def _of_another_network(results: tuple[CheckResult, ...]) -> AuditReport:
    """The same numbers about another network."""
    checks = []
    for result in results:
        told = {
            role: model.model_copy(update={"sha256": "e" * 64, "spec": "other.pth"}) if role == "finetuned" else model
            for role, model in result.provenance.models.items()
        }
        checks.append(result.model_copy(update={"provenance": result.provenance.model_copy(update={"models": told})}))
    return gated.an_audit(*checks)  # type: ignore[no-any-return]


def _demand_verdict(verdict: Verdict) -> None:
    demand_finite(verdict)
    demand(verdict.exit_code in {0, 1, 3}, f"exit code {verdict.exit_code}")
    demand(Verdict.model_validate_json(verdict.to_json()) == verdict, "the verdict is read back as another")


def _shown(table: dict[str, Format], mark: int, document: Any) -> None:
    """Write a document in one of its formats, and read what machines read."""
    plain = [name for name in table if name != "html"]
    name = "html" if mark % _PAGE_OF == 1 else plain[mark % len(plain)]
    text = table[name].render(document, _NAMED)
    if name in {"json", "sarif"}:
        json.loads(text)
    if name == "junit":
        ET.fromstring(text)
    text.encode()


_SAMPLES = {
    id(FORMATS): lambda: compared.a_study()["small"].checks[0],
    id(VERDICT_FORMATS): lambda: decide(
        load(found=False), [report_of(gated.flips())], None, None, today=TODAY, first_release=True
    ),
    id(COMPARISON_FORMATS): lambda: comparison.compare(compared.a_study()),
}


class Policies:
    """A configuration file: read alone and under a command line, its rules explained and held against reports."""

    modules = (
        *("tlaudit." + name for name in ("config", "toml_lines")),
        *("tlaudit.options." + name for name in ("base", "checks", "audit", "policy", "repair", "training")),
        *("tlaudit.policy." + name for name in ("rules", "conditions", "judging", "explaining", "wording", "subjects")),
    )
    _OVER: tuple[dict[str, dict[str, Any]], ...] = (
        {},
        {"lingering": {"v_lo": 0.1}, "preprocess": {"resize": 64}},
        {"stress.training": {"optimizer": "adamw", "epochs": 2}, "execution": {"seed": 1}},
        {"screen": {"threshold": 0.3}, "data": {"limit": 3}},
    )

    def __init__(self, folder: Path, watch: Watch) -> None:
        self._folder, self._watch = folder, watch
        study = compared.a_study()
        self._reports = [report_of(gated.an_audit(gated.flips(), *study["small"].checks[:1]))]
        self._before = report_of(gated.an_audit(gated.flips(0.1), *study["small"].checks[:1]))

    def read(self, data: bytes) -> str:
        mark = zlib.crc32(data)
        path = self._folder / ("pyproject.toml" if b"[tool" in data or mark % 16 == 0 else "tlaudit.toml")
        path.write_bytes(data)
        try:
            with self._watch.looking():
                settings = load_settings({}, path)
        except ConfigError:
            raise
        except TlauditError as error:
            raise AssertionError(f"load_settings raised {type(error).__name__}, documented is ConfigError") from error
        demand_finite(settings)
        demand_in_range(settings)
        demand(Settings.model_validate(settings.model_dump(exclude_unset=True)) == settings, "read back as another")
        with self._watch.looking():
            over = self._over(path, mark)
            written = load_policy(path)
        demand((written is None) == (settings.policy is None), "the policy is there for one reader only")
        return f"settings{over}; {self._judged(path, mark) if written is not None else 'no rules'}"

    def _over(self, path: Path, mark: int) -> str:
        try:
            over = load_settings(self._OVER[mark % len(self._OVER)], path)
        except ConfigError:
            return ""
        demand_finite(over)
        demand_in_range(over)
        return ", also under a command line"

    def _judged(self, path: Path, mark: int) -> str:
        policy = load(path)
        text = path.read_bytes().decode("utf-8-sig").count("\n") + 1
        demand(len(policy.lines) == len(policy.rules) == policy.source.rules, "lines and rules do not agree")
        demand(all(1 <= line <= text for line in policy.lines), f"rules at lines {policy.lines} of {text}")
        demand(list(policy.lines) == sorted(policy.lines), "rules out of order")
        before = self._before if mark % 2 else None
        with self._watch.looking():
            try:
                verdict = decide(policy, self._reports, before, None, today=TODAY, first_release=before is None)
            except (UsageError, ReportError):
                return "not judged"
            _demand_verdict(verdict)
            for rule in policy.rules[:3]:
                demand(bool(explain(policy, rule.name, verdict, TODAY).strip()), "a rule without an explanation")
            _shown(VERDICT_FORMATS, mark, verdict)
        return f"judged: {verdict.outcome}"


TARGETS: dict[str, type[Target]] = {"checkpoint": Checkpoints, "report": Reports, "policy": Policies}

"""Reports and policies to judge, made by hand."""

from __future__ import annotations

import json
from datetime import date

from samples import a_model, a_result
from tlaudit.results import AuditReport, Column, Interval, Measurement, Table

FINETUNED = "c" * 64
TODAY = date(2026, 6, 1)
FLIPS = "distraction.flip_rate"


def number(name, value=None, n=900, low=None, high=None, absent=None, unit="share", better="lower"):
    """A measurement; absent without a value."""
    interval = None if low is None else Interval(low=low, high=high, method="bootstrap")
    given = {"value": value, "absent": None if value is not None else absent or "there was nothing to measure"}
    given |= {
        "interval": interval,
        "interval_absent": "counted in full" if value is not None and not interval else None,
    }
    return Measurement(name=name, meaning=f"What {name} is.", unit=unit, better=better, n=n, **given)


def a_check(
    check, *measurements, sha256=FINETUNED, source="5" * 64, version="0.1.0", tables=None, failure=None, options=None
):
    """The result of a check about a finetuned network."""
    plain = a_result()
    models = {
        "source": a_model().model_copy(update={"spec": "source.pth", "sha256": source}),
        "finetuned": a_model().model_copy(update={"spec": f"{sha256[:1] if sha256 else 'no'}.pth", "sha256": sha256}),
    }
    told = {"models": models, "versions": {"tlaudit": version}, "options": options or plain.provenance.options}
    return plain.model_copy(
        update={
            "check": check,
            "headline": (),
            "measurements": measurements,
            "tables": tables or {},
            "findings": (),
            "failure": failure,
            "provenance": plain.provenance.model_copy(update=told),
        }
    )


def flips(value=0.134, **about):
    """A result of `tlaudit distraction` that says how often answers flip."""
    known = {key: about.pop(key) for key in ("sha256", "source", "version", "options") if key in about}
    return a_check("distraction", number("distraction.flip_rate", value, **about), **known)


def of_source_alone(result):
    """The same as a result that names no finetuned network, as that of a stress test."""
    models = {"source": result.provenance.models["source"]}
    return result.model_copy(update={"provenance": result.provenance.model_copy(update={"models": models})})


def a_repair(before="b" * 64, **after):
    """A result of `tlaudit repair`: how often answers flip before, and after each method, whose hash is given."""
    names = ("name", "file", "sha256")
    rows = [{"name": "before", "file": None, "sha256": None}]
    rows += [{"name": method, "file": f"{method}.pth", "sha256": sha256} for method, sha256 in after.items()]
    columns = tuple(Column(name=name, unit="text", meaning="M.") for name in names)
    numbers = [number(f"repair.{name}.flip_rate", 0.01 + 0.1 * i) for i, name in enumerate((*after, "before"))]
    tables = {"pareto": Table(title="Networks", columns=columns, rows=tuple(rows), brief=names)}
    return a_check("repair", *numbers, sha256=before, tables=tables)


def an_audit(*checks, left_out=None):
    """What an audit found."""
    return AuditReport(
        subject="finetuned.pth",
        verdict="concern",
        summary="It was audited.",
        checks=checks,
        left_out=left_out or {},
        run=checks[0].run,
    )


def a_policy(folder, *rules, name="tlaudit.toml"):
    """A policy file; a rule is a dict of its keys, ``waive`` the last day."""
    blocks = []
    for keys in rules:
        plain = {"metric": "distraction.flip_rate", **keys}
        waive = plain.pop("waive", None)
        blocks += ["[[policy.rules]]", *(f"{key} = {json.dumps(value)}" for key, value in plain.items())]
        blocks += [f'waive = {{ until = {waive}, reason = "a known weakness" }}'] if waive else []
    path = folder / name
    path.write_text("\n".join(blocks) + "\n", encoding="utf-8")
    return path


def only(verdict):
    """The one ruling of a verdict."""
    (ruling,) = verdict.rulings
    return ruling

"""An audit and a comparison with all a page can show, hostile names among them."""

from __future__ import annotations

from samples import HOSTILE_NAMES, a_distraction, a_measurement, a_model, a_result
from samples_verdict import a_failed_check, a_source
from tlaudit.comparisons import Candidate, Comparison
from tlaudit.exhibits import Lines, Scatter
from tlaudit.results import AuditReport, CheckResult, Column, Finding, Table

WHY = "the driver ran out of memory; give a lower --batch-size"
SHARED = Finding(code="lineage.far", severity="warning", message="The two networks are further apart than siblings.")


def a_lingering() -> CheckResult:
    """A concern, with a control and accuracy on the target task."""
    plain = a_result()
    models = {"source": a_model(), "finetuned": a_model().model_copy(update={"spec": "models/cats.pth"})}
    linger = a_measurement("lingering.fraction", "Lingering classes.", "share", "lower", 0.9444, 0.742, 0.99)
    control = a_measurement("control.lingering_fraction", "Control.", "share", "lower", 0.0, 0.0, 0.176)
    kept = a_measurement("lingering.pooled_retention", "Retention.", "ratio", "lower", 0.8941, 0.84, 0.945)
    accuracy = a_measurement("target.accuracy", "Accuracy.", "share", "higher", 0.9833, 0.941, 0.995)
    scratch = a_measurement("baseline.target_accuracy", "Accuracy.", "share", "higher", 0.95, 0.895, 0.977)
    return plain.model_copy(
        update={
            "summary": "17 of 18 tested source-only classes linger.",
            "headline": (linger.name, kept.name),
            "measurements": (linger, control, kept, accuracy, scratch),
            "findings": (SHARED, *plain.findings),
            "provenance": plain.provenance.model_copy(update={"models": models}),
        }
    )


def an_audit() -> AuditReport:
    """Two concerns and a check that failed; one was left out."""
    distraction = a_distraction()
    distraction = distraction.model_copy(update={"findings": (*distraction.findings, SHARED)})
    failed = a_failed_check(WHY).model_copy(update={"findings": (SHARED,)})
    return AuditReport(
        subject=f"models/{HOSTILE_NAMES[0]}.pth",
        verdict="concern",
        summary="Two of three checks found something to act on, one could not be made.",
        checks=(a_lingering(), distraction, failed),
        left_out={"stress": "there is no section [stress] in tlaudit.toml"},
        run=a_result().run,
    )


def a_side_by_side() -> Comparison:
    """Four candidates of two architectures; one has a hostile name and no accuracy."""
    names = ("resnet18 on 500", "resnet18 on 2000", HOSTILE_NAMES[0], "vgg11 on 2000")
    architectures = ("resnet18", "resnet18", "vgg11", "vgg11")
    rows = [
        {
            "rank": str(place + 1),
            "candidate": name,
            "architecture": architectures[place],
            "target_images": 500 if place % 2 == 0 else 2000,
            "distraction.flip_rate": 0.12 + 0.06 * place,
            "low": 0.10 + 0.06 * place,
            "high": 0.15 + 0.06 * place,
            "target.accuracy": None if name == HOSTILE_NAMES[0] else 0.93 + 0.01 * place,
            "on_front": place in {0, 3},
        }
        for place, name in enumerate(names)
    ]
    units = {"distraction.flip_rate": "share", "low": "share", "high": "share", "target.accuracy": "share"}
    units |= {"target_images": "images"}
    columns = tuple(Column(name=name, unit=units.get(name, "text"), meaning=f"The {name}.") for name in rows[0])
    ranking = Table(
        title="Ranking",
        columns=columns,
        rows=tuple(rows),
        worst=tuple(range(len(rows))),
        brief=tuple(name for name in rows[0] if name not in {"low", "high"}),
    )
    changes = Table(
        title="Changes",
        columns=columns[1:3],
        rows=tuple({"candidate": row["candidate"], "architecture": row["architecture"]} for row in rows[1:]),
        brief=("candidate", "architecture"),
    )
    front = Scatter(
        title="Accuracy and distraction",
        reading="To the right and down is better.",
        table="ranking",
        x="target.accuracy",
        y="distraction.flip_rate",
        name="candidate",
        group="architecture",
        labelled=True,
    )
    sizes = Lines(
        title="Over the size of the training set",
        reading="Lower is better.",
        table="ranking",
        x="target_images",
        y="distraction.flip_rate",
        group="architecture",
        low="low",
        high="high",
    )
    return Comparison(
        summary="resnet18 on 500 flips least; it is told apart from all others.",
        candidates=tuple(
            Candidate(
                name=name, source=a_source(f"{place}.json"), architecture=kind, target_images=500 if place else None
            )
            for place, (name, kind) in enumerate(zip(names, architectures, strict=True))
        ),
        reference=names[0],
        ranked_by="distraction.flip_rate",
        axes=("target.accuracy", "distraction.flip_rate"),
        tables={"ranking": ranking, "changes": changes},
        charts=(front, sizes),
        findings=(Finding(code="compare.precision", severity="info", message="One was run in bf16."),),
    )

"""Sample records, built once for all formats."""

from __future__ import annotations

from tlaudit.results import (
    CheckResult,
    Column,
    DataRecord,
    Finding,
    Interval,
    KeyMatch,
    Measurement,
    ModelRecord,
    Provenance,
    Run,
    SkippedImage,
    Table,
)

HOSTILE = "<b>|mug"


def a_model() -> ModelRecord:
    return ModelRecord(
        spec="a.pth",
        format="pth",
        sha256="0" * 64,
        architecture="squeezenet1_1",
        family="squeezenet",
        head="classifier.1",
        num_classes=3,
        parameters=10,
        dtype="float32",
        keys=KeyMatch(matched=50, ignored=("loss.weight",)),
        classes_known=False,
    )


def a_result() -> CheckResult:
    names = ("class_name", "n", "hybrid_probability", "absent")
    rows = (
        {"class_name": "espresso", "n": 4, "hybrid_probability": 0.123456789012345, "absent": None},
        {"class_name": HOSTILE, "n": 7, "hybrid_probability": 0.5, "absent": None},
        {"class_name": "cat", "n": 0, "hybrid_probability": None, "absent": "no image"},
    )
    fraction = Measurement(
        name="lingering.fraction",
        meaning="Share of classes.",
        unit="share",
        better="lower",
        value=0.25,
        n=8,
        interval=Interval(low=0.1, high=0.5, method="Wilson score"),
    )
    accuracy = Measurement(
        name="target.accuracy", meaning="Accuracy.", unit="share", better="higher", absent="no validation images", n=0
    )
    skipped = SkippedImage(file="x/a.jpg", reason="truncated")
    data = DataRecord(
        path="images", fingerprint="f" * 64, images=11, folders=2, available=12, other_files=1, skipped=(skipped,)
    )
    return CheckResult(
        check="lingering",
        verdict="concern",
        headline=("lingering.fraction", "target.accuracy"),
        summary="2 of 8 classes linger.",
        measurements=(fraction, accuracy),
        tables={
            "classes": Table(
                title="Lingering classes",
                columns=tuple(
                    Column(name=n, unit="probability" if "prob" in n else "text", meaning="M.") for n in names
                ),
                rows=rows,
                worst=(1, 0),
                brief=("class_name", "hybrid_probability"),
            )
        },
        findings=(Finding(code="lineage.unrelated", severity="warning", message="Not a child of this source."),),
        provenance=Provenance(
            models={"source": a_model()},
            backbone=KeyMatch(matched=48),
            data={"source": data},
            options={"k": 5},
            seed=0,
            precision="fp32",
            device="cpu",
            versions={"tlaudit": "0.1.0"},
        ),
        run=Run(started_at="2026-01-01T00:00:00+00:00", seconds=1.5, command="tlaudit", batch_size=8, workers=0),
    )

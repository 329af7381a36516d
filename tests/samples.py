"""Sample records, built once for all formats."""

from __future__ import annotations

import base64
import io

from PIL import Image, ImageDraw

from tlaudit.exhibits import Exhibit, Level, Picture, Scatter
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

HOSTILE_NAMES = (
    "<img src=x onerror=alert(1)>",
    "<b>x</b>",
    '<a href="javascript:1">y</a>',
    "</script><script>alert(2)</script>",
    "\"'><svg onload=alert(3)>",
    "%{x} &amp; {{ 7*7 }} <br>",
    "\u202egnp.exe\u2028next",
)
"""Class names that try to be something else: elements, attributes, templates of the page or of a chart."""


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


def a_picture(number: int, label: str, caption: str) -> Picture:
    """A small gradient with a square on it, another one for each number."""
    width = 160
    image = Image.merge(
        "RGB",
        [
            Image.linear_gradient("L").rotate(90 * (number + turn)).resize((width, width)).point(lambda v: v * 3 // 4)
            for turn in range(3)
        ],
    )
    left = 10 + 13 * number % 90
    ImageDraw.Draw(image).rectangle((left, 60, left + 50, 110), outline="white", width=2)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return Picture(
        label=label, caption=caption, alt=f"{label}: {caption}", jpeg=base64.b64encode(buffer.getvalue()).decode()
    )


def an_exhibit(number: int, name: str, group: str) -> Exhibit:
    words = {
        "composite": f"{name} + cat",
        "source map": f"explains {name}",
        "finetuned map": "dog 0.91, wrong",
        "baseline map": "cat 0.67, right",
        "occluded": "cat 0.74, right",
    }
    pictures = tuple(a_picture(number + turn, *each) for turn, each in enumerate(words.items()))
    text = f"Distraction of the finetuned network 0.{70 - number}, of the baseline 0.31."
    return Exhibit(group=group, title=f"{name}, with cat on it", text=text, pictures=pictures)


def a_measurement(
    name: str, meaning: str, unit: str, better: str, value: float, low: float, high: float
) -> Measurement:
    interval = Interval(low=low, high=high, method="bootstrap over classes, 2000 resamples")
    return Measurement(name=name, meaning=meaning, unit=unit, better=better, value=value, n=40, interval=interval)


def distraction_table(names: tuple[str, ...]) -> Table:
    """One row a class; every third one is a common class, the last has no number."""
    rows = []
    for index, name in enumerate(names):
        common = index % 3 == 2
        finetuned = (0.24 if common else 0.42) + 0.003 * (index * 37 % 61)
        baseline = 0.2 + 0.002 * (index * 53 % 67)
        seen = index < len(names) - 1
        rows.append(
            {
                "class_index": index,
                "class_name": name,
                "role": "common" if common else "lingering",
                "n": 100 if seen else 0,
                "finetuned_distraction": finetuned if seen else None,
                "baseline_distraction": baseline if seen else None,
                "excess": finetuned - baseline if seen else None,
                "null": 0.29 + 0.0005 * index if seen else None,
                "accuracy": 1 - finetuned / 2 if seen else None,
                "absent": None if seen else "all maps are dead",
            }
        )
    units = {"class_name": "text", "role": "text", "absent": "text", "class_index": "index", "n": "images"}
    units |= {"accuracy": "share"}
    ranked = sorted(range(len(rows)), key=lambda i: -(rows[i]["excess"] or -1))
    lingering = [index for index in ranked if rows[index]["role"] == "lingering"]
    return Table(
        title="Distraction by class",
        columns=tuple(
            Column(name=name, unit=units.get(name, "overlap"), meaning=f"The {name.replace('_', ' ')} of the class.")
            for name in rows[0]
        ),
        rows=tuple(rows),
        worst=tuple(lingering[:20]),
        brief=("class_name", "role", "n", "finetuned_distraction", "baseline_distraction", "excess", "accuracy"),
    )


def a_distraction() -> CheckResult:
    """A result with all a report can show, hostile names among its sixty classes."""
    names = (*HOSTILE_NAMES, *(f"class {number}" for number in range(len(HOSTILE_NAMES), 60)))
    mean = a_measurement("distraction.mean", "Overlap with the source's map.", "overlap", "lower", 0.5142, 0.497, 0.531)
    null = a_measurement("distraction.null_mean", "What chance gives.", "overlap", "neither", 0.3071, 0.3, 0.314)
    excess = a_measurement(
        "distraction.excess_over_baseline",
        "Distraction above the from-scratch network's, paired over classes.",
        "overlap",
        "lower",
        0.2463,
        0.2281,
        0.2649,
    )
    above = a_measurement(
        "distraction.share_above_baseline", "Classes that distract more.", "share", "lower", 0.975, 0.871, 0.996
    )
    composites = Measurement(
        name="distraction.composites",
        meaning="Composites that were looked at.",
        unit="images",
        better="neither",
        value=4000,
        n=40,
        interval_absent="counted in full",
    )
    recovery = Measurement(
        name="distraction.occlusion_recovery",
        meaning="Wrong composites that become right with the source's top pixels filled.",
        unit="share",
        better="neither",
        absent="no composite was wrong",
        n=0,
    )
    findings = (
        Finding(code="data.few_images", severity="info", message="Some classes have fewer than 5 images."),
        Finding(code="class.odd", severity="warning", message=f"The class {HOSTILE_NAMES[0]} has a dead map."),
    )
    chart = Scatter(
        title="Distraction, class by class",
        reading="One dot a source class. Above the diagonal the finetuned network looks at it more than a network that "
        "never saw it; at the dashed line it looks no more than chance has it.",
        table="classes",
        x="baseline_distraction",
        y="finetuned_distraction",
        name="class_name",
        group="role",
        diagonal=True,
        levels=(Level(axis="y", value=0.307, label="null 0.307"),),
    )
    exhibits = (
        *(an_exhibit(number, names[number], "Most distracting classes") for number in range(4)),
        *(an_exhibit(number, f"class {8 + 3 * number}", "Control: classes the target shows") for number in range(2)),
    )
    plain = a_result()
    model = a_model()
    models = {
        "source": model,
        "finetuned": model.model_copy(update={"spec": f"models/{HOSTILE_NAMES[1]}.pth", "num_classes": 2}),
        "baseline": model.model_copy(update={"spec": "scratch.pth", "num_classes": 2}),
    }
    return plain.model_copy(
        update={
            "check": "distraction",
            "summary": "40 lingering classes distract the finetuned network by 0.246 more than the from-scratch one.",
            "headline": tuple(m.name for m in (mean, excess, above, null, recovery)),
            "measurements": (mean, null, excess, above, composites, recovery),
            "tables": {"classes": distraction_table(names), "lineage": plain.tables["classes"]},
            "charts": (chart,),
            "exhibits": exhibits,
            "findings": findings,
            "provenance": plain.provenance.model_copy(update={"models": models}),
            "run": plain.run.model_copy(
                update={"command": f"tlaudit distraction --finetuned 'models/{HOSTILE_NAMES[0]}.pth' --seed 0"}
            ),
        }
    )

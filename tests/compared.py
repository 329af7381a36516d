"""Audits to compare: records of the same images and definitions, each of another network."""

from __future__ import annotations

from samples import a_model, a_result
from tlaudit.results import (
    AuditReport,
    CheckResult,
    Column,
    DataRecord,
    Interval,
    KeyMatch,
    Measurement,
    Preprocessing,
    Provenance,
    Table,
)

OPTIONS = {
    "lingering": {"k": 5, "v_lo_count": 1, "p_lo": 0.25, "bootstrap": 2000, "confidence": 0.95},
    "distraction": {
        "per_class": 100,
        "max_classes": None,
        "class_choice": "worst",
        "common_classes": 20,
        "overlay_scale": 0.4,
        "overlays": 1000,
        "margin": 0.0,
        "percentile": 80.0,
        "method": "gradcam",
        "layer": "features.12",
        "gallery": 12,
        "bootstrap": 2000,
        "confidence": 0.95,
        "lingering.k": 5,
        "lingering.v_lo_count": 1,
        "lingering.p_lo": 0.25,
    },
    "erosion": {
        "stages": "features.2, features.12",
        "features": "pooled",
        "full_matrix": False,
        "probe": False,
        "minibatch": 64,
        "bootstrap": 2000,
        "confidence": 0.95,
    },
}
CLASSES = ("cup", "espresso", "tusker", "crane", "crane")


def data(role: str, images: int = 1000, fingerprint: str | None = None, **more: object) -> DataRecord:
    given = {"path": role, "fingerprint": fingerprint or f"{role:-<64}", "images": images, "folders": 2}
    return DataRecord(**{**given, "available": images, "other_files": 0, **more})


def preprocessing(resize: int = 256, crop: int = 224) -> Preprocessing:
    half = (0.5, 0.5, 0.5)
    return Preprocessing(
        resize=resize, crop=crop, interpolation="bilinear", mean=half, std=half, origin="the weights' metadata"
    )


def provenance(
    check: str, network: str = "small", architecture: str = "squeezenet1_1", images: int = 1000
) -> Provenance:
    model = a_model().model_copy(update={"preprocessing": preprocessing(), "num_classes": len(CLASSES)})
    finetuned = model.model_copy(
        update={"spec": f"{network}.pth", "sha256": f"{network:0<64}", "architecture": architecture, "num_classes": 2}
    )
    return Provenance(
        models={"source": model, "finetuned": finetuned, "baseline": finetuned.model_copy(update={"sha256": "b" * 64})},
        backbone=KeyMatch(matched=48),
        data={
            "source": data("source", 24, labels="l" * 64),
            "target": data("target", images, f"{network:t<64}"),
            "val": data("val", 200),
        },
        options={**OPTIONS[check], "limit": None, "strict_data": False},
        seed=0,
        precision="fp32",
        device="cpu",
        versions={"tlaudit": "0.1.0", "torch": "2.7.0"},
    )


def measured(
    name: str,
    value: float | None,
    width: float | None = 0.1,
    better: str = "lower",
    *,
    unit: str = "share",
    confidence: float = 0.95,
    n: int = 40,
) -> Measurement:
    """A measurement whose interval reaches so far to both sides; without a width it has none."""
    given = {
        "name": name,
        "meaning": f"The {name}.",
        "unit": unit,
        "better": better,
        "n": n if value is not None else 0,
    }
    if value is None:
        return Measurement(**given, absent="no validation images")
    if width is None:
        return Measurement(**given, value=value, interval_absent="too few values")
    interval = Interval(low=value - width, high=value + width, confidence=confidence, method="Wilson score")
    return Measurement(**given, value=value, interval=interval)


def classes_table(probabilities: list[float | None], names: tuple[str, ...] = CLASSES, p_lo: float = 0.25) -> Table:
    """What `tlaudit lingering` says of the source classes."""
    columns = ("class_index", "class_name", "status", "n", "prevalence", "hybrid_probability")
    rows = [
        {
            "class_index": index,
            "class_name": name,
            "status": "untested" if value is None else "lingering" if value > p_lo else "forgotten",
            "n": 0 if value is None else 6,
            "prevalence": 0,
            "hybrid_probability": value,
        }
        for index, (name, value) in enumerate(zip(names, probabilities, strict=True))
    ]
    return Table(
        title="Lingering classes",
        columns=tuple(Column(name=name, unit="text", meaning="M.") for name in columns),
        rows=tuple(rows),
        brief=("class_name",),
    )


def lingering(
    network: str = "small",
    fraction: float | None = 0.4,
    accuracy: float | None = 0.9,
    *,
    width: float | None = 0.1,
    architecture: str = "squeezenet1_1",
    images: int = 1000,
    probabilities: tuple[float | None, ...] = (0.9, 0.1, 0.5, 0.05, None),
    names: tuple[str, ...] = CLASSES,
) -> CheckResult:
    return a_result().model_copy(
        update={
            "headline": ("lingering.fraction",),
            "measurements": (
                measured("lingering.fraction", fraction, width),
                measured("hybrid.mean_probability", 0.3, 0.1, unit="probability"),
                measured("hybrid.source_top1", 0.25, 0.05, "neither"),
                measured("target.accuracy", accuracy, 0.01, "higher", n=200),
            ),
            "tables": {"classes": classes_table(list(probabilities), names)},
            "charts": (),
            "findings": (),
            "provenance": provenance("lingering", network, architecture, images),
        }
    )


def distraction(
    network: str = "small",
    excess: float | None = 0.2,
    *,
    width: float | None = 0.02,
    architecture: str = "squeezenet1_1",
    images: int = 1000,
) -> CheckResult:
    classes = Measurement(
        name="distraction.classes", meaning="C.", unit="classes", better="neither", value=2, n=2, interval_absent="all"
    )
    return a_result().model_copy(
        update={
            "check": "distraction",
            "headline": ("distraction.excess_over_baseline",),
            "measurements": (classes, measured("distraction.excess_over_baseline", excess, width, unit="overlap")),
            "tables": {},
            "charts": (),
            "findings": (),
            "provenance": provenance("distraction", network, architecture, images),
        }
    )


def erosion(network: str = "small", cka: float = 0.8, *, architecture: str = "squeezenet1_1") -> CheckResult:
    made = provenance("erosion", network, architecture)
    images = {"data": data("data", 64), "source": data("source", 24, labels="l" * 64)}
    measurements = (
        measured("erosion.cka.min", cka, 0.05, "higher", unit="cka"),
        measured("erosion.source_accuracy_before", 0.7, 0.05, "neither"),
    )
    return a_result().model_copy(
        update={
            "check": "erosion",
            "headline": ("erosion.cka.min",),
            "measurements": measurements,
            "tables": {},
            "charts": (),
            "findings": (),
            "provenance": made.model_copy(update={"data": images}),
        }
    )


def changed(result: CheckResult, **provenance: object) -> CheckResult:
    """The result with parts of its provenance replaced; options, data and models are added to."""
    for key in ("options", "data", "models"):
        if key in provenance:
            provenance[key] = {**getattr(result.provenance, key), **provenance[key]}
    return result.model_copy(update={"provenance": result.provenance.model_copy(update=provenance)})


def audit(*results: CheckResult) -> AuditReport:
    first = results[0]
    return AuditReport(
        subject=first.provenance.models["finetuned"].spec,
        verdict="concern",
        summary="Something.",
        checks=results,
        run=first.run,
    )


def a_study() -> dict[str, AuditReport]:
    """Three sizes of a training set: distraction falls, and the last two are not told apart."""
    return {
        "small": audit(
            lingering("small", 0.6, 0.9, images=100, probabilities=(0.9, 0.8, 0.5, 0.3, None)),
            distraction("small", 0.3, images=100),
        ),
        "medium": audit(
            lingering("medium", 0.4, 0.95, images=1000, probabilities=(0.8, 0.1, 0.6, 0.1, None)),
            distraction("medium", 0.1, images=1000),
        ),
        "large": audit(
            lingering("large", 0.3, 0.94, images=10000, probabilities=(0.7, 0.1, 0.3, 0.1, None)),
            distraction("large", 0.09, images=10000),
        ),
    }

"""The model card: a block that hubs can read, whatever things are called, and a section for people."""

from __future__ import annotations

import re

import pytest
import yaml
from huggingface_hub import ModelCard

from samples import HOSTILE_NAMES, a_distraction, a_measurement, a_result
from tlaudit.reports import AUDIT_FORMATS
from tlaudit.reports.audit_as_model_card import SUFFIX, render
from tlaudit.results import AuditReport, CheckResult, DataRecord, Measurement

ODD = 'a "b" \\c\x7f\nü: [x] # \x01\u2028 --- yes'
STRANGE = (*HOSTILE_NAMES, ODD, "null", "1.5", "- a", "---", "no", "2026-01-01", "{a: b}", "!!python/none", "&a *b")


def accuracy(value: float) -> Measurement:
    return a_measurement("target.accuracy", "Validation images got right.", "share", "higher", value, 0.8, 0.999)


def a_val(path: str = "data/pets/val") -> DataRecord:
    return DataRecord(path=path, fingerprint="a" * 64, images=500, folders=2, available=500, other_files=0)


def with_accuracy(value: float = 0.946, path: str = "data/pets/val") -> CheckResult:
    plain = a_result()
    fraction, _ = plain.measurements
    provenance = plain.provenance.model_copy(update={"data": {**plain.provenance.data, "val": a_val(path)}})
    return plain.model_copy(update={"measurements": (fraction, accuracy(value)), "provenance": provenance})


def failed() -> CheckResult:
    plain = a_result()
    absent = Measurement(
        name="erosion.cka.min", meaning="Lowest.", unit="cka", better="higher", absent="the check failed", n=0
    )
    changes = {"check": "erosion", "verdict": "open", "failure": "features are not finite", "measurements": (absent,)}
    return plain.model_copy(
        update={**changes, "headline": ("erosion.cka.min",), "tables": {}, "summary": "It could not be made."}
    )


def an_audit(*checks: CheckResult, **changes: object) -> AuditReport:
    fields = {
        "subject": "models/dogs.safetensors",
        "verdict": "concern",
        "summary": "One check found something to act on.",
        "checks": checks or (with_accuracy(), a_distraction(), failed()),
        "left_out": {"stress": "there is no section [stress]"},
        "run": a_result().run,
    }
    return AuditReport.model_validate({**fields, **changes})


def block(text: str) -> dict:
    front = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return yaml.safe_load(front[1])


def body(text: str) -> str:
    return text.split("\n---\n", 1)[1]


def test_a_hub_reads_the_block():
    card = ModelCard(render(an_audit(), 5))
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.tags == ["image-classification", "transfer-learning", "tlaudit"]
    assert card.data.metrics == ["accuracy"]
    assert card.data.model_name == "dogs"
    first, *others = card.data.eval_results
    assert (first.task_type, first.metric_type, first.metric_value) == ("image-classification", "accuracy", 0.946)
    assert (first.dataset_type, first.dataset_name) == ("pets-val", "pets/val")
    assert first.dataset_args == {"val": {"images": 500, "fingerprint": "a" * 64}}
    named = {result.metric_type: result.metric_value for result in others}
    assert named["lingering.fraction"] == 0.25
    assert named["distraction.excess_over_baseline"] == 0.2463


def test_only_what_was_measured_is_a_number():
    text = render(an_audit(), 5)
    types = [m["type"] for result in block(text)["model-index"][0]["results"] for m in result["metrics"]]
    assert "distraction.occlusion_recovery" not in types
    assert "erosion.cka.min" not in types
    assert types.count("accuracy") == 1
    assert "target.accuracy" not in types
    assert "no composite was wrong" in body(text)
    assert "features are not finite" in body(text)
    assert "there is no section" in body(text)


def test_without_accuracy_none_is_claimed():
    text = render(an_audit(a_result()), 5)
    assert "metrics" not in block(text)
    assert [r["metrics"][0]["type"] for r in block(text)["model-index"][0]["results"]] == ["lingering.fraction"]
    assert "no validation images" in body(text)


def test_an_audit_that_measured_nothing_has_no_model_index():
    text = render(an_audit(failed(), verdict="open"), 5)
    assert block(text) == {
        "tags": ["image-classification", "transfer-learning", "tlaudit"],
        "pipeline_tag": "image-classification",
    }
    assert "### Numbers" not in text
    assert ModelCard(text).data.eval_results is None


@pytest.mark.parametrize("value", [0.946, 1.0, 0.0, 1e-05, 1.5e-07, 1 / 3])
def test_shares_are_fractions_and_numbers_stay_numbers(value):
    result = block(render(an_audit(with_accuracy(value)), 5))["model-index"][0]["results"][0]
    (metric,) = result["metrics"]
    assert metric["value"] == value
    assert isinstance(metric["value"], float)


def test_counts_stay_whole():
    plain = a_result()
    count = plain.measurements[0].model_copy(update={"name": "lingering.count", "unit": "classes", "value": 7})
    result = plain.model_copy(update={"measurements": (count,), "headline": ("lingering.count",)})
    (metric,) = block(render(an_audit(result), 5))["model-index"][0]["results"][0]["metrics"]
    assert metric["value"] == 7
    assert isinstance(metric["value"], int)


@pytest.mark.parametrize("name", STRANGE)
def test_strange_names_stay_text(name):
    source = with_accuracy(path=f"images/{name}")
    finetuned = source.provenance.models["source"].model_copy(update={"spec": f"{name}.pth"})
    skipped = source.provenance.data["source"].model_copy(update={"path": f"{name}/{name}"})
    odd = source.model_copy(
        update={
            "provenance": source.provenance.model_copy(
                update={
                    "models": {"source": finetuned, "finetuned": finetuned},
                    "data": {**source.provenance.data, "source": skipped, name: skipped},
                }
            )
        }
    )
    text = render(an_audit(odd, subject=f"{name}.pth", summary=f"About {name}.", left_out={name: name}), 5)
    index = block(text)["model-index"][0]
    assert isinstance(index["name"], str)
    assert isinstance(index["results"][0]["dataset"]["name"], str)
    assert name in index["results"][1]["dataset"]["args"]
    assert ModelCard(text).data.eval_results
    assert re.fullmatch(r"[A-Za-z0-9._-]+", index["results"][0]["dataset"]["type"])
    assert re.search(r"(?<!\\)<", body(text)) is None
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u2028\u202e]", text)


def test_the_section_says_what_was_asked_and_found():
    text = body(render(an_audit(), 5))
    assert text.lstrip().startswith("## Transfer-learning audit\n\n**Concern.**")
    assert "One check found something to act on." in text
    assert "Does it still recognise things your data never showed?** Concern. 2 of 8 classes linger." in text
    assert "This could not be found out: features are not finite" in text
    assert "| target.accuracy | 94.6 % | 80.0 % to 99.9 % | 40 |" in text
    assert "95 % interval" in text
    assert "1 of 12 could not be read" in text
    assert "Not a child of this source." in text
    assert "\n# " not in text


def test_the_section_says_how_it_was_made():
    text = body(render(an_audit(), 5))
    assert "tlaudit 0.1.0" in text
    assert "2026-01-01" in text
    assert "0" * 64 in text
    assert "f" * 64 in text
    assert "a" * 64 in text


def test_paths_of_the_machine_are_not_published():
    report = an_audit(with_accuracy(path="/home/somebody/secret/pets/val"), subject="/home/somebody/models/dogs.pth")
    text = render(report, 5)
    assert "somebody" not in text
    assert "pets/val" in text
    assert block(render(an_audit(subject="C:\\models\\dogs.pth"), 5))["model-index"][0]["name"] == "dogs"
    assert (
        block(render(an_audit(subject="torchvision:resnet18"), 5))["model-index"][0]["name"] == "torchvision:resnet18"
    )


PLACES = (
    "/home/somebody/models/secret/dogs.pth",
    "/home/somebody/two words/dogs.pth",
    "~somebody/models/dogs.pth",
    "../somebody/models/dogs.pth",
    "C:\\Users\\somebody\\dogs.pth",
    "C:/Users/somebody/dogs.pth",
    "\\\\server\\somebody\\dogs.pth",
    "file:///home/somebody/dogs.pth",
    "somebody/pets/dogs.pth",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("told", ["{}: cannot be read", "torn: {}, and more", "see '{}'.", "at={} (3/4 and/or n / a)"])
def test_sentences_name_no_path(place, told):
    plain, sentence = with_accuracy(), told.format(place)
    finding = plain.findings[0].model_copy(update={"severity": "warning", "message": sentence})
    models = {**plain.provenance.models, "source": plain.provenance.models["source"].model_copy(update={"spec": place})}
    result = plain.model_copy(
        update={
            "summary": sentence,
            "findings": (finding,),
            "provenance": plain.provenance.model_copy(update={"models": models}),
        }
    )
    broken = failed().model_copy(update={"failure": sentence})
    text = render(an_audit(result, broken, summary=sentence, left_out={"stress": sentence}), 5)
    for word in ("somebody", "secret", "two words", "server", "Users"):
        assert word not in text
    assert text.count("dogs.pth") >= 5
    assert ("3/4 and/or n / a" in text) is ("3/4" in told)


def test_paths_that_only_a_sentence_names_are_found_by_their_looks():
    for place in PLACES[:-1]:
        text = render(an_audit(summary=f"Nothing: {place}: torn. See [x] and 1/2, a/b."), 5)
        assert "somebody" not in text
        assert "Nothing: dogs.pth: torn." in text
        assert "and 1/2, a/b." in text


def test_is_a_format_of_audits_and_leaves_md_to_markdown():
    assert AUDIT_FORMATS["model-card"].render is render
    assert AUDIT_FORMATS["model-card"].suffix == SUFFIX == ".card.md"
    assert render(an_audit(), 5) == render(an_audit(), 5)

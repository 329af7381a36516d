"""What may be compared: every definition and image set counts, and the audited network does not."""

from __future__ import annotations

import pytest

from compared import changed, data, distraction, erosion, lingering, preprocessing
from samples import a_result
from tlaudit.comparable import incomparable, remarks


def model(result, role, **fields):
    return changed(result, models={role: result.provenance.models[role].model_copy(update=fields)})


def without(result, role):
    kept = {name: one for name, one in result.provenance.data.items() if name != role}
    return result.model_copy(update={"provenance": result.provenance.model_copy(update={"data": kept})})


def test_another_network_of_another_architecture_and_size_may_be_compared():
    for one in (lingering, distraction):
        assert incomparable(one("small"), one("deep", architecture="resnet18", images=5000)) == []
        assert incomparable(one(), one()) == remarks(one(), one()) == []


def test_other_checks_are_never_compared():
    assert incomparable(lingering(), distraction()) == ["results of other checks: lingering and distraction"]


@pytest.mark.parametrize(
    ("check", "option", "value"),
    [
        (lingering, "k", 1),
        (lingering, "p_lo", 0.5),
        (lingering, "v_lo_count", 9),
        (distraction, "per_class", 10),
        (distraction, "overlay_scale", 0.5),
        (distraction, "percentile", 90.0),
        (distraction, "method", "eigencam"),
        (distraction, "margin", 0.1),
        (distraction, "layer", "features.3"),
        (distraction, "max_classes", 5),
        (distraction, "common_classes", 0),
        (distraction, "lingering.k", 1),
        (distraction, "lingering.p_lo", 0.5),
        (erosion, "features", "flat"),
        (erosion, "minibatch", 32),
        (erosion, "stages", "features.2"),
        (erosion, "something_new", 1),
    ],
)
def test_another_definition_is_a_reason(check, option, value):
    (reason,) = incomparable(check(), changed(check(), options={option: value}))
    assert reason.startswith(f"another {option}: ")
    assert reason.endswith(f" and {value:g}" if isinstance(value, float) else f" and {value}")


@pytest.mark.parametrize(
    ("check", "option", "value", "remark"),
    [
        (lingering, "bootstrap", 500, "other numbers of resamples of bootstrap intervals: 2000 and 500"),
        (lingering, "confidence", 0.9, "intervals of another confidence: 0.95 and 0.9"),
        (lingering, "limit", 10, None),
        (lingering, "strict_data", True, None),
        (distraction, "gallery", 3, None),
        (distraction, "class_choice", "sample", None),
        (distraction, "overlays", 50, "another limit of target images that serve as overlays: 1000 and 50"),
        (lingering, "fuse", True, "batch norms folded into convolutions or not: not stated and True"),
        (lingering, "compile", True, "networks compiled or not: not stated and True"),
        (erosion, "probe", True, None),
        (erosion, "full_matrix", True, None),
    ],
)
def test_what_defines_no_number_is_no_reason(check, option, value, remark):
    other = changed(check(), options={option: value})
    assert incomparable(check(), other) == []
    assert remarks(check(), other) == ([remark] if remark else [])


def test_which_classes_are_sampled_counts_where_not_all_are_taken():
    one = changed(distraction(), options={"max_classes": 5})
    other = changed(one, options={"class_choice": "sample"})
    assert incomparable(one, other) == ["another class_choice: worst and sample"]


def test_stages_and_layer_follow_the_architecture():
    for check, option in ((erosion, "stages"), (distraction, "layer")):
        other = changed(check("deep", architecture="resnet18"), options={option: "layer4"})
        assert incomparable(check(), other) == []


def test_the_default_count_follows_the_target_images():
    def of(count, images):
        return changed(lingering(images=images), options={"v_lo_count": count})

    # 0.1 % of each, rounded down.
    assert incomparable(of(1, 1200), of(25, 25_000)) == []
    assert incomparable(of(0, 999), of(1, 1000)) == []
    assert incomparable(of(1, 1200), of(25, 2500)) == ["another v_lo_count: 1 and 25"]
    assert incomparable(of(1, 1000), of(2, 1000)) == ["another v_lo_count: 1 and 2"]


def test_the_default_threshold_follows_the_source_classes():
    def of(classes, p_lo):
        return changed(model(lingering(), "source", num_classes=classes), options={"p_lo": p_lo})

    # 1.25 times chance of each.
    assert incomparable(of(5, 0.25), of(50, 0.025)) == []
    assert incomparable(of(5, 0.25), of(50, 0.05)) == ["another p_lo: 0.25 and 0.05"]
    assert remarks(of(5, 0.25), of(50, 0.025)) == ["source networks of other classes: 5 and 50"]


@pytest.mark.parametrize(
    ("check", "role", "kind"),
    [
        (lingering, "source", "source"),
        (lingering, "val", "validation"),
        (distraction, "source", "source"),
        (erosion, "data", "compared"),
    ],
)
def test_other_images_are_a_reason(check, role, kind):
    other = changed(check(), data={role: data(role, 12, "f" * 64)})
    (reason,) = incomparable(check(), other)
    assert reason.startswith(f"other {kind} images: ")
    assert f"12 of {role} (ffffffffffff)" in reason


def test_the_same_images_under_other_classes_are_a_reason():
    other = changed(lingering(), data={"source": data("source", 24, labels="m" * 64)})
    (reason,) = incomparable(lingering(), other)
    assert "other classes of the same source images" in reason
    unlabelled = changed(lingering(), data={"source": data("source", 24)})
    assert incomparable(lingering(), unlabelled) == []


def test_images_that_one_has_not_are_no_reason():
    assert incomparable(lingering(), without(lingering(), "val")) == []


def test_images_of_the_target_task_and_draws_may_differ():
    other = changed(
        distraction(images=5000), data={"overlays": data("o", 5, "1" * 64), "composites": data("c", 9, "2" * 64)}
    )
    one = changed(distraction(), data={"overlays": data("o", 5, "3" * 64), "composites": data("c", 9, "4" * 64)})
    assert incomparable(one, other) == []


def test_compared_images_stand_in_for_source_images_where_those_tell_the_accuracy():
    stands_in = without(erosion(), "source")
    (reason,) = incomparable(erosion(), stands_in)
    assert reason.startswith("other source images: 24 of source")
    silent = stands_in.model_copy(update={"measurements": stands_in.measurements[:1]})
    assert incomparable(erosion(), silent) == []


def test_stress_counts_its_training_images_and_schedule():
    def stress(**more):
        options = {"square": 0.125, "training.epochs": 3, "bisect": None, "plasticity": False, "ratios": "0, 1"}
        made = {"training": data("training", 80, "a" * 64), "test": data("test", 20, "b" * 64)}
        result = without(without(without(lingering(), "source"), "target"), "val")
        provenance = result.provenance.model_copy(update={"options": options, "data": made})
        return changed(result.model_copy(update={"check": "stress", "provenance": provenance}), **more)

    assert incomparable(stress(), stress(options={"plasticity": True, "bisect": 0.1})) == []
    both = (stress(options={"bisect": 0.1}), stress(options={"bisect": 0.2}))
    assert incomparable(*both) == ["another bisect: 0.1 and 0.2"]
    assert incomparable(stress(), stress(options={"training.epochs": 9})) == ["another training.epochs: 3 and 9"]
    assert incomparable(stress(), stress(data={"training": data("training", 70, "c" * 64)}))[0].startswith(
        "other training images: 80"
    )


def test_how_networks_were_repaired_is_what_is_compared():
    def repair(**options):
        given = {"training.epochs": 3, "ldifs.weight": 10.0, "judge.per_class": 5, "judge.probe": "a", "lingering.k": 5}
        result = changed(lingering().model_copy(update={"check": "repair"}))
        made = result.provenance.model_copy(update={"options": {**given, **options}})
        return result.model_copy(update={"provenance": made})

    assert incomparable(repair(), repair(**{"training.epochs": 9, "ldifs.weight": 1.0, "judge.probe": "b"})) == []
    assert remarks(repair(), repair(**{"ldifs.weight": 1.0})) == ["networks made with another ldifs.weight: 10 and 1"]
    assert incomparable(repair(), repair(**{"judge.per_class": 9})) == ["another judge.per_class: 5 and 9"]
    assert incomparable(repair(), repair(**{"lingering.k": 9})) == ["another lingering.k: 5 and 9"]


def test_a_threshold_that_was_calibrated_follows_the_images():
    def screen(threshold, origin):
        result = lingering().model_copy(update={"check": "screen"})
        options = {"threshold": threshold, "threshold_origin": origin}
        return result.model_copy(update={"provenance": result.provenance.model_copy(update={"options": options})})

    assert incomparable(screen(0.1, "calibrated"), screen(0.2, "calibrated")) == []
    assert incomparable(screen(0.1, "given"), screen(0.2, "given")) == ["another threshold: 0.1 and 0.2"]


def test_another_preprocessing_of_the_source_network_is_a_reason():
    other = model(lingering(), "source", preprocessing=preprocessing(232))
    (reason,) = incomparable(lingering(), other)
    assert "another preprocessing of the source network: 256 to 224 pixels" in reason
    same = model(lingering(), "source", preprocessing=preprocessing().model_copy(update={"origin": "the options"}))
    assert incomparable(lingering(), same) == []
    elsewhere = model(other, "source", architecture="resnet18")
    assert incomparable(lingering(), elsewhere) == []


def test_accuracies_of_other_tasks_are_not_compared():
    ten = model(lingering(), "finetuned", num_classes=10)
    assert incomparable(lingering(), ten) == ["finetuned networks of other tasks: 2 and 10 classes"]
    assert incomparable(lingering(accuracy=None), ten) == []


def test_remarks_tell_what_may_explain_a_difference():
    one = distraction()
    other = changed(
        model(model(one, "source", sha256="9" * 64), "finetuned", preprocessing=preprocessing(232)),
        precision="bf16",
        device="cuda",
        seed=1,
        versions={"tlaudit": "0.2.0", "torch": "2.7.0"},
        data={"target": data("other", 5, "5" * 64)},
    )
    other = model(other, "baseline", sha256="8" * 64)
    assert incomparable(one, other) == []
    told = "\n".join(remarks(one, other))
    for part in (
        "another precision: fp32 and bf16",
        "another device: cpu and cuda",
        "another seed: 0 and 1",
        "another version of tlaudit: 0.1.0 and 0.2.0",
        "another source network of the same architecture",
        "another from-scratch network of the same architecture",
        "another preprocessing of the finetuned network: 256 to 224 pixels",
        "other target images: 1000 of target",
    ):
        assert part in told
    assert "torch" not in told


def test_remarks_count_the_classes_of_composites():
    fewer = distraction()
    first = fewer.measurements[0].model_copy(update={"value": 1})
    fewer = fewer.model_copy(update={"measurements": (first, *fewer.measurements[1:])})
    assert remarks(distraction(), fewer) == ["composites of each network's own lingering classes: 2 and 1"]


def test_a_check_that_could_not_be_made_has_no_numbers_to_refuse():
    other = changed(lingering(), options={"k": 1})
    nothing = other.model_copy(update={"failure": "no images", "measurements": (), "headline": ()})
    assert incomparable(lingering(), other)
    assert incomparable(lingering(), nothing) == incomparable(nothing, lingering()) == []


def test_a_bare_result_is_compared_with_itself():
    assert incomparable(a_result(), a_result()) == remarks(a_result(), a_result()) == []

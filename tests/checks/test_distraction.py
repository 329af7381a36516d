"""`distraction` against planted readers, a naive reference, and the promises every check makes."""

from __future__ import annotations

import csv
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import readers
import reference
import tiny
from readers import DEFINITIONS, KNOWN, PREPROCESS, SIDE
from tlaudit import CheckResult, distraction, lingering, load_pair
from tlaudit.checks.assembly import assemble
from tlaudit.checks.earlier import read_lingering
from tlaudit.data.composites import CompositeStream
from tlaudit.errors import DataError, UsageError
from tlaudit.models.attribution import Attributor
from tlaudit.options import DataOptions, ExecutionOptions, LingeringOptions, PreprocessTable

EXECUTION = {"device": "cpu", "workers": 0, "batch_size": 7}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return readers.build(tmp_path_factory.mktemp("readers"))


def pair_of(world, finetuned, baseline=None):
    return load_pair(
        world / "source.pth",
        world / f"{finetuned}.pth",
        world / f"{baseline}.pth" if baseline else None,
        arch=tiny.READER,
    )


def audit(world, finetuned="background", baseline="overlay", *, execution=None, target="target", **options):
    pair = pair_of(world, finetuned, baseline)
    common = {"preprocess": options.pop("preprocess", PREPROCESS), "execution": EXECUTION | (execution or {})}
    folders = {"source_data": options.pop("source_data", world / "source"), "target_data": world / target}
    known = options.pop("lingering", None) or lingering(pair, **folders, **common, **DEFINITIONS)
    return distraction(pair, **folders, lingering=known, **common, **({"per_class": 8} | options))


def numbers(result):
    return json.dumps(result.model_dump(mode="json", exclude={"run"}))


@pytest.fixture(scope="module")
def result(world):
    return audit(world)


def test_a_network_that_reads_only_the_background_scores_one_and_one_that_reads_the_overlay_the_null(world, result):
    assert result["distraction.classes"].value == len(KNOWN)
    assert result["distraction.mean"].value == pytest.approx(1, abs=1e-9)
    assert result["distraction.baseline_mean"].value < 0.02
    assert result["distraction.excess_over_baseline"].interval.low > 0.9
    assert result["distraction.share_above_baseline"].value == 1
    assert result["distraction.baseline_wilcoxon_p"].value == pytest.approx(2 / 2 ** len(KNOWN))
    assert result.verdict == "concern"
    swapped = audit(world, "overlay", "background")
    assert abs(swapped["distraction.mean"].value - swapped["distraction.null_mean"].value) < 0.1
    assert swapped["distraction.mean"].value == result["distraction.baseline_mean"].value
    assert swapped["distraction.excess_over_baseline"].interval.high < -0.9
    assert swapped.verdict == "clear"


def test_behaviour_of_the_planted_networks(result):
    """The background reader says the first class whatever lies on top, and on grey it is undecided."""
    assert result["distraction.baseline_composite_accuracy"].value == 1
    assert result["distraction.baseline_grey_accuracy"].value == 1
    assert result["distraction.baseline_flip_rate"].value == 0
    assert result["distraction.baseline_occlusion_recovery"].value is None
    assert "no composite was wrong" in result["distraction.baseline_occlusion_recovery"].absent
    assert 0.3 < result["distraction.composite_accuracy"].value < 0.7
    assert result["distraction.dead_share"].value == result["distraction.source_dead_share"].value


def recomputed(folder, side=SIDE):
    """Each composite's values from the pixels that were written, by loops in double precision."""
    found = {}
    nets = {"source": tiny.source_reader(), "finetuned": tiny.background_reader(), "baseline": tiny.overlay_reader()}
    with (folder / "composites.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        pixels = np.asarray(Image.open(folder / row["file"]))
        assert pixels.shape == (side, side, 3)
        x, y, width, height = (int(row[name]) for name in ("x", "y", "width", "height"))
        region = np.ones((side, side), bool)
        region[y : y + height, x : x + width] = False
        maps = {}
        for role, net in nets.items():
            activation = net.channels(torch.tensor(pixels / 255).float().permute(2, 0, 1)[None])[0].double()
            logits = net.head(activation.mean(dim=(1, 2)).float())
            explained = int(row["class_index"]) if role == "source" else int(logits.argmax())
            weights = net.head.weight[explained].double() / side**2
            maps[role] = torch.relu((weights[:, None, None] * activation).sum(0)).detach().numpy()
        tops = {role: top_of(values, region) for role, values in maps.items()}
        found[row["id"]] = {
            role: reference.overlap(tops[role], tops["source"]) if tops[role] and tops["source"] else math.nan
            for role in ("finetuned", "baseline")
        }
    return found


def top_of(values, region):
    """Top pixels by the naive reference; None of a map that is constant over the region."""
    if np.ptp(values[region]) == 0:
        return None
    return reference.top_pixels(values.ravel().tolist(), region.ravel().tolist(), 80)


def test_agrees_with_reference(world, tmp_path):
    result = audit(world, save_composites=tmp_path / "pictures", save_rows=tmp_path / "rows.csv")
    rows = pd.read_csv(tmp_path / "rows.csv").set_index("id")
    expected = recomputed(tmp_path / "pictures")
    assert len(rows) == len(expected) > 0
    assert set(rows.index) == set(expected)
    for composite, values in expected.items():
        for role, value in values.items():
            assert rows.loc[composite, f"{role}_distraction"] == pytest.approx(value, abs=1e-6, nan_ok=True)
    lingers = rows[rows.kind == "lingering"]
    for role, name in (("finetuned", "distraction.mean"), ("baseline", "distraction.baseline_mean")):
        by_class = lingers.groupby("class_index")[f"{role}_distraction"].mean()
        assert result[name].value == pytest.approx(by_class.mean())
    assert result["distraction.composite_accuracy"].value == pytest.approx(lingers.finetuned_right.astype(bool).mean())
    flips = lingers.finetuned_right_on_grey.astype(bool) & ~lingers.finetuned_right.astype(bool)
    assert result["distraction.flip_rate"].value == pytest.approx(flips.mean())
    tried = lingers.finetuned_right_occluded.dropna()
    assert result["distraction.occlusion_recovery"].value == pytest.approx(tried.astype(bool).mean())
    assert result["distraction.random_recovery"].value == pytest.approx(
        lingers.finetuned_right_random.dropna().astype(bool).mean()
    )
    null = lingers.groupby("class_index")["null"].mean().mean()
    assert result["distraction.null_mean"].value == pytest.approx(null)


def test_rows_are_the_same_in_both_formats(world, tmp_path):
    audit(world, save_rows=tmp_path / "rows.csv")
    audit(world, save_rows=tmp_path / "rows.parquet")
    plain, typed = pd.read_csv(tmp_path / "rows.csv"), pd.read_parquet(tmp_path / "rows.parquet")
    assert list(plain.columns) == list(typed.columns)
    assert typed["finetuned_right"].dtype == bool
    for column in plain:
        assert [str(v) for v in plain[column]] == [str(v) for v in typed[column].replace({None: np.nan})], column


@pytest.mark.slow
def test_batches_workers_and_the_choice_of_classes_do_not_matter(world, result):
    assert numbers(audit(world, execution={"batch_size": 64})) == numbers(result)
    assert numbers(audit(world, execution={"batch_size": 1, "workers": 2})) == numbers(result)
    some = audit(world, max_classes=2, common_classes=1).tables["classes"].rows
    everything = {row["class_index"]: row for row in result.tables["classes"].rows}
    assert len(some) == 3
    assert all(row == everything[row["class_index"]] for row in some)


def test_seed_changes_the_composites(world, result):
    other = audit(world, execution={"seed": 1}, lingering=None)
    assert other["distraction.null_mean"].value != result["distraction.null_mean"].value


def test_survives_json(result):
    assert CheckResult.model_validate_json(result.to_json()) == result


def test_every_measurement_says_unit_direction_and_n(result):
    for measurement in result.measurements:
        assert measurement.unit
        assert measurement.better in {"lower", "higher", "neither"}
        assert measurement.value is None or measurement.n > 0


@pytest.mark.parametrize("fails", [False, True])
def test_leaves_everything_as_it_was(world, monkeypatch, fails):
    pair = pair_of(world, "background", "overlay")
    known = lingering(
        pair, world / "source", world / "target", preprocess=PREPROCESS, execution=EXECUTION, **DEFINITIONS
    )
    modules = [model.module for model in (pair.source, pair.finetuned, pair.baseline)]
    before = [{name: tensor.clone() for name, tensor in module.state_dict().items()} for module in modules]
    random_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    call = {"lingering": known, "preprocess": PREPROCESS, "execution": EXECUTION, "per_class": 3}
    if fails:
        monkeypatch.setattr("tlaudit.checks.explained.overlap", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            distraction(pair, world / "source", world / "target", **call)
    else:
        distraction(pair, world / "source", world / "target", **call)
    for module, state in zip(modules, before, strict=True):
        assert not module.training
        assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())
        assert not any(parameter.requires_grad or parameter.grad is not None for parameter in module.parameters())
        assert not any(child._forward_hooks for child in module.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert np.random.get_state()[1].tolist() == numpy_state
    assert torch.is_grad_enabled()


def test_says_what_was_not_measured_without_a_baseline(world):
    result = audit(world, baseline=None)
    for name in (
        "baseline_mean",
        "excess_over_baseline",
        "baseline_wilcoxon_p",
        "baseline_flip_rate",
        "common_baseline_mean",
    ):
        assert "--baseline" in result[f"distraction.{name}"].absent
    assert result["distraction.mean"].value == pytest.approx(1, abs=1e-9)
    assert result.verdict == "concern"
    assert result.charts[0].x == "null"


def test_without_class_folders_there_is_no_accuracy_but_there_is_distraction(world, tmp_path):
    for number, file in enumerate(sorted((world / "target").rglob("*.png"))):
        shutil.copy(file, tmp_path / f"{number}.png")
    result = audit(world, target=tmp_path)
    assert "class folders" in result["distraction.composite_accuracy"].absent
    assert "class folders" in result["distraction.baseline_flip_rate"].absent
    assert result["distraction.mean"].value == pytest.approx(1, abs=1e-9)
    assert "class folders" in result.tables["classes"].rows[0]["absent"]


def test_one_composite_a_class_has_no_null(world):
    result = audit(world, per_class=1)
    assert "one composite only" in result["distraction.null_mean"].absent
    assert result["distraction.composites"].value == len(KNOWN)


def test_a_single_target_image_is_enough(world, tmp_path):
    (tmp_path / "target" / "colour0").mkdir(parents=True)
    shutil.copy(world / "target" / "colour0" / "0.png", tmp_path / "target" / "colour0")
    result = audit(world, target=tmp_path / "target")
    assert result["distraction.mean"].value == pytest.approx(1, abs=1e-9)


def test_few_overlays_decide_nothing(world, result):
    assert not any(finding.code == "distraction.few_overlays" for finding in result.findings)
    few = audit(world, overlays=3)
    assert few["distraction.excess_over_baseline"].interval.low > 0.9
    assert few.verdict == "open"
    finding = next(finding for finding in few.findings if finding.code == "distraction.few_overlays")
    assert "show 3 target images between them" in finding.message


def test_the_null_compares_with_another_picture_where_there_is_one(world, tmp_path):
    """Six composites of five images: the sixth shows the first one's image, and both have to look further."""
    audit(world, per_class=6, save_rows=tmp_path / "rows.csv")
    rows = pd.read_csv(tmp_path / "rows.csv").set_index("id")
    for composite, row in rows.dropna(subset=["null_partner"]).iterrows():
        partner = rows.loc[row["null_partner"]]
        assert partner["class_index"] == row["class_index"]
        assert partner["source_image"] != row["source_image"], composite
    assert rows["null_partner"].notna().all()


def test_a_concern_needs_the_test_beside_the_interval(result):
    """With six classes the smallest p there is lies above 0.01, whatever the intervals say."""
    assert result["distraction.baseline_wilcoxon_p"].value > 0.01
    assert result["distraction.null_wilcoxon_p"].value <= 0.05


def test_a_strict_confidence_leaves_it_open(world):
    assert audit(world, confidence=0.99).verdict == "open"


def test_gradients_that_are_no_numbers_are_told(world, monkeypatch):
    def broken(self, pixels, classes=None, original=Attributor.__call__):
        found = original(self, pixels, classes)
        return found._replace(maps=found.maps * float("nan"))

    known = audit_lingering(world)
    monkeypatch.setattr(Attributor, "__call__", broken)
    with pytest.raises(DataError, match="gradients of the source network are no numbers for 2 images"):
        audit(world, lingering=known)


def test_takes_the_file_of_an_earlier_result_too(world, tmp_path, result):
    path = tmp_path / "lingering.json"
    path.write_text(audit_lingering(world).to_json())
    assert numbers(audit(world, lingering=str(path))) == numbers(result)
    with pytest.raises(UsageError, match="cannot be read"):
        audit(world, lingering=tmp_path / "none.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_index": 99}, "a row for each of 8 source classes"),
        ({"class_index": -1}, "class_index"),
        ({"class_index": "7"}, "class_index"),
        ({"status": "foo"}, "status"),
        ({"n": -1}, "greater than or equal to 0"),
        ({"n": 4}, "other numbers of source images"),
        ({"hybrid_probability": 2.0}, "hybrid_probability"),
    ],
)
def test_a_result_changed_by_hand_is_refused(world, changes, message):
    known = audit_lingering(world).model_dump(mode="json")
    known["tables"]["classes"]["rows"][2].update(changes)
    with pytest.raises(UsageError, match=message):
        audit(world, lingering=CheckResult.model_validate(known))


def test_a_text_where_a_chart_draws_numbers_is_no_result(world, tmp_path):
    known = audit_lingering(world).model_dump(mode="json")
    known["tables"]["classes"]["rows"][2]["hybrid_probability"] = "high"
    (tmp_path / "known.json").write_text(json.dumps(known))
    with pytest.raises(UsageError, match="'hybrid_probability' holds more than numbers"):
        audit(world, lingering=tmp_path / "known.json")


def test_a_result_about_other_classes_of_the_same_images_is_refused(world, tmp_path):
    swapped = {str(channel): channel for channel in range(8)} | {"0": 1, "1": 0}
    (tmp_path / "map.json").write_text(json.dumps(swapped))
    with pytest.raises(UsageError, match="other classes of the same source images"):
        audit(world, lingering=audit_lingering(world), class_map=tmp_path / "map.json")


def test_nothing_lingers_is_a_result(world):
    known = audit_lingering(world, p_lo=0.999999)
    result = audit(world, lingering=known)
    assert result["distraction.mean"].value is None
    assert "no class lingers" in result["distraction.mean"].absent
    assert "no class lingers" in result.summary
    assert result["distraction.classes"].value == 0
    assert result.verdict == "clear"
    assert not result.charts


def audit_lingering(world, finetuned="background", baseline="overlay", **options):
    pair = pair_of(world, finetuned, baseline)
    return lingering(
        pair,
        world / "source",
        world / "target",
        preprocess=PREPROCESS,
        execution=EXECUTION,
        **(DEFINITIONS | options),
    )


def test_an_earlier_result_of_something_else_is_refused(world, tmp_path):
    known = audit_lingering(world)
    subject = assemble(
        pair_of(world, "background", "overlay"),
        DataOptions(source=world / "source", target=world / "target"),
        preprocess=PreprocessTable(**PREPROCESS),
        execution=ExecutionOptions(**EXECUTION),
    )
    path = tmp_path / "lingering.json"
    path.write_text(known.to_json())
    assert read_lingering(path, subject, LingeringOptions()) == known
    assert read_lingering(path, subject, LingeringOptions(**DEFINITIONS)) == known
    with pytest.raises(UsageError, match=r"another k \(then 1, now 2\)"):
        read_lingering(path, subject, LingeringOptions(k=2))
    with pytest.raises(UsageError, match="another v_lo_count"):
        read_lingering(path, subject, LingeringOptions(v_lo=0.5))
    with pytest.raises(UsageError, match="another finetuned checkpoint"):
        audit(world, "overlay", None, lingering=known)
    with pytest.raises(UsageError, match="another baseline checkpoint"):
        audit(world, "background", "source", lingering=known)
    with pytest.raises(UsageError, match="other target images"):
        audit(world, target="source", lingering=known)
    shutil.copytree(world / "source", tmp_path / "source")
    (tmp_path / "source" / "0" / "0.png").unlink()
    with pytest.raises(UsageError, match=r"other source images \(then 40 images, now 39\)"):
        audit(world, source_data=tmp_path / "source", lingering=known)
    with pytest.raises(UsageError, match="another preprocessing of the source network"):
        audit(world, lingering=known, preprocess=PREPROCESS | {"std": (0.5, 0.5, 0.5)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[]", "no schema_version"),
        ('{"schema_version": "0.1"}', "expected a result of schema version 1.1 or 1.2"),
        ('{"schema_version": "1.1", "check": 1}', "expected a result that tlaudit wrote"),
        ("[" * 100_000, "expected a result that tlaudit wrote"),
    ],
)
def test_a_broken_earlier_result_is_refused(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_lingering(tmp_path / "x.json", None, LingeringOptions())
    with pytest.raises(UsageError, match="cannot be read"):
        read_lingering(tmp_path / "none.json", None, LingeringOptions())


def test_of_another_check_is_refused(tmp_path, result):
    (tmp_path / "x.json").write_text(result.to_json())
    with pytest.raises(UsageError, match="expected a result of tlaudit lingering, got one of tlaudit distraction"):
        read_lingering(tmp_path / "x.json", None, LingeringOptions())


@pytest.mark.slow
def test_the_options_do_something(world, result):
    def composites(name, **options):
        return audit(world, **options)[f"distraction.{name}"].value

    assert composites("composites", per_class=3) == 3 * len(KNOWN)
    assert composites("classes", max_classes=4) == 4
    assert composites("common_classes", common_classes=1) == 1
    assert composites("common_classes", common_classes=0) == 0
    assert composites("null_mean", percentile=10) != result["distraction.null_mean"].value
    assert composites("null_mean", margin=0.1) != result["distraction.null_mean"].value
    assert composites("null_mean", overlay_scale=0.2) != result["distraction.null_mean"].value
    assert audit(world, overlays=3).provenance.data["overlays"].images == 3
    assert audit(world, method="hirescam").provenance.options["method"] == "hirescam"
    assert audit(world, layer="channels.0").provenance.options["layer"] == "channels.0"
    assert result.provenance.options["layer"] == "channels"
    assert len([e for e in audit(world, gallery=1).exhibits if "distract" in e.group]) == 1
    assert audit(world, gallery=0).exhibits == ()
    assert audit(world, confidence=0.5)["distraction.null_mean"].interval.confidence == 0.5
    assert audit(world, bootstrap=100)["distraction.null_mean"].interval != result["distraction.null_mean"].interval


def test_which_classes_are_taken(world):
    hybrid = [row["hybrid_probability"] for row in audit_lingering(world).tables["classes"].rows]
    ranked = sorted(KNOWN, key=lambda index: -hybrid[index])
    worst = audit(world, max_classes=3, common_classes=0).tables["classes"].rows
    assert [row["class_index"] for row in worst] == ranked[:3]
    picks = set()
    for seed in range(4):
        known = None
        rows = (
            audit(
                world, max_classes=3, common_classes=0, class_choice="sample", execution={"seed": seed}, lingering=known
            )
            .tables["classes"]
            .rows
        )
        picks.add(tuple(sorted(row["class_index"] for row in rows)))
    assert len(picks) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlay_scale": 0}, "overlay_scale"),
        ({"overlay_scale": 1}, "overlay_scale"),
        ({"overlay_scale": float("nan")}, "overlay_scale"),
        ({"overlay_scale": 0.99}, "hides all of a picture"),
        ({"margin": 0.3}, "may cover"),
        ({"percentile": 100}, "percentile"),
        ({"layer": "chanels.1"}, "channels.1"),
        ({"layer": "head"}, "spatial extent"),
        ({"method": "gradcan"}, "gradcam"),
        ({"class_choice": "best"}, "class_choice"),
        ({"per_class": 0}, "per_class"),
        ({"gallery": 99}, "gallery"),
    ],
)
def test_bad_options_are_refused(world, options, message):
    with pytest.raises(UsageError, match=message):
        audit(world, **options)


def test_source_images_that_cannot_be_read_are_left_out_of_the_plan(world, tmp_path):
    shutil.copytree(world / "source", tmp_path / "source")
    for file in (tmp_path / "source" / "0").glob("[0-3].png"):
        file.write_bytes(b"")
    for file in (tmp_path / "source" / "1").glob("*.png"):
        file.write_bytes(b"")
    result = audit(world, source_data=tmp_path / "source", save_rows=tmp_path / "rows.csv")
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert set(rows[rows.class_index == 0].source_image) == {"0/4.png"}
    assert len(rows[rows.class_index == 0]) == 8
    assert 1 not in set(rows.class_index)
    finding = next(f for f in result.findings if f.code == "distraction.null_same_picture")
    assert "For 8 of 40 composites" in finding.message
    with pytest.raises(DataError):
        audit(world, source_data=tmp_path / "source", strict=True)


def test_pictures_of_one_pixel_are_pictures(world, tmp_path):
    shutil.copytree(world / "source", tmp_path / "source")
    for file in (tmp_path / "source" / "2").glob("*.png"):
        Image.new("RGB", (1, 1), tiny.CORNERS[2]).save(file)
    shutil.copytree(world / "target", tmp_path / "target")
    Image.new("RGB", (1, 1), tiny.CORNERS[6]).save(tmp_path / "target" / "colour0" / "0.png")
    result = audit(world, source_data=tmp_path / "source", target=tmp_path / "target")
    row = next(row for row in result.tables["classes"].rows if row["class_index"] == 2)
    assert row["source_dead"] == row["finetuned_dead"] == 8
    assert row["finetuned_distraction"] is None
    assert "every map is dead" in row["absent"]
    assert any(f.code == "distraction.classes_without_value" for f in result.findings)


def test_networks_of_other_input_sizes_see_the_same_composites(world):
    smaller = PREPROCESS | {"baseline": {"resize": 16, "crop": 16}}
    result = audit(world, preprocess=smaller)
    assert result["distraction.mean"].value == pytest.approx(1, abs=1e-9)
    assert result["distraction.baseline_composite_accuracy"].value == 1


def test_the_gallery_shows_the_worst_and_the_control(world):
    result = audit(world, "overlay", "background")
    groups = [exhibit.group for exhibit in result.exhibits]
    assert len(groups) == len(KNOWN) + len(tiny.TASK)
    labels = [picture.label for picture in result.exhibits[0].pictures]
    assert labels == ["composite", "source map", "finetuned map", "baseline map", "occluded", "random mask"]
    assert any("wrong" in picture.caption or "right" in picture.caption for picture in result.exhibits[0].pictures)


def test_memory_does_not_grow_with_the_number_of_composites(world, monkeypatch):
    """Pixels are dropped batch by batch: at most one composite of a class keeps its own."""
    alive = []

    def count(self, seen):
        alive.append(sum(one.scene is not None for one in seen))
        kept.update(role for one in seen for role in one.maps)
        return []

    kept = set()
    monkeypatch.setattr("tlaudit.checks.explained.Explainer.null", count)
    audit(world, per_class=30)
    assert alive
    assert not any(alive)
    assert kept == {"source", "finetuned"}, "nothing but what the null needs"


def test_composites_do_not_depend_on_the_networks(world):
    """Each stream is planned from data and seed alone."""
    rows = {}
    for finetuned in ("overlay", "background"):
        planned = []
        original = CompositeStream.__iter__

        def spy(self, planned=planned, original=original):
            for batch in original(self):
                planned.extend(batch.composites)
                yield batch

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CompositeStream, "__iter__", spy)
            audit(world, finetuned, None, max_classes=2, common_classes=0)
        rows[finetuned] = {composite.id: composite for composite in planned}
    shared = rows["overlay"].keys() & rows["background"].keys()
    assert shared
    assert all(rows["overlay"][key] == rows["background"][key] for key in shared)

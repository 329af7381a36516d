"""Screening in the world of plain colours: what has to be flagged is known beforehand."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import planted
from tlaudit import api
from tlaudit.cli import app as application
from tlaudit.config import settle
from tlaudit.data.inputs import gather
from tlaudit.errors import DataError, UsageError
from tlaudit.models.pair import load_pair
from tlaudit.progress import silent
from tlaudit.results import CheckResult
from tlaudit.screen import ROW_COLUMNS, Screening
from tlaudit.screen.asker import Asker
from tlaudit.screen.rows import Tally, rows
from tlaudit.screen.subject import screened_subject, with_names
from tlaudit.screen.threshold import settle_threshold

runner = CliRunner()
LINGER = [index for index in range(planted.CLASSES) if index not in (*planted.PRESENT, *planted.FORGOTTEN)]
WORK = {"device": "cpu", "workers": 0}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The planted world, the result of `lingering` on it, and three sets of clean images with known false alarms."""
    root = tmp_path_factory.mktemp("world")
    paths = planted.build(root)
    pair = load_pair(paths["source"], paths["finetuned"], paths["baseline"], arch=planted.ARCH)
    sets = paths["source_data"], paths["target_data"]
    result = api.lingering(pair, *sets, preprocess=planted.PREPROCESS, execution=WORK, k=1)
    paths["lingering"] = root / "lingering.json"
    paths["lingering"].write_text(result.to_json())
    # Eight pictures of what the target data shows, two that remind of a lingering class: a false-positive rate of 0.2.
    for name in ("clean", "other"):
        for label in planted.PRESENT:
            planted.paint(root / name / f"colour{label}", planted.COLOURS[label], 4)
        planted.paint(root / name / "odd", planted.COLOURS[LINGER[0]], 2)
        paths[name] = root / name
    return paths | {"pair": pair, "result": result, "root": root}


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*args):
    return runner.invoke(application.app, [str(arg) for arg in args])


def screen(world, *more, images=(), without=()):
    given = {name: world[name] for name in ("source", "finetuned", "lingering") if name not in without}
    flags = [part for name, value in given.items() for part in (f"--{name}", value)]
    images = images or (world["source_data"],)
    return run("screen", *images, *flags, "--arch", planted.ARCH, "--device", "cpu", "-j", "0", *more)


def lines(outcome):
    assert outcome.exit_code == 0, outcome.stderr
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def summary(world, *more, **options):
    outcome = screen(world, "--summary", "s.json", "-q", *more, **options)
    assert outcome.exit_code == 0, outcome.stderr
    assert not outcome.stderr
    return CheckResult.model_validate_json(Path("s.json").read_text(encoding="utf-8"))


def asker_of(world, result=None):
    settings = settle({"execution": WORK, "preprocess": {}})
    subject = screened_subject(
        world["pair"],
        result or world["result"],
        settings.data,
        preprocess=settings.preprocess,
        execution=settings.execution,
        progress=silent,
    )
    return Asker(subject)


def test_lingering_colours_are_flagged_and_forgotten_and_present_ones_are_not(world):
    found = lines(screen(world))
    assert len(found) == 6 * planted.CLASSES
    for row in found:
        assert list(row) == list(ROW_COLUMNS)
        shown = int(row["image"].split("/")[-2])
        assert row["flagged"] == (shown in LINGER)
        if shown in LINGER:
            assert row["reminds_of_index"] == shown
        assert row["error"] is None


def test_agrees_with_a_naive_loop(world):
    hybrid, finetuned = world["pair"].hybrid(), world["pair"].finetuned.module
    for row in lines(screen(world, "-b", "5")):
        pixels = torch.from_numpy(np.array(Image.open(row["image"]).crop((0, 0, planted.SIZE, planted.SIZE))))
        x = pixels.permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            probabilities = hybrid(x)[0].softmax(0)
            own = finetuned(x)[0].softmax(0)
        best = max(LINGER, key=lambda c, p=probabilities: float(p[c]))
        assert row["score"] == pytest.approx(float(probabilities[best]), abs=1e-6)
        assert row["reminds_of_index"] == best
        assert row["flagged"] == (float(probabilities[best]) > 10 / planted.CLASSES)
        assert row["prediction_index"] == int(own.argmax())
        assert row["probability"] == pytest.approx(float(own.max()), abs=1e-6)


def test_csv_and_jsonl_say_the_same(world):
    by_line = lines(screen(world, "-q"))
    by_cell = list(csv.DictReader(io.StringIO(screen(world, "-q", "--format", "csv").stdout)))
    assert [[("" if cell is None else str(cell)) for cell in row.values()] for row in by_line] == [
        list(row.values()) for row in by_cell
    ]


def test_rows_go_to_a_file_whose_suffix_says_the_format(world, tmp_path):
    outcome = screen(world, "-o", "rows.csv")
    assert not outcome.stdout
    assert "42 of 72 images flagged" in outcome.stderr
    assert (tmp_path / "rows.csv").read_text() == screen(world, "-f", "csv").stdout
    screen(world, "-o", "rows.jsonl", "-q")
    assert (tmp_path / "rows.jsonl").read_text() == screen(world).stdout
    screen(world, "-o", "rows.txt", "-f", "jsonl", "-q")
    assert (tmp_path / "rows.txt").read_text() == screen(world).stdout


def test_order_is_that_of_the_arguments_whatever_the_batch_size(world):
    images = [world["source_data"] / "5" / "3.png", world["clean"], world["source_data"] / "2"]
    found = lines(screen(world, "-b", "1", images=images))
    assert [row["image"] for row in found] == [row["image"] for row in lines(screen(world, "-b", "7", images=images))]
    assert found[0]["image"] == str(images[0])
    assert [row["image"] for row in found[1:11]] == sorted(row["image"] for row in found[1:11])
    assert found[-1]["image"] == f"{images[2]}/5.png"
    assert len(found) == 1 + 10 + 6


@pytest.mark.parametrize("batch", [1, 2, 3, 50])
def test_what_cannot_be_read_has_a_row_with_the_reason_in_its_place(world, tmp_path, batch):
    good = world["source_data"] / "2" / "0.png"
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("a.png", "d.png", "f.png"):
        shutil.copy(good, folder / name)
    for name in ("b.png", "c.png", "e.jpg", "g.png", "h.png"):
        (folder / name).write_bytes(b"torn")
    (tmp_path / "notes.txt").write_text("no image")
    found = lines(screen(world, "-b", batch, "--summary", "s.json", images=[folder, tmp_path / "notes.txt", good]))
    assert [row["image"] for row in found] == [*(f"{folder}/{p}" for p in sorted(p.name for p in folder.iterdir())),
                                               str(tmp_path / "notes.txt"), str(good)]  # fmt: skip
    assert [row["error"] is None for row in found] == [n in "adf" for n in "abcdefgh"] + [False, True]
    broken = next(row for row in found if row["error"])
    assert [broken[name] for name in ROW_COLUMNS[1:-1]] == [None] * 7
    result = CheckResult.model_validate_json((tmp_path / "s.json").read_text())
    assert (result["screen.unread"].value, result["screen.unread"].n) == (6, 10)
    assert len(result.provenance.data["images"].skipped) == 6
    assert result["screen.flagged_share"].n == 4


@pytest.mark.parametrize("name", ["a\nb.png", 'quo"te,comma.png', "=1+1.png", "<b>x.png", "ü\\.png"])
def test_hostile_file_names_stay_one_cell(world, tmp_path, name):
    folder = tmp_path / "hostile"
    folder.mkdir()
    shutil.copy(world["source_data"] / "2" / "0.png", folder / name)
    found = lines(screen(world, images=[folder]))
    table = list(csv.reader(io.StringIO(screen(world, "-f", "csv", images=[folder]).stdout)))
    assert len(table) == 2
    assert len(table[1]) == len(ROW_COLUMNS)
    assert table[1][0] == found[0]["image"]
    assert found[0]["image"].isprintable()


def test_rows_come_batch_by_batch(world, monkeypatch):
    asker, tally, seen = asker_of(world), Tally(), []
    _, names = with_names(asker.subject, None)
    ask = asker.ask
    monkeypatch.setattr(asker, "ask", lambda pixels, label: seen.append(len(pixels)) or ask(pixels, label))
    given = rows(asker, gather([world["source_data"]]), names, tally)
    assert len(next(given)) == 64
    assert (seen, tally.images) == ([64], 64)
    assert [len(batch) for batch in given] == [8]


def test_the_threshold_is_p_lo_unless_one_is_given(world):
    result = summary(world)
    assert result["screen.threshold"].value == 10 / planted.CLASSES
    assert result.provenance.options["threshold_origin"] == "p_lo"
    assert "screen.not_calibrated" in [finding.code for finding in result.findings]
    assert summary(world, "--threshold", "0.5")["screen.flagged"].value == 42 + 6  # class 3 comes to 0.559
    given = summary(world, "--threshold", "0.9999999")
    assert given.provenance.options["threshold_origin"] == "given"
    assert given["screen.flagged"].value < 42


def test_calibration_keeps_half_to_measure_the_false_positive_rate_on(world):
    result = summary(world, "--calibrate", world["clean"], "--alpha", "0.25")
    # Five images draw the line, one of them may lie above it; the other five judge.
    threshold, rate = result["screen.threshold"], result["screen.false_positive_rate"]
    assert (threshold.n, rate.n) == (5, 5)
    assert rate.interval.low <= rate.value <= rate.interval.high
    assert result.provenance.options["alpha"] == 0.25
    assert result.provenance.data["calibration"].images == 10
    assert "half of them" in result.summary
    rates = [
        summary(world, "--calibrate", world["clean"], "--alpha", "0.25", "--seed", seed)["screen.false_positive_rate"]
        for seed in range(6)
    ]
    assert len({rate.value for rate in rates}) > 1


def test_calibration_is_exact_on_the_images_it_sees(world):
    asker = asker_of(world)
    images = gather([world["clean"]]).images
    scores = torch.cat([a.score for _, a in asker.follow(asker.stream(images), 10, "clean")]).numpy()
    for alpha in (0.05, 0.1, 0.15, 0.2, 0.5, 0.9):
        options = settle({"screen": {"calibrate": "x", "alpha": alpha}}).screen
        found = settle_threshold(asker, options, images, split=False)
        expected = min(t for t in scores if np.count_nonzero(scores > t) <= alpha * 10 + 1e-9)
        assert found.value == expected == asker.threshold
        flags = torch.cat([a.flagged for _, a in asker.follow(asker.stream(images), 10, "clean")])
        assert int(flags.sum()) == np.count_nonzero(scores > expected)


def test_with_validation_images_all_of_the_calibration_images_draw_the_line(world):
    result = summary(world, "--calibrate", world["clean"], "--alpha", "0.2", "--val-data", world["other"])
    assert result["screen.threshold"].n == 10
    rate = result["screen.false_positive_rate"]
    # Two of ten were allowed, and the other set is like this one.
    assert (rate.value, rate.n) == (0.2, 10)
    assert rate.interval.low < 0.2 < rate.interval.high
    assert summary(world, "--val-data", world["val_data"])["screen.false_positive_rate"].value == 0
    assert summary(world, "--val-data", world["clean"])["screen.false_positive_rate"].value == 0.2
    same = summary(world, "--calibrate", world["clean"], "--val-data", world["clean"])
    assert same["screen.false_positive_rate"].n == 5


def test_too_few_images_for_alpha_are_told(world):
    result = summary(world, "--calibrate", world["clean"])
    message = next(f.message for f in result.findings if f.code == "screen.few_calibration_images")
    assert "5 calibration images are too few for alpha 0.01" in message
    assert "At least 100" in message
    codes = [f.code for f in summary(world, "--calibrate", world["clean"], "--alpha", "0.2").findings]
    assert "screen.few_calibration_images" not in codes


def test_what_is_not_measured_has_a_reason(world):
    result = summary(world)
    assert "--val-data" in result["screen.false_positive_rate"].absent
    assert "--source-data, --target-data" in result["screen.true_positive_rate"].absent
    assert "--source-data, --target-data" in result["screen.grey_flagged_share"].absent
    only = summary(world, "--target-data", world["target_data"])
    assert "--source-data" in only["screen.true_positive_rate"].absent


def composites(world, *more):
    sets = ("--source-data", world["source_data"], "--target-data", world["target_data"])
    return summary(world, *sets, "--per-class", "3", *more)


def test_composites_and_their_control(world):
    # A tenth of the area covered: the background decides. On grey nothing of a lingering colour is left.
    result = composites(world, "--overlay-scale", "0.1", "--threshold", "0.5")
    right, control = result["screen.true_positive_rate"], result["screen.grey_flagged_share"]
    assert right.n == control.n == 3 * len(LINGER)
    assert right.value > 0.9
    assert right.interval.method == "paired percentile bootstrap"
    table = result.table("classes")
    assert table["composites"].tolist() == [3] * len(LINGER)
    assert table["class_index"].tolist() == LINGER
    assert right.value == pytest.approx(table["composites_flagged"].mean())
    assert control.value == pytest.approx(table["grey_flagged"].mean())
    assert table["absent"].isna().all()
    # Nearly everything covered by a target image: nothing of the lingering colour decides any more.
    assert composites(world, "--overlay-scale", "0.9", "--threshold", "0.5")["screen.true_positive_rate"].value < 0.5
    assert composites(world, "--per-class", "2")["screen.true_positive_rate"].n == 2 * len(LINGER)
    assert composites(world, "--overlays", "4").provenance.data["overlays"].images == 4
    assert composites(world, "--confidence", "0.5").provenance.options["confidence"] == 0.5
    assert composites(world, "--bootstrap", "100").provenance.options["bootstrap"] == 100


def test_a_rate_no_better_than_its_control_is_told(world):
    codes = {f.code for f in composites(world, "--overlay-scale", "0.9", "--threshold", "0.9999999").findings}
    assert "screen.no_better_than_grey" in codes
    codes = {f.code for f in composites(world, "--overlay-scale", "0.1", "--threshold", "0.5").findings}
    assert "screen.no_better_than_grey" not in codes


def test_source_images_of_other_classes_make_no_composites(world, tmp_path):
    shutil.copytree(world["source_data"] / "0", tmp_path / "some" / "0")
    result = composites(world, "--source-data", tmp_path / "some")
    assert "none of the lingering classes" in result["screen.true_positive_rate"].absent


def test_classes_that_images_remind_of_are_counted(world):
    table = summary(world).table("classes").set_index("class_index")
    assert table["flagged"].tolist() == [6] * len(LINGER)
    assert table["reminded"].sum() == 72
    assert table.loc[LINGER[1], "reminded"] >= 6


def test_summary_goes_to_stderr_and_reports_to_files(world, tmp_path):
    outcome = screen(world)
    assert "42 of 72 images flagged. Threshold 0.833333, p_lo" in outcome.stderr
    assert "screen.false_positive_rate" in outcome.stderr
    assert "(2 of 7, worst first)" in screen(world, "--top", "2").stderr
    assert not screen(world, "-q").stderr
    outcome = screen(world, "--summary", "s.json")
    assert "written: s.json" in outcome.stderr
    result = CheckResult.model_validate_json((tmp_path / "s.json").read_text())
    assert (result.check, result.verdict) == ("screen", "concern")
    assert result.provenance.data["images"].images == 72


def test_a_report_is_written(world, tmp_path):
    assert screen(world, "--report", "r.html", "-q").exit_code == 0
    assert "screen.flagged" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_same_command_same_bytes(world, tmp_path):
    documents = []
    for _ in range(2):
        composites(world, "--calibrate", world["clean"])
        documents.append(json.loads((tmp_path / "s.json").read_text()))
        del documents[-1]["run"]
    assert documents[0] == documents[1]


def test_screening_as_a_library(world):
    settings = settle({"execution": WORK, "screen": {"threshold": 0.5}})
    screening = Screening(world["pair"], world["result"], settings)
    found = [row for batch in screening.rows(gather([world["source_data"] / "2"])) for row in batch]
    assert [row["flagged"] for row in found] == [True] * 6
    assert screening.result()["screen.flagged"].value == 6


def test_fail_on_flag(world):
    assert screen(world, "--fail-on-flag").exit_code == 1
    assert screen(world, "--fail-on-flag", images=[world["val_data"]]).exit_code == 0
    assert screen(world, "--no-fail-on-flag").exit_code == 0


def test_fail_on_flag_is_no_pass_for_what_could_not_be_read(world, tmp_path):
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"torn")
    outcome = screen(world, "--fail-on-flag", images=[world["val_data"], torn])
    assert outcome.exit_code == 3
    assert "1 images could not be read" in outcome.stderr
    assert screen(world, "--fail-on-flag", images=[world["source_data"], torn]).exit_code == 1
    assert screen(world, "--summary", "s.json", images=[world["val_data"], torn]).exit_code == 0
    assert json.loads(Path("s.json").read_text(encoding="utf-8"))["verdict"] == "open"
    assert summary(world, images=[world["val_data"]]).verdict == "clear"


def test_every_image_has_its_row_also_where_none_can_be_read(world, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"torn")
    (tmp_path / "c.png").symlink_to("nowhere")
    outcome = screen(world, images=[tmp_path / name for name in ("a.png", "b.png", "c.png")])
    assert outcome.exit_code == 3
    found = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [Path(row["image"]).name for row in found] == ["a.png", "b.png", "c.png"]
    assert all(row["error"] and row["flagged"] is None for row in found)


@pytest.mark.parametrize("alpha", ["1e-12", "1e-300"])
def test_a_tiny_alpha_is_answered_at_once(world, alpha):
    result = summary(world, "--calibrate", world["clean"], "--alpha", alpha, "--val-data", world["other"])
    finding = next(f for f in result.findings if f.code == "screen.few_calibration_images")
    assert f"At least 1{'0' * int(alpha.split('-')[1])} are needed" in finding.message


def test_images_that_set_the_threshold_do_not_judge_it(world, tmp_path):
    for name in ("clean", "other"):
        shutil.copytree(world[name], tmp_path / "all" / name)
    shared = tmp_path / "all" / "other"
    result = summary(world, "--calibrate", tmp_path / "all", "--alpha", "0.3", "--val-data", tmp_path / "all")
    assert not any(f.code == "screen.shared_images" for f in result.findings), "half of them are kept"
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "linked").symlink_to(shared)
    shutil.copytree(world["clean"], tmp_path / "val" / "copied")
    result = summary(world, "--calibrate", tmp_path / "all", "--alpha", "0.3", "--val-data", tmp_path / "val")
    finding = next(f for f in result.findings if f.code == "screen.shared_images")
    assert finding.message.startswith("10 images")
    assert result["screen.false_positive_rate"].n == 10


def test_a_detector_that_never_flags_is_no_clear_answer(world):
    assert any(f.code == "screen.never_flags" for f in summary(world, "--threshold", "1").findings)
    assert summary(world, "--threshold", "1").verdict == "open"
    assert not any(f.code == "screen.never_flags" for f in summary(world, "--threshold", "0.9").findings)


@pytest.mark.slow
def test_rows_are_utf8_whatever_the_terminal_says(world, tmp_path):
    picture = tmp_path / "ü.png"
    shutil.copy(next(world["val_data"].rglob("*.png")), picture)
    given = [part for name in ("source", "finetuned", "lingering") for part in (f"--{name}", str(world[name]))]
    command = [sys.executable, "-m", "tlaudit", "screen", str(picture), *given, "--arch", planted.ARCH, "-j", "0", "-q"]
    outcome = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert "ü.png" in outcome.stdout.decode("utf-8")


def test_work_options_do_something(world):
    usual = lines(screen(world))
    assert lines(screen(world, "-j", "2", "-b", "20")) == usual
    coarse = summary(world, "--precision", "bf16")
    assert (coarse.provenance.precision, coarse["screen.flagged"].value) == ("bf16", 42)
    assert "classes were taken to be" in screen(world, "-v", "--val-data", world["val_data"]).stderr


def test_names_of_predictions(world):
    clean = world["val_data"]
    assert {row["prediction"] for row in lines(screen(world, images=[clean]))} == {"0", "1"}
    for option, folder in (("--val-data", clean), ("--target-data", world["target_data"])):
        found = lines(screen(world, option, folder, images=[clean]))
        assert all(row["prediction"] == row["image"].split("/")[-2] for row in found)


def test_data_options_do_something(world, tmp_path):
    limited = summary(world, "--val-data", world["val_data"], "--limit", "4")
    assert limited["screen.false_positive_rate"].n == 4
    assert limited["screen.flagged_share"].n == 72
    renamed = tmp_path / "named"
    shutil.copytree(world["source_data"], renamed)
    (renamed / "5").rename(renamed / "five")
    (tmp_path / "map.csv").write_text("folder,class\nfive,5\n")
    mapped = composites(world, "--source-data", renamed, "--class-map", "map.csv")
    assert mapped["screen.true_positive_rate"].n == 3 * len(LINGER)
    (renamed / "0" / "torn.png").write_bytes(b"torn")
    assert screen(world, "--strict-data", images=[renamed / "0"]).exit_code == 3
    assert screen(world, images=[renamed / "0"]).exit_code == 0


def test_the_network_is_fed_as_when_the_classes_were_found(world):
    told = summary(world).provenance.models["finetuned"].preprocessing
    assert (told.crop, told.mean) == (planted.SIZE, (0, 0, 0))
    changed = summary(world, "--mean", "0.5", "0.5", "0.5")
    assert "screen.preprocessing" in [finding.code for finding in changed.findings]
    assert changed["screen.flagged"].value != 42
    assert "screen.preprocessing" not in [finding.code for finding in summary(world).findings]


def test_nothing_lingers(world, tmp_path):
    document = json.loads(world["lingering"].read_text())
    for row in document["tables"]["classes"]["rows"]:
        row["status"] = "forgotten" if row["status"] == "lingering" else row["status"]
    (tmp_path / "none.json").write_text(json.dumps(document))
    outcome = screen(world, "--lingering", "none.json", "--fail-on-flag", "--calibrate", world["clean"])
    found = lines(outcome)
    assert not any(row["flagged"] for row in found)
    assert {row["score"] for row in found} == {row["reminds_of"] for row in found} == {None}
    assert {row["prediction_index"] for row in found} == {0, 1}
    assert "No class lingers" in outcome.stderr
    result = composites(world, "--lingering", "none.json", "--val-data", world["val_data"])
    for name in ("threshold", "false_positive_rate", "true_positive_rate", "grey_flagged_share"):
        assert "no class lingers" in result[f"screen.{name}"].absent
    assert (result["screen.flagged"].value, result.verdict) == (0, "clear")


def test_results_of_other_networks_are_refused(world, tmp_path):
    document = json.loads(world["lingering"].read_text())
    document["provenance"]["models"]["finetuned"]["sha256"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(document))
    outcome = screen(world, "--lingering", "other.json")
    assert outcome.exit_code == 2
    assert "another finetuned checkpoint (then 000000000000" in outcome.stderr
    assert not outcome.stdout
    assert screen(world, "--baseline", world["baseline"]).exit_code == 0
    assert "another baseline checkpoint" in screen(world, "--baseline", world["finetuned"]).stderr


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--threshold", "1.5"], 2, "screen.threshold"),
        (["--threshold", "-0.1"], 2, "screen.threshold"),
        (["--calibrate", "empty", "--alpha", "0"], 2, "screen.alpha"),
        (["--calibrate", "empty", "--alpha", "1"], 2, "screen.alpha"),
        (["--calibrate", "empty", "--threshold", "0.5"], 2, "give one"),
        (["--alpha", "0.1"], 2, "give calibrate"),
        (["--calibrate", "missing"], 2, "missing"),
        (["--calibrate", "empty"], 3, "found none"),
        (["--val-data", "missing"], 2, "missing"),
        (["--lingering", "missing.json"], 2, "missing.json"),
        (["--per-class", "0"], 2, "screen.per_class"),
        (["--overlay-scale", "1"], 2, "screen.overlay_scale"),
        (["--overlays", "0"], 2, "screen.overlays"),
        (["-f", "json"], 2, "unknown format 'json'; known are jsonl, csv"),
        (["-f", "csv", "-f", "jsonl"], 2, "one format"),
        (["-o", "rows.xlsx"], 2, "no format ends in '.xlsx'"),
        (["-o", "missing/rows.csv"], 2, "does not exist"),
        (["--summary", "missing/s.json"], 2, "does not exist"),
        (["-o", "x.csv", "--summary", "x.csv"], 2, "both --output and --summary"),
        (["--report", "r.txt"], 2, "ends in .html"),
        (["--crop", "99", "--resize", "9"], 2, "crop"),
    ],
)
def test_errors_are_one_line_and_the_right_code(world, tmp_path, more, code, message):
    (tmp_path / "empty").mkdir()
    outcome = screen(world, *more)
    assert outcome.exit_code == code
    assert message in outcome.stderr
    assert not outcome.stdout
    assert "Traceback" not in outcome.stderr


def test_needs_its_inputs(world, tmp_path):
    for name in ("source", "finetuned", "lingering"):
        outcome = screen(world, without=[name])
        assert outcome.exit_code == 2
        assert f"missing: --{name}" in outcome.stderr
    assert run("screen").exit_code == 2
    assert screen(world, images=["nowhere"]).exit_code == 2
    (tmp_path / "torn.png").write_bytes(b"torn")
    outcome = screen(world, "-o", "rows.csv", images=["torn.png"])
    assert outcome.exit_code == 3
    assert "torn.png" in outcome.stderr
    assert not (tmp_path / "rows.csv").exists()


def test_options_may_come_from_the_file(world, tmp_path):
    folder = tmp_path / "conf"
    folder.mkdir()
    shutil.copy(world["lingering"], folder / "l.json")
    shutil.copytree(world["clean"], folder / "clean")
    written = '[screen]\nlingering = "l.json"\ncalibrate = "clean"\nalpha = 0.2\nsummary = "s.json"\n'
    (folder / "t.toml").write_text(written)
    outcome = screen(world, "--config", "conf/t.toml", without=["lingering"])
    assert "calibrated: at most 1 of 5" in outcome.stderr
    assert (folder / "s.json").exists()
    # What is said on the command line takes the place of what the file says to the same end.
    outcome = screen(world, "--config", "conf/t.toml", "--threshold", "0.25")
    assert "Threshold 0.25, given" in outcome.stderr
    outcome = screen(world, "--config", "conf/t.toml", "--alpha", "0.4")
    assert "at most 2 of 5" in outcome.stderr


def test_a_network_that_gives_nan_is_named(world):
    asker = asker_of(world)
    for parameter in asker._network.module.parameters():
        parameter.data = torch.full_like(parameter, float("nan"))
    with pytest.raises(DataError, match="finetuned network gives no number for 3 images"):
        asker.ask(torch.zeros(3, 3, planted.SIZE, planted.SIZE, dtype=torch.uint8), "images")


def test_a_result_about_something_else_is_refused_by_the_library(world):
    models = dict(world["result"].provenance.models)
    models["source"] = models["source"].model_copy(update={"sha256": "1" * 64})
    told = world["result"].provenance.model_copy(update={"models": models})
    with pytest.raises(UsageError, match="another source checkpoint"):
        asker_of(world, world["result"].model_copy(update={"provenance": told}))

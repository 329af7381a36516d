"""`stress` on a task with a weak signal: squares are learnt in its place, and every promise is kept."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from tlaudit.checks import assembly, stress_runs
from tlaudit.checks.measured import Recorder
from tlaudit.checks.stress import StressCheck, _bisected
from tlaudit.checks.stress_data import StressImages, divide
from tlaudit.checks.stress_judged import findings, summary
from tlaudit.checks.stress_judged import verdict as judged
from tlaudit.checks.stress_runs import Relearning, StageAfter, Trial, weights_digest
from tlaudit.checks.stress_told import Told, plasticity_measurements
from tlaudit.config import settle
from tlaudit.data.images import ImageSet
from tlaudit.data.squares import class_colours
from tlaudit.data.training import TrainingImages
from tlaudit.errors import DataError, MeasureError, UsageError
from tlaudit.metrics.stress import quantities
from tlaudit.models import pair
from tlaudit.models.preprocess import Normalizer
from tlaudit.models.runtime import Execution
from tlaudit.models.sources import load_model
from tlaudit.options import TrainingOptions
from tlaudit.results import CheckResult, Preprocessing
from tlaudit.training import loop
from tlaudit.training.fresh import fresh
from tlaudit.training.loop import train

SIZE = 16
CLASSES = ("ash", "birch", "cedar")
PREPROCESS = {"resize": SIZE, "crop": SIZE, "mean": (0.5,) * 3, "std": (0.25,) * 3}
STRENGTH = 40
TRAINING = {"learning_rate": 0.05, "epochs": 8, "batch_size": 16, "flip": False}


def draw(root, per_class, seed):
    """Grey noise with a faint pattern of stripes or squares, which is the class; colours say nothing."""
    rng, (y, x) = np.random.default_rng(seed), np.indices((SIZE, SIZE))
    patterns = (x % 2, y % 2, (x + y) % 2)
    for (label, name), number in itertools.product(enumerate(CLASSES), range(per_class)):
        values = rng.integers(0, 200, (SIZE, SIZE)) + STRENGTH * patterns[label]
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.astype(np.uint8)).convert("RGB").save(root / name / f"{number:03d}.png")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Training and test images, and a network that has learnt the task."""
    root = tmp_path_factory.mktemp("world")
    draw(root / "train", 24, 0)
    draw(root / "test", 16, 1)
    images = ImageSet.scan(root / "train", labelled=True)
    labels = torch.tensor([CLASSES.index(item.folder) for item in images.items])
    preprocessing = Preprocessing(**PREPROCESS, interpolation="bilinear", origin="test")
    data = TrainingImages(images, labels, preprocessing, workers=0)
    cpu = torch.device("cpu")
    trained = train(
        tiny.own(len(CLASSES)),
        data,
        TrainingOptions(**{**TRAINING, "epochs": 16, "learning_rate": 0.02}),
        execution=Execution(cpu, "fp32", 16, 0),
        normalizer=Normalizer(preprocessing, cpu),
        seed=0,
    )
    tiny.saved(root / "network.pth", trained.network)
    return root


def subject_of(world, *, data=None, execution=None, model=None, preprocess=None):
    model = model or load_model(world / "network.pth", arch=tiny.OWN)
    settings = settle(
        {
            "data": {"source": world / "train", **(data or {})},
            "preprocess": {**PREPROCESS, **(preprocess or {})},
            "execution": {"device": "cpu", "workers": 0, "batch_size": 8, **(execution or {})},
        }
    )
    return assembly.assemble(
        pair.join(model, model),
        settings.data,
        preprocess=settings.preprocess,
        execution=settings.execution,
        needed=("source",),
    )


def options_of(world, **given):
    training = {**TRAINING, **given.pop("training", {})}
    base = {"test": world / "test", "ratios": (0, 1), "square": 0.25, "bootstrap": 200}
    return settle({"stress": {**base, **given, "training": training}}).stress


def stress(world, *, subject=None, **given):
    check, subject, options = StressCheck(), subject or subject_of(world), options_of(world, **given)
    check.refuse(subject, options)
    return check.run(subject, options)


def told_of(result):
    """Everything that no clock touches."""
    document = json.loads(result.to_json())
    del document["run"]
    return document


@pytest.fixture(scope="module")
def result(world):
    return stress(world, ratios=(0, 0.5, 1))


def test_planted_truth_and_its_control(world, result):
    rows = {row["ratio"]: row for row in result.tables["runs"].rows}
    assert rows[1.0]["with_square"] > rows[1.0]["with_other_square"] + 0.5
    assert abs(rows[0.0]["with_square"] - rows[0.0]["with_other_square"]) < 0.3
    assert result["stress.accuracy_drop.1"].interval.low > 0
    assert "stress.accuracy_drop.0" not in {measurement.name for measurement in result.measurements}
    assert result["stress.cka.min.1"].value < result["stress.cka.min.0"].value
    assert result["stress.max_drop"].value == result["stress.accuracy_drop.1"].value
    assert result.verdict == "concern"
    assert "stress.squares_not_learnt" not in {finding.code for finding in result.findings}
    assert [row["planted"] for row in result.tables["runs"].rows] == [0, 36, 72]


def test_a_rate_at_which_nothing_is_learnt(world):
    found = stress(world, training={"learning_rate": 1e-7, "batch_norm": "frozen"})
    assert found["stress.max_drop"].value == 0
    assert found.verdict == "open"
    assert found["stress.cka.min.1"].value == pytest.approx(1, abs=1e-4)
    assert found["stress.rank_ratio.min.1"].value == 1
    message = next(f.message for f in found.findings if f.code == "stress.squares_not_learnt")
    assert "hardly learnt" in message


def test_a_schedule_that_ruins_the_network_is_called_that(world, result):
    assert "stress.control_fell" not in {finding.code for finding in result.findings}
    bench = FakeBench(0.0, 100)
    told = Told(Recorder({}, 0, 1000, 0.95), trial(0.0, 0).clean, bench.sweep((0.0, 1.0), ""), (0.0, 1.0), 0.5)
    assert "stress.control_fell" not in {finding.code for finding in findings(told, None, bench)}
    told = dataclasses.replace(told, trials={0.0: trial(0.0, 30), 1.0: trial(1.0, 30)})
    assert "stress.control_fell" in {finding.code for finding in findings(told, None, bench)}


@pytest.mark.parametrize(
    ("wrong", "misled", "rank", "verdict"),
    [
        (50, 50, 2, "concern"),
        (50, 50, 4, "open"),
        (50, 0, 2, "open"),
        (0, 50, 2, "clear"),
        (0, 0, 4, "open"),
        (4, 50, 4, "open"),
    ],
)
def test_verdict(wrong, misled, rank, verdict):
    """Images lost at the largest dose, images misled by another class's square, rank of 4 that is left."""
    dosed = trial(1.0, wrong, misled=misled, rank=rank)
    told = Told(Recorder({}, 0, 1000, 0.95), trial(0.0, 0).clean, {0.0: trial(0.0, 0), 1.0: dosed}, (0.0, 1.0), 0.5)
    assert judged(told) == verdict


def told_by(trials, before=0):
    trials = {0.0: trial(0.0, 0)} | {one.ratio: one for one in trials}
    images = len(trials[0.5].clean)
    trials[0.0] = trial(0.0, 0, images)
    names = Recorder(quantities(trials), 0, 1000, 0.95)
    return Told(names, trial(0.0, before, images).clean, trials, list(trials), 0.5)


def test_verdict_and_summary_rest_on_the_same_ratio():
    """The largest ratio costs nothing, and the one that costs most costs no rank."""
    told = told_by([trial(0.25, 60, misled=90), trial(0.5, 30, misled=80, rank=2), trial(1.0, 0, misled=80)])
    assert judged(told) == "concern"
    assert "on 50 % of the training images 70.0%" in summary(told)
    told = told_by([trial(0.25, 60, misled=90), trial(0.5, 30, misled=80), trial(1.0, 0, misled=80)])
    assert judged(told) == "open"
    assert "on 25 % of the training images 40.0%" in summary(told)


@pytest.mark.parametrize(("images", "verdict"), [(59, "open"), (60, "clear")])
def test_few_images_clear_nothing(images, verdict):
    assert judged(told_by([trial(0.5, 0, images, misled=50), trial(1.0, 0, images, misled=50)])) == verdict


def test_largest_drop_is_of_a_ratio_above_0():
    """All ratios gain: the control, whose drop is 0, is none of them."""
    ratios = {0.5: trial(0.5, 10), 1.0: trial(1.0, 20)}
    told = dataclasses.replace(told_by(ratios.values()), trials={0.0: trial(0.0, 30)} | ratios)
    found = {measurement.name: measurement for measurement in told.measurements()}
    assert found["stress.max_drop"].value == pytest.approx(-0.1)
    assert found["stress.max_drop"].interval_absent == "the largest of several; see stress.accuracy_drop.1"
    assert "stress.accuracy_drop.0" not in found
    assert [told.runs().rows[at]["ratio"] for at in told.runs().worst] == [1.0, 0.5, 0.0]


def test_short_views_show_the_worst_of_all_ratios():
    told = told_by([trial(0.25, 0, rank=3), trial(0.5, 5, misled=9, rank=1), trial(1.0, 2, misled=7)])
    runs, stages, shortcut = told.runs(), told.stages(), told.shortcut()
    assert [runs.rows[at]["ratio"] for at in runs.worst] == [0.5, 1.0, 0.25, 0.0]
    assert [stages.rows[at]["rank_ratio"] for at in stages.worst] == [0.25, 0.75, 1, 1]
    assert [shortcut.rows[at]["ratio"] for at in shortcut.worst][:2] == [0.5, 1.0]


def test_shortcut_table_tells_the_same_as_the_runs(result):
    runs = result.table("runs").set_index("ratio")
    table = result.table("shortcut")
    columns = {"none": "clean_accuracy", "own class": "with_square", "another class": "with_other_square"}
    assert list(table["squares"].unique()) == list(columns)
    for row in table.itertuples():
        assert row.accuracy == runs.loc[row.ratio, columns[row.squares]]
        assert row.low <= row.accuracy <= row.high


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_features_that_vary_no_more_have_collapsed(world, monkeypatch, value):
    finish = loop.Training.finish

    def ruined(self):
        trained = finish(self)
        if any(parameter.isnan().any() for parameter in trained.network.parameters()):
            return trained
        for parameter in trained.network.blocks[0].parameters():
            parameter.fill_(value)
        return trained

    monkeypatch.setattr(loop.Training, "finish", ruined)
    found = stress(world, training={"epochs": 1}, stages=("stem", "blocks.0"))
    rows = {(row["ratio"], row["stage"]): row for row in found.tables["stages"].rows}
    assert rows[1.0, "blocks.0"]["rank"] == rows[1.0, "blocks.0"]["rank_ratio"] == 0
    assert rows[1.0, "blocks.0"]["cka"] is None
    assert rows[1.0, "stem"]["rank"] > 0
    assert found["stress.rank_ratio.min.1"].value == 0
    assert found["stress.cka.min.1"].absent.startswith("blocks.0 collapsed: after: ")
    message = next(f.message for f in found.findings if f.code == "stress.stage_collapsed" and "ratio 1" in f.message)
    assert "blocks.0 collapsed" in message
    assert "stem" not in message


def test_a_collapse_counts_as_lost_rank():
    lost = trial(1.0, 50, misled=50)
    stage = lost.stages[0].model_copy(update={"rank": 0, "collapsed": True, "absent": "it does not vary"})
    told = told_by([trial(0.5, 0, misled=50), lost.model_copy(update={"stages": (stage,)})])
    assert judged(told) == "concern"


def test_a_network_that_knows_nothing_is_called_that():
    known, unknown = (told_by([trial(0.5, 0)], before=wrong) for wrong in (30, 50))
    bench = FakeBench(0.0, 100)
    assert "stress.knows_nothing" not in {finding.code for finding in findings(known, None, bench)}
    assert "stress.knows_nothing" in {finding.code for finding in findings(unknown, None, bench)}
    curve, losses = (unknown.before, unknown.before), (1.0,)
    relearnt = Relearning(
        ratio=0.5, relearning=curve, relearning_losses=losses, scratch=curve, scratch_losses=losses, scratch_absent=""
    )
    for told, value in ((known, 0), (unknown, None)):
        found = {measurement.name: measurement for measurement in plasticity_measurements(relearnt, told, "")}
        wanted = None if value is None else found["stress.plasticity.epochs_scratch"].value
        assert found["stress.plasticity.epochs_relearning"].value == wanted
    assert "no more than chance" in found["stress.plasticity.epochs_relearning"].absent


def test_cka_counts_the_images_it_saw(world):
    found = stress(world, subject=subject_of(world, execution={"batch_size": 9}), training={"epochs": 1})
    assert (found["stress.cka.min.1"].n, found["stress.rank_ratio.min.1"].n) == (45, 48)


def test_ratios_that_plant_nothing_of_their_own_are_left_out(world):
    found = stress(world, ratios=(0, 0.001, 0.5, 0.501, 1), training={"epochs": 1})
    assert [row["ratio"] for row in found.tables["runs"].rows] == [0, 0.5, 1]
    assert found.provenance.options["ratios"] == "0, 0.5, 1"
    assert [f.message for f in found.findings if f.code == "stress.ratio_left_out"] == [
        "Ratio 0.001 was left out: it plants no image among 72.",
        "Ratio 0.501 was left out: it plants 36 of 72 images, as 0.5 does.",
    ]
    alone = stress(world, ratios=(0.001,), plasticity=True, bisect=0.1, training={"epochs": 1})
    assert alone["stress.plasticity.area_relearning"].absent == "no ratio plants an image"
    assert alone.verdict == "open"


def test_accuracy_before_is_that_of_a_loop_over_the_files(world, result):
    model, right = load_model(world / "network.pth", arch=tiny.OWN), 0
    files = sorted((world / "test").rglob("*.png"))
    for file in files:
        pixels = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None].float() / 255
        right += int(model.module((pixels - 0.5) / 0.25).argmax()) == CLASSES.index(file.parent.name)
    assert result["stress.clean_accuracy.before"].value == right / len(files)
    assert result["stress.clean_accuracy.before"].n == len(files) == 48


def test_trial_agrees_with_training_and_looking_by_hand(world, result):
    """Ratio 1, squares planted here, trained with the loop, asked file by file."""
    images = ImageSet.scan(world / "train", labelled=True)
    labels = torch.tensor([CLASSES.index(item.folder) for item in images.items])
    preprocessing = subject_of(world).preprocessing["source"]

    def cornered(batch):
        pixels = batch.pixels.clone()
        for row, label in zip(pixels, batch.labels.tolist(), strict=True):
            row[:, :4, :4] = class_colours(3)[label][:, None, None]
        return pixels

    cpu = torch.device("cpu")
    data = TrainingImages(images, labels, preprocessing, workers=0).changed(cornered)
    trained = train(
        load_model(world / "network.pth", arch=tiny.OWN).module,
        data,
        TrainingOptions(**TRAINING),
        execution=Execution(cpu, "fp32", 8, 0),
        normalizer=Normalizer(preprocessing, cpu),
        seed=0,
    )
    row = next(row for row in result.tables["runs"].rows if row["ratio"] == 1)
    assert row["last_loss"] == trained.history[-1].losses["cross_entropy"]
    for column, shift in (("clean_accuracy", None), ("with_square", 0), ("with_other_square", 1)):
        right = 0
        for file in sorted((world / "test").rglob("*.png")):
            label = CLASSES.index(file.parent.name)
            pixels = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255
            if shift is not None:
                pixels[:, :4, :4] = class_colours(3)[(label + shift) % 3][:, None, None] / 255
            right += int(trained.network((pixels[None] - 0.5) / 0.25).argmax()) == label
        assert row[column] == right / 48


def test_only_the_planted_share_differs(world, monkeypatch):
    seen = []
    learn = loop.Training._learn

    def noting(self, batch, epoch):
        seen.append(batch)
        return learn(self, batch, epoch)

    monkeypatch.setattr(loop.Training, "_learn", noting)
    stress(world, ratios=(0, 0.5), training={"epochs": 1})
    plain, planted = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    changed = 0
    for ours, theirs in zip(plain, planted, strict=True):
        assert torch.equal(ours.index, theirs.index)
        assert torch.equal(ours.pixels[:, :, 4:], theirs.pixels[:, :, 4:])
        changed += int((ours.pixels != theirs.pixels).any(dim=(1, 2, 3)).sum())
    assert changed == 36


def test_same_seed_same_result_and_another_seed_another(world, result):
    assert told_of(stress(world, ratios=(0, 0.5, 1))) == told_of(result)
    other = stress(world, subject=subject_of(world, execution={"seed": 1}), ratios=(0, 0.5, 1))
    assert other.tables != result.tables
    assert CheckResult.model_validate_json(result.to_json()) == result


def test_control_is_made_if_not_asked_for(world, result):
    assert [row["ratio"] for row in stress(world, ratios=(1,)).tables["runs"].rows] == [0, 1]
    alone = stress(world, ratios=(0,))
    assert alone["stress.max_drop"].absent == "no training with squares was made"
    assert alone.verdict == "open"


def test_leaves_everything_as_it_was(world):
    model = load_model(world / "network.pth", arch=tiny.OWN)
    before, generator = weights_digest(model.module), torch.get_rng_state()
    subject = subject_of(world, model=model)
    stress(world, subject=subject, plasticity=True, training={"epochs": 1})
    with pytest.raises(DataError, match="diverged"):
        stress(world, subject=subject, training={"optimizer": "sgd", "learning_rate": 10, "clip": 0, "epochs": 40})
    assert weights_digest(model.module) == before
    assert torch.equal(torch.get_rng_state(), generator)
    for module in model.module.modules():
        assert not module.training
        assert not module._forward_hooks
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_every_number_has_unit_direction_and_interval_or_reason(result):
    for measurement in result.measurements:
        assert measurement.unit
        assert measurement.value is None or measurement.n > 0
        assert (measurement.value is None) != (measurement.absent is None)
    assert {"stress.one_seed"} <= {finding.code for finding in result.findings}
    assert "lineage.same" not in {f.code for f in result.findings}
    assert not any(f.code.startswith("lineage.") for f in result.findings)


# Finished runs


def test_finished_runs_are_found_again(world, tmp_path, monkeypatch):
    first = stress(world, runs=tmp_path / "runs", plasticity=True)
    assert sorted(p.name.split("-")[0] for p in (tmp_path / "runs").iterdir()) == ["relearning", "trial", "trial"]
    monkeypatch.setattr(loop.Training, "run", lambda self, note: pytest.fail("it was trained again"))
    assert told_of(stress(world, runs=tmp_path / "runs", plasticity=True)) == told_of(first)


def test_a_sweep_goes_on_where_it_was_stopped(world, tmp_path, monkeypatch):
    whole, trained = stress(world, ratios=(0, 0.5, 1)), []
    run = loop.Training.run

    def stopping(self, note):
        trained.append(self)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return run(self, note)

    monkeypatch.setattr(loop.Training, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        stress(world, ratios=(0, 0.5, 1), runs=tmp_path / "runs")
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert told_of(stress(world, ratios=(0, 0.5, 1), runs=tmp_path / "runs")) == told_of(whole)
    assert len(trained) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"clean": [true', '"clean": [false').replace(
            '"clean": [false, f', '"clean": [true, f'
        ),
        lambda text: text.replace('"planted": 72', '"planted": 71'),
        lambda text: "[]",
        lambda text: "[" * 100_000,
    ],
)
def test_a_damaged_run_is_made_again(world, tmp_path, damage):
    first = stress(world, runs=tmp_path)
    path = next(tmp_path.glob("trial-1-*.json"))
    text = path.read_text()
    path.write_text(damage(text))
    assert path.read_text() != text
    assert told_of(stress(world, runs=tmp_path)) == told_of(first)
    assert path.read_text() == text


@pytest.mark.parametrize(
    "other",
    [
        {"square": 0.5},
        {"training": {"epochs": 7}},
        {"execution": {"seed": 1}},
        {"execution": {"precision": "bf16"}},
        {"data": {"source": "fewer"}},
        {"preprocess": {"mean": (0.4,) * 3}},
        {"confidence": 0.9},
        {"stages": ("stem",)},
    ],
)
def test_runs_of_another_test_are_not_taken(world, tmp_path, other):
    stress(world, runs=tmp_path / "runs", ratios=(0,))
    if "data" in other:
        shutil.copytree(world / "train", tmp_path / "fewer")
        (tmp_path / "fewer" / "ash" / "000.png").unlink()
    given = {key: value for key, value in other.items() if key not in {"data", "execution", "preprocess"}}
    data = {"source": tmp_path / "fewer"} if "data" in other else None
    subject = subject_of(world, data=data, execution=other.get("execution"), preprocess=other.get("preprocess"))
    stress(world, subject=subject, runs=tmp_path / "runs", ratios=(0,), **given)
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_a_run_under_the_name_of_another_is_not_taken(world, tmp_path):
    for name, confidence in (("ours", 0.95), ("theirs", 0.9)):
        first = stress(world, runs=tmp_path / name, ratios=(0,), confidence=confidence)
    ours, theirs = (next((tmp_path / name).iterdir()) for name in ("ours", "theirs"))
    text = theirs.read_text()
    shutil.copy(ours, theirs)
    assert told_of(stress(world, runs=tmp_path / "theirs", ratios=(0,), confidence=0.9)) == told_of(first)
    assert theirs.read_text() == text


def test_the_weights_are_part_of_the_key():
    network = tiny.own(2)
    before = weights_digest(network)
    network.fc.weight.data[0, 0] += 1e-6
    assert weights_digest(network) != before


class Doubled(tiny.Own):
    """The same weights, other answers."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_runs_of_the_same_weights_in_other_code_are_not_taken(world, tmp_path):
    model = load_model(world / "network.pth", arch=tiny.OWN)
    other = Doubled(len(CLASSES)).eval().requires_grad_(False)
    other.load_state_dict(model.module.state_dict())
    assert weights_digest(other) == weights_digest(model.module)
    for module in (model.module, model.module, other):
        subject = subject_of(world, model=dataclasses.replace(model, module=module))
        stress(world, subject=subject, runs=tmp_path / "runs", ratios=(0,), training={"epochs": 1})
    assert len(list((tmp_path / "runs").iterdir())) == 2


# Bisection


def trial(ratio, wrong, images=100, misled=0, rank=4):
    clean, other = (tuple(number >= count for number in range(images)) for count in (wrong, misled))
    ranks = dict.fromkeys(("effective_rank", "participation_ratio"), 4.0) | {"rank": 4}
    ranks |= {f"{name}_before": value for name, value in ranks.items()} | {"rank": rank}
    cka = {"cka": 1.0, "cka_low": None, "cka_high": None, "cka_n": images}
    stage = StageAfter(stage="stem", n=images, d=4, **cka, collapsed=False, absent="", **ranks)
    return Trial(ratio=ratio, planted=0, losses=(1.0,), clean=clean, own=(True,) * images, other=other, stages=(stage,))


class FakeBench:
    """Accuracy falls by a tenth from a threshold on; notes what is asked."""

    def __init__(self, threshold, images):
        self.threshold, self.asked = threshold, []
        split = SimpleNamespace(held_out=False)
        self.images = SimpleNamespace(training=range(images), split=split)

    def sweep(self, ratios, label):
        self.asked += ratios
        return {ratio: trial(ratio, 10 if ratio >= self.threshold else 0) for ratio in ratios}


@pytest.mark.parametrize(
    ("images", "threshold"), [(1000, 0.3), (1000, 0.001), (40, 0.3), (7, 0.9), (10_000, 0.2501), (207, 0.252)]
)
def test_bisection_finds_the_threshold(images, threshold):
    bench = FakeBench(threshold, images)
    sweep = (0.0, 0.25, 0.5, 1.0)
    told = Told(Recorder(quantities(sweep), 0, 100, 0.95), trial(0, 0).clean, bench.sweep(sweep, ""), sweep, 0.5)
    bench.asked.clear()
    found, told = _bisected(bench, told, 0.05)
    at = min(ratio for ratio in sweep if ratio >= threshold)
    step = at - max(ratio for ratio in sweep if ratio < at)
    assert threshold <= found.value <= threshold + step / 64 + 1 / images + 1e-9
    assert len(bench.asked) <= 6
    assert list(told.trials) == sorted({*sweep, *bench.asked})
    assert all(ratio * images == pytest.approx(round(ratio * images)) for ratio in bench.asked)
    planted = [round(ratio * images) for ratio in told.trials]
    assert len(set(planted)) == len(planted)
    assert "one training a ratio" in found.interval_absent


def test_bisection_says_that_there_is_nothing_to_find():
    bench = FakeBench(2.0, 100)
    told = Told(
        Recorder(quantities((0, 1)), 0, 100, 0.95), trial(0, 0).clean, bench.sweep((0.0, 1.0), ""), (0.0, 1.0), 0.5
    )
    found, _ = _bisected(bench, told, 0.05)
    assert found.absent == "at no ratio of the sweep does clean accuracy fall by more than 0.05"


def test_bisection_in_the_result(world):
    found = stress(world, bisect=0.1)
    rows = found.tables["runs"].rows
    assert {row["run"] for row in rows} == {"sweep", "bisection"}
    ratios = [row["ratio"] for row in rows]
    assert ratios == sorted(ratios)
    high = found["stress.threshold_ratio"].value
    drops = {row["ratio"]: row["drop"] for row in rows}
    low = max(ratio for ratio in ratios if ratio < high)
    assert drops[low] <= 0.1 < drops[high]
    assert "no limit was given" in stress(world, ratios=(0,))["stress.threshold_ratio"].absent


# Plasticity


def test_plasticity(world):
    found = stress(world, plasticity=True)
    table = found.table("plasticity")
    assert list(table["phase"].unique()) == ["relearning", "from scratch"]
    assert list(table["epoch"]) == [*range(9)] * 2
    runs = found.table("runs").set_index("ratio")
    assert table["accuracy"].iloc[0] == runs.loc[1, "clean_accuracy"]
    for phase, name in (("relearning", "relearning"), ("from scratch", "scratch")):
        curve = table.loc[table["phase"] == phase, "accuracy"].to_numpy()
        assert found[f"stress.plasticity.area_{name}"].value == pytest.approx(np.trapezoid(curve) / 8)
        reached = np.flatnonzero(curve >= 0.9 * found["stress.clean_accuracy.before"].value)
        epochs = found[f"stress.plasticity.epochs_{name}"]
        assert epochs.value == (reached[0] if len(reached) else None)
    areas = [found[f"stress.plasticity.area_{name}"].value for name in ("relearning", "scratch", "difference")]
    assert areas[0] - areas[1] == pytest.approx(areas[2])
    assert {chart.table for chart in found.charts} == {"runs", "shortcut", "stages", "plasticity"}


def test_each_phase_begins_where_it_should(world, tmp_path, monkeypatch):
    begun, ended = [], []
    run = loop.Training.run

    def noting(self, note):
        begun.append(weights_digest(self.network))
        yield from run(self, note)
        ended.append(weights_digest(self.network))

    monkeypatch.setattr(loop.Training, "run", noting)
    model = load_model(world / "network.pth", arch=tiny.OWN)
    given = {"subject": subject_of(world, model=model), "training": {"epochs": 1}, "runs": tmp_path / "runs"}
    first = stress(world, **given, plasticity=True)
    before, anew = weights_digest(model.module), weights_digest(fresh(model, 0))
    assert begun == [before, before, ended[1], anew]
    next((tmp_path / "runs").glob("relearning-*")).unlink()
    # The sweep is found on the shelf, but not the network it trained.
    assert told_of(stress(world, **given, plasticity=True)) == told_of(first)
    assert begun[4:] == [before, ended[1], anew]
    assert ended[4] == ended[1]


def test_a_network_from_scratch_that_learns_nothing_is_called_that(world):
    training = {"learning_rate": 1e-7, "epochs": 2}
    assert "stress.scratch_at_chance" in {f.code for f in stress(world, plasticity=True, training=training).findings}
    relearnt = stress(world, plasticity=True, training={"epochs": 20})
    assert "stress.scratch_at_chance" not in {f.code for f in relearnt.findings}


def test_plasticity_without_a_way_to_begin_anew(world, monkeypatch):
    monkeypatch.setattr("tlaudit.training.fresh._RESETS", ())
    found = stress(world, plasticity=True, training={"epochs": 1})
    assert "cannot be begun from scratch" in found["stress.plasticity.area_scratch"].absent
    assert found["stress.plasticity.area_relearning"].value is not None
    assert "stress.no_scratch" in {finding.code for finding in found.findings}


# Which images


def test_a_fifth_of_each_class_is_held_out(world):
    found = stress(world, test=None, training={"epochs": 1})
    data = found.provenance.data
    assert (data["training"].images, data["test"].images) == (57, 15)
    assert data["training"].fingerprint != data["test"].fingerprint
    assert "stress.held_out" in {finding.code for finding in found.findings}
    subject = subject_of(world)
    split, again = (divide(subject, options_of(world, test=None)) for _ in range(2))
    assert split.test.images == again.test.images
    assert not {item.name for item in split.test.images.items} & {item.name for item in split.training.images.items}
    assert torch.bincount(split.test.labels).tolist() == [5, 5, 5]
    other = divide(subject_of(world, execution={"seed": 1}), options_of(world, test=None))
    assert other.test.images != split.test.images


def test_unreadable_images_are_left_out_and_recorded(world, tmp_path):
    for name in ("train", "test"):
        shutil.copytree(world / name, tmp_path / name)
        (tmp_path / name / "ash" / "000.png").write_bytes(b"nothing")
    subject = subject_of(world, data={"source": tmp_path / "train"})
    found = stress(world, subject=subject, test=tmp_path / "test", training={"epochs": 1})
    assert {key: (r.images, len(r.skipped)) for key, r in found.provenance.data.items()} == {
        "training": (71, 1),
        "test": (47, 1),
    }
    assert found["stress.clean_accuracy.1"].n == 47
    assert found.tables["runs"].rows[-1]["planted"] == 71
    strict = subject_of(world, data={"source": tmp_path / "train", "strict": True})
    with pytest.raises(DataError, match="none may be skipped"):
        stress(world, subject=strict)


def test_test_folders_mean_what_training_folders_do(world, tmp_path):
    shutil.copytree(world / "test", tmp_path / "test")
    subject = subject_of(world)
    assert torch.bincount(divide(subject, options_of(world, test=tmp_path / "test")).test.labels).tolist() == [16] * 3
    (tmp_path / "test" / "ash").rename(tmp_path / "test" / "0")
    assert torch.bincount(divide(subject, options_of(world, test=tmp_path / "test")).test.labels).tolist() == [16] * 3


def test_squares_of_another_class_are_of_a_class_that_is_trained(world):
    subject, options = subject_of(world), options_of(world)
    images = StressImages(divide(subject, options), subject, options)
    colours = class_colours(3)
    for own, other in zip(images.tests("own"), images.tests("other"), strict=True):
        assert torch.equal(own.pixels[:, :, 0, 0], colours[own.labels])
        wrong = other.pixels[:, :, 0, 0]
        assert all(not torch.equal(a, b) for a, b in zip(wrong, colours[own.labels], strict=True))
        assert all(any(torch.equal(a, colour) for colour in colours) for a in wrong)


# Bad input


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ratios": (0, 0.5, 0.5)}, "--ratios: 0.5 named twice"),
        ({"ratios": (0, 1.5)}, "ratios.1: input should be less than or equal to 1"),
        ({"ratios": (-0.1,)}, "ratios.0: input should be greater than or equal to 0"),
        ({"ratios": ()}, "at least 1 item"),
        ({"stages": ("stem", "stem")}, "--stages stem: named twice"),
        ({"stages": ("nowhere",)}, "--stages nowhere: no network has such a module"),
        ({"square": 0}, "greater than 0"),
        ({"training": {"epochs": 0}}, "stress.training.epochs"),
        ({"ratios": (0.5, 0.5000000001)}, "--ratios: 0.5 named twice"),
        ({"ratios": (float("nan"),)}, "ratios.0"),
        ({"ratios": (0,), "plasticity": True}, "--plasticity needs a training with squares"),
        ({"ratios": (0,), "bisect": 0.1}, "--bisect needs a training with squares"),
        ({"training": {"clip": float("inf")}}, "stress.training.clip: input should be a finite number"),
        ({"training": {"clip": float("nan")}}, "stress.training.clip: input should be a finite number"),
        ({"training": {"momentum": 0.5}}, "momentum is of sgd, and the optimizer is adamw"),
    ],
)
def test_refuses_options(world, given, message):
    with pytest.raises(UsageError, match=message):
        stress(world, **given)


def test_refuses_images(world, tmp_path):
    (tmp_path / "one").mkdir()
    shutil.copytree(world / "train" / "ash", tmp_path / "one" / "0")
    with pytest.raises(UsageError, match="expected training images of at least 2 classes, got 1"):
        stress(world, subject=subject_of(world, data={"source": tmp_path / "one"}), test=None)
    shutil.copytree(world / "test", tmp_path / "missing")
    shutil.rmtree(tmp_path / "missing" / "birch")
    with pytest.raises(UsageError, match="missing: no test image shows 1, which is trained on"):
        stress(world, test=tmp_path / "missing")
    two = tmp_path / "two"
    for number, name in enumerate(("ash", "birch")):
        shutil.copytree(world / "train" / name, two / str(number))
    shutil.copytree(world / "test", tmp_path / "numbered")
    for number, name in enumerate(CLASSES):
        (tmp_path / "numbered" / name).rename(tmp_path / "numbered" / str(number))
    with pytest.raises(UsageError, match="numbered: shows 2, of which there is no training image"):
        stress(world, subject=subject_of(world, data={"source": two}), test=tmp_path / "numbered")
    with pytest.raises(UsageError, match=r"72 test images are training images too \(ash/000\.png, .* and 62 more\)"):
        stress(world, test=world / "train")
    for name in CLASSES:
        (tmp_path / "few" / name).mkdir(parents=True)
        shutil.copy(world / "test" / name / "000.png", tmp_path / "few" / name)
    with pytest.raises(DataError, match="expected at least 4 test images, got 3"):
        stress(world, test=tmp_path / "few")
    (tmp_path / "few" / "ash" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="expected at least 4 test images, 3 can be read"):
        stress(world, test=tmp_path / "few")


def test_refuses_batches_before_an_image_is_read(world, monkeypatch):
    monkeypatch.setattr("tlaudit.checks.stress_data.TrainingImages", lambda *_, **__: pytest.fail("images were read"))
    with pytest.raises(UsageError, match="--batch-size 3: a batch is a minibatch of CKA, which needs at least 4"):
        stress(world, subject=subject_of(world, execution={"batch_size": 3}))
    with pytest.raises(UsageError, match="a batch size of 1 and 72 training images"):
        StressCheck().refuse(subject_of(world), options_of(world, training={"batch_size": 1}))
    StressCheck().refuse(subject_of(world), options_of(world, training={"batch_size": 1, "batch_norm": "frozen"}))


@pytest.mark.parametrize(("part", "what"), [("train", "training"), ("test", "test")])
def test_refuses_classes_without_an_image(world, tmp_path, part, what):
    shutil.copytree(world / part, tmp_path / part)
    for file in (tmp_path / part / "birch").iterdir():
        file.write_bytes(b"nothing")
    subject = subject_of(world, data={"source": tmp_path / "train"} if part == "train" else None)
    with pytest.raises(DataError, match=f"none of the {what} images of 1 can be read"):
        stress(world, subject=subject, **({"test": tmp_path / "test"} if part == "test" else {}))


def test_refuses_folders_of_runs(world, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.Training, "run", lambda self, note: pytest.fail("work was begun"))
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--runs names a folder for finished runs, this is a file"):
        stress(world, runs=tmp_path / "file")
    with pytest.raises(UsageError, match="does not exist"):
        stress(world, runs=tmp_path / "nowhere" / "runs")
    with pytest.raises(UsageError, match="cannot be made: File name too long"):
        stress(world, runs=tmp_path / ("a" * 300))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(UsageError, match="is not writable"):
        stress(world, runs=tmp_path)


def test_a_run_that_cannot_be_kept(world, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stress_runs, "write_atomically", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        stress(world, runs=tmp_path)


def test_more_classes_than_colours(world):
    subject = subject_of(world)
    source = dataclasses.replace(subject.pair.source, num_classes=2000)
    subject = dataclasses.replace(subject, pair=dataclasses.replace(subject.pair, source=source))
    with pytest.raises(MeasureError, match="1 to 1530 classes apart, got 2000"):
        StressCheck().refuse(subject, options_of(world))


# Progress


def test_one_bar_over_the_whole_sweep(world):
    told = []

    def progress(items, *, total, label, size=None):
        for item in items:
            told.append((label, total, size(item) if size else 1))
            yield item

    subject = dataclasses.replace(subject_of(world), progress=progress)
    stress(world, subject=subject, ratios=(0, 0.5, 1))
    sweep = [entry for entry in told if entry[0] == "stress"]
    assert {total for _, total, _ in sweep} == {3 * 8 * 72} == {sum(size for _, _, size in sweep)}
    assert {label for label, _, _ in told} == {"reading", "stress"}

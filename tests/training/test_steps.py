"""What a training tells of each step, and the file it goes to."""

from __future__ import annotations

import csv
import json
import math

import pytest
import torch

from small_training import CPU, EXECUTION, SMALL, net, options, training
from tlaudit.errors import DataError, UsageError
from tlaudit.models.preprocess import Normalizer
from tlaudit.training.loop import train
from tlaudit.training.objective import CrossEntropy
from tlaudit.training.state import SavedState
from tlaudit.training.steps import Step, StepFile, refuse_strange


class Penalised(CrossEntropy):
    def __call__(self, network, inputs):
        return super().__call__(network, inputs) | {"decay, squared": 0.5 * network.fc.weight.square().sum()}


def trained(data, path, objective=None, **more):
    return train(
        net(),
        data,
        options(),
        execution=EXECUTION,
        normalizer=Normalizer(SMALL, CPU),
        seed=0,
        objective=objective,
        step_file=StepFile(path),
        **more,
    )


def step(number=0, **losses):
    return Step(number, 0, 4, 0.5, losses or {"cross_entropy": 2.0}, 3, 1.5)


def test_worked_example():
    given = step(cross_entropy=0.5, ldifs=0.2, decay=0.05)
    assert given.penalty_ratio == pytest.approx(0.5)
    assert given.text == "epoch 1/3  cross_entropy 0.5  ldifs 0.2  decay 0.05"
    assert step(cross_entropy=2.0).penalty_ratio == 0
    assert step(cross_entropy=0.0, ldifs=1.0).penalty_ratio is None
    assert step(other=1.0).penalty_ratio is None


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_gradient_norm_is_that_before_clipping(data, clip):
    """Against the gradient taken by hand at the network of before."""
    made = training(data, options(clip=clip), net())
    steps = made.run()
    first = next(steps)
    network = net().train().requires_grad_(True)
    batch = next(data.epoch(0, seed=0, batch_size=8, flip=True))
    loss = torch.nn.functional.cross_entropy(network(Normalizer(SMALL, CPU)(batch.pixels)), batch.labels)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
    assert norm > 0.1
    assert first.gradient_norm == pytest.approx(norm, rel=1e-5)


def test_csv_has_a_row_a_step(data, tmp_path):
    path = tmp_path / "steps.csv"
    steps = list(training(data, options(), net(), objective=Penalised()).run())
    trained(data, path, Penalised())
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("step", "epoch", "images", "learning_rate", "loss", "cross_entropy", "decay, squared"),
        *("gradient_norm", "penalty_ratio"),
    ]
    assert [(int(row["step"]), int(row["epoch"]), int(row["images"])) for row in rows] == [
        (number + 1, number // 3 + 1, (8, 8, 6)[number % 3]) for number in range(6)
    ]
    for row, given in zip(rows, steps, strict=True):
        assert float(row["learning_rate"]) == given.learning_rate
        assert {name: float(row[name]) for name in given.losses} == given.losses
        assert float(row["loss"]) == pytest.approx(sum(given.losses.values()), rel=1e-12)
        assert float(row["gradient_norm"]) == given.gradient_norm
        assert float(row["penalty_ratio"]) == given.losses["decay, squared"] / given.losses["cross_entropy"]


def test_jsonl_says_the_same(data, tmp_path):
    trained(data, tmp_path / "steps.csv", Penalised())
    trained(data, tmp_path / "steps.jsonl", Penalised())
    with (tmp_path / "steps.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    objects = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [{name: str(value) for name, value in entry.items()} for entry in objects] == rows


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("torn", [b"", b"5,2", b'{"step": 5'], ids=["whole", "torn csv", "torn jsonl"])
def test_goes_on_byte_for_byte(data, tmp_path, suffix, torn):
    """Stopped after the fifth step, the last state being that after the fourth."""
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"steps{suffix}"
    trained(data, whole, Penalised())

    class Stopping(Penalised):
        def __call__(self, network, inputs):
            if inputs.step == 5:
                raise KeyboardInterrupt
            return super().__call__(network, inputs)

    saved = SavedState(tmp_path / "a.state", {}, every=4)
    with pytest.raises(KeyboardInterrupt):
        trained(data, path, Stopping(), saved=saved)
    assert len(path.read_bytes().splitlines()) == 5 + (suffix == ".csv")
    path.write_bytes(path.read_bytes() + torn)
    trained(data, path, Penalised(), saved=saved, resume=True)
    assert path.read_bytes() == whole.read_bytes()


def test_begins_anew_where_the_training_does(data, tmp_path):
    path = tmp_path / "steps.csv"
    trained(data, path)
    first = path.read_bytes()
    trained(data, path)
    assert path.read_bytes() == first
    path.write_bytes(first + b"torn")
    trained(data, path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_file_that_is_missing_begins_where_the_training_goes_on(tmp_path, caplog, suffix):
    path = tmp_path / f"steps{suffix}"
    file = StepFile(path)
    file.begin(3)
    file.write(step(3))
    file.close()
    assert "has rows of 0 of the first 3 steps" in caplog.text
    again = StepFile(path)
    again.begin(4)
    again.write(step(4))
    again.close()
    lines = path.read_text(encoding="utf-8").splitlines()[suffix == ".csv" :]
    assert [int(line.split(",")[0].removeprefix('{"step": ')) for line in lines] == [4, 5]


def test_what_is_not_defined_is_empty(tmp_path):
    undefined = Step(0, 0, 4, 0.5, {"other": 1.0}, 3, None)
    for suffix, ending in ((".csv", "1.0,1.0,,\n"), (".jsonl", '"gradient_norm": null, "penalty_ratio": null}\n')):
        file = StepFile(tmp_path / f"steps{suffix}")
        file.begin(0)
        file.write(undefined)
        file.close()
        assert (tmp_path / f"steps{suffix}").read_text(encoding="utf-8").endswith(ending)


def test_refuses_files_of_other_kinds(tmp_path):
    with pytest.raises(UsageError, match=r"steps\.txt: expected a name that ends in \.csv or \.jsonl"):
        StepFile(tmp_path / "steps.txt")
    with pytest.raises(UsageError, match="does not exist; create it first"):
        StepFile(tmp_path / "none" / "steps.csv")
    for name, content in (
        ("a.csv", "my,diary\n1,2\n"),
        ("b.jsonl", "my diary\n"),
        ("c.jsonl", '{"day": 1}\n'),
        ("d.csv", "step,epoch,images,learning_rate,loss,a,gradient_norm,penalty_ratio\nx,1\n"),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(UsageError, match="expected what the steps of this training did; name another file"):
            StepFile(tmp_path / name).begin(1)
        assert (tmp_path / name).read_text(encoding="utf-8") == content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "date,expense\n1,2\n"),
        ("a.csv", "date,expense"),
        ("a.csv", "step,epoch\n"),
        ("a.csv", "\n"),
        ("a.jsonl", "my diary\n"),
        ("a.jsonl", '{"step": 1, "loss": 0.5}\n'),
        ("a.jsonl", '{"step": 1, "loss": 0.5}'),
    ],
)
@pytest.mark.parametrize("number", [0, 1])
def test_a_table_of_somebody_else_is_not_begun_anew(tmp_path, name, content, number):
    file = StepFile(tmp_path / name)
    (tmp_path / name).write_text(content, encoding="utf-8")
    told = rf"{name}: expected what the steps of this training did; name another file, or remove it"
    for act in (lambda: refuse_strange(tmp_path / name), lambda: file.begin(number)):
        with pytest.raises(UsageError, match=told):
            act()
    assert (tmp_path / name).read_text(encoding="utf-8") == content


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_rows_of_an_earlier_run_are_replaced_wherever_they_end(tmp_path, suffix):
    path = tmp_path / f"steps{suffix}"
    refuse_strange(path)
    for number in (0, 12):
        file = StepFile(path)
        file.begin(number)
        file.write(step(number))
        file.close()
        whole = path.read_bytes()
        for end in range(len(whole) + 1):
            path.write_bytes(whole[:end])
            refuse_strange(path)
            file.begin(0)
            file.close()
            assert path.read_bytes() == b""


def test_refuses_terms_that_have_no_column(tmp_path):
    file = StepFile(tmp_path / "steps.csv")
    file.begin(0)
    file.write(step(0, cross_entropy=1.0))
    with pytest.raises(UsageError, match="expected what the steps of this training did"):
        file.write(step(1, cross_entropy=1.0, other=2.0))
    file.close()


def test_a_full_disk_ends_it(tmp_path, monkeypatch):
    file = StepFile(tmp_path / "steps.csv")
    file.begin(0)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"steps\.csv: what the steps did cannot be written: No space left on device"):
        file.sync()
    file.close()


def test_rows_are_written_after_begin_only(tmp_path):
    with pytest.raises(RuntimeError, match="begin a file of steps"):
        StepFile(tmp_path / "steps.csv").write(step())

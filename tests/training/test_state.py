"""A training that is stopped, at any moment and by any means, goes on as if it had not been."""

from __future__ import annotations

import multiprocessing
import random
import resource
import signal
import time

import numpy as np
import pytest
import torch

from small_training import EXECUTION, SMALL, images_in, net, options, same, state, train_safely, training
from tlaudit.errors import CheckpointError, DataError, UsageError
from tlaudit.files import unfinished_name
from tlaudit.models.preprocess import Normalizer
from tlaudit.training import state_file
from tlaudit.training.loop import train
from tlaudit.training.objective import CrossEntropy
from tlaudit.training.state import SavedState

KEY = {"training.epochs": 3, "seed": 0, "classes": ("red", "blue"), "init": None}
ROUGH = {"epochs": 3, "crop_scale": 0.5, "jitter": 0.3}
SGD = {**ROUGH, "optimizer": "sgd", "momentum": 0.9, "nesterov": True}


class Drawing(CrossEntropy):
    """Draws random numbers of all kinds."""

    def __call__(self, network, inputs):
        images = inputs.images + 0.1 * torch.randn_like(inputs.images) + random.random() + float(np.random.rand())
        inputs = type(inputs)(inputs.step, inputs.index, images, inputs.labels, inputs.part)
        return super().__call__(network, inputs)


def accuracy(network):
    """Some number that changes from epoch to epoch and depends on the weights."""
    assert not network.training
    return float(network.fc.weight.abs().sum()) % 0.1


def whole(data, given, **more):
    made = training(data, given, objective=Drawing())
    steps = list(made.run(**more))
    return made.finish(), steps


@pytest.mark.parametrize("given", [ROUGH, SGD], ids=["adamw", "sgd"])
def test_stopped_after_any_step(data, tmp_path, given):
    given, ways = options(**given), {"validate": accuracy, "keep": "best", "patience": 2}
    expected, steps = whole(data, given, **ways)
    for stop in range(1, len(steps) + 1):
        saved = SavedState(tmp_path / f"{stop}.state", KEY)
        before = training(data, given, objective=Drawing())
        running = before.run(**ways)
        assert [next(running) for _ in range(stop)] == steps[:stop]
        saved.write(before)
        list(running)  # what happens afterwards changes nothing of what was saved
        after = training(data, given, objective=Drawing())
        assert saved.restore(after)
        assert (after.step, after.left) == (stop, after.images - sum(step.images for step in steps[:stop]))
        assert list(after.run(**ways)) == steps[stop:]
        trained = after.finish()
        assert same(state(trained.network), state(expected.network))
        assert (trained.history, trained.kept, trained.stopped) == (
            expected.history,
            expected.kept,
            expected.stopped,
        )


def test_what_a_user_sees_is_what_an_uninterrupted_training_shows(folder, tmp_path):
    """Stopped by an exception again and again, from files on disk."""

    class Stopping(Drawing):
        steps = 0

        def __call__(self, network, inputs):
            Stopping.steps += 1
            if Stopping.steps % 4 == 0:
                raise KeyboardInterrupt
            return super().__call__(network, inputs)

    data, given, epochs = images_in(folder, budget=0), options(**ROUGH), []

    def once(objective):
        saved = SavedState(tmp_path / "a.state", KEY, every=2)
        return train(
            net(dropout=0.3),
            data,
            given,
            execution=EXECUTION,
            normalizer=Normalizer(SMALL, torch.device("cpu")),
            seed=0,
            objective=objective,
            on_epoch=lambda number, network: epochs.append(number),
            saved=saved,
            resume=True,
        )

    trained = None
    for _ in range(20):
        try:
            trained = once(Stopping())
            break
        except KeyboardInterrupt:
            continue
    expected, _ = whole(images_in(folder), given)
    assert Stopping.steps > 9
    assert sorted(set(epochs)) == [0, 1, 2]
    assert same(state(trained.network), state(expected.network))
    assert trained.history == expected.history
    Stopping.steps = 0
    again = once(Stopping())  # all is done already
    assert Stopping.steps == 0
    assert same(state(again.network), state(expected.network))


@pytest.mark.slow
def test_killed_at_random_moments(folder, tmp_path):
    """The state is written after each step, so that many of the kills fall into a write."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["small_training"])

    def begun(place):
        place.mkdir(exist_ok=True)
        process = context.Process(target=train_safely, args=(folder, place))
        process.start()
        return process

    process = begun(tmp_path / "whole")
    process.join()
    assert process.exitcode == 0
    rng, place, ends, during = random.Random(0), tmp_path / "killed", [], 0
    while not (place / "done.pth").exists():
        process, before, writes = begun(place), state_of(place), rng.randint(1, 2)
        while process.is_alive() and writes:  # by what it has written, not by the clock: machines differ
            now = state_of(place)
            writes, before = writes - (now != before), now
            time.sleep(0.0005)
        process.join(0.01 * rng.random() if len(ends) < 8 else 60)
        process.kill()
        process.join()
        ends.append(process.exitcode)
        during += len(list(place.glob(".a.state.*.tlaudit-tmp")))
    assert ends.count(-signal.SIGKILL) >= 3
    assert during <= len(ends)
    ours, theirs = (torch.load(p / "done.pth", weights_only=True) for p in (place, tmp_path / "whole"))
    assert same(ours, theirs)
    assert (place / "a.csv").read_bytes() == (tmp_path / "whole" / "a.csv").read_bytes()
    assert {"a.csv", "a.state", "done.pth"} <= {p.name for p in place.iterdir()}


def state_of(place):
    """What tells one written state from the next."""
    file = place / "a.state"
    return (file.stat().st_ino, file.stat().st_mtime_ns) if file.exists() else None


def test_left_overs_of_a_killed_write_are_removed(data, tmp_path):
    ours, others = tmp_path / unfinished_name("a.state"), tmp_path / ".a.state.01234567.tmp"
    for write in (True, False):
        ours.write_bytes(b"half")
        others.write_bytes(b"half")
        saved = SavedState(tmp_path / "a.state", KEY)
        (saved.write if write else saved.restore)(training(data, options()))
        assert not ours.exists()
        assert others.exists()


def test_saves_as_often_as_asked(data, tmp_path):
    for every, due in ((0, []), (1, [1, 2, 4, 5]), (2, [2, 4])):
        saved, made = SavedState(tmp_path / "a.state", KEY, every=every), training(data, options())
        assert [made.step for _ in made.run() if saved.is_due(made)] == due


def test_saved_after_each_epoch_and_on_the_way(data, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(SavedState, "write", lambda self, made: written.append((made.step, len(made.state()["kept"]))))
    saved = SavedState(tmp_path / "a.state", KEY, every=2)
    normalizer = Normalizer(SMALL, torch.device("cpu"))
    train(net(), data, options(), execution=EXECUTION, normalizer=normalizer, seed=0, saved=saved)
    assert [step for step, _ in written] == [2, 3, 4, 6]
    assert [bool(kept) for _, kept in written] == [False, True, True, True]


def test_no_state_is_a_training_from_the_beginning(data, tmp_path):
    made = training(data, options())
    assert not SavedState(tmp_path / "a.state", KEY).restore(made)
    assert made.step == 0


def test_refuses_the_state_of_another_training(data, tmp_path):
    SavedState(tmp_path / "a.state", KEY).write(training(data, options()))
    SavedState(tmp_path / "a.state", {**KEY, "classes": ["red", "blue"]}).restore(training(data, options()))
    other = {"training.epochs": 4, "classes": ["red", "green"], "init": None, "device": "cpu"}
    with pytest.raises(
        UsageError,
        match=r'--resume: the saved training was made with other options: classes \["red", "blue"\], now \["red", '
        r'"green"\]; device not set, now "cpu"; seed 0, now not set; training.epochs 3, now 4; give the same',
    ):
        SavedState(tmp_path / "a.state", other).restore(training(data, options()))


def test_a_damaged_state_is_never_believed(data, tmp_path):
    path = tmp_path / "a.state"
    saved = SavedState(path, KEY)
    made = training(data, options())
    next(made.run())
    saved.write(made)
    content, rng = path.read_bytes(), random.Random(0)
    places = [0, 30, len(content) - 1, *(rng.randrange(len(content)) for _ in range(20))]
    damaged = [content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :] for at in places]
    for bad in [*damaged, b"", content[:100], content[:-1], content + b"0"]:
        path.write_bytes(bad)
        other = training(data, options())
        with pytest.raises(CheckpointError, match=r"a\.state: (damaged|expected the saved state of a training)"):
            saved.restore(other)
        assert other.step == 0
    path.write_bytes(content)
    assert saved.restore(training(data, options()))


def test_refuses_the_state_of_another_network(data, tmp_path):
    saved = SavedState(tmp_path / "a.state", KEY)
    saved.write(training(data, options(), net(classes=3)))
    with pytest.raises(CheckpointError, match=r"a\.state: does not hold .*other shape are fc\.\w+"):
        saved.restore(training(data, options(), net(classes=2)))
    state_file.write_state(saved.path, {"key": "{}", "something": "else"})
    with pytest.raises(CheckpointError, match=r"a\.state: does not hold"):
        SavedState(saved.path, {}).restore(training(data, options()))


def test_buffers_that_a_state_dict_leaves_out_are_saved(data, tmp_path):
    def counting():
        network = net()
        network.register_buffer("calls", torch.zeros(()), persistent=False)
        network.register_forward_pre_hook(lambda module, _: module.calls.add_(1) and None)
        return network

    saved, made = SavedState(tmp_path / "a.state", KEY), training(data, options(), counting())
    running = made.run()
    next(running)
    next(running)
    saved.write(made)
    other = training(data, options(), counting())
    saved.restore(other)
    assert other.network.calls == 2


@pytest.mark.parametrize("room", [10, 5000])
def test_a_full_disk_leaves_the_last_state(data, tmp_path, room):
    made, saved = training(data, options()), SavedState(tmp_path / "a.state", KEY)
    saved.write(made)
    next(made.run())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(DataError, match=r"a\.state: the state of the training cannot be saved: File too large$"):
            saved.write(made)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    other = training(data, options())
    assert saved.restore(other)
    assert other.step == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a.state"]


def test_refuses_places_that_cannot_be_written(data, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="does not exist; create it first"):
        SavedState(tmp_path / "none" / "a.state", KEY)
    with pytest.raises(UsageError, match="expected a file to write, this is a folder"):
        SavedState(tmp_path, KEY)
    saved = SavedState(tmp_path / "a.state", KEY)

    def gone(path, state):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tlaudit.training.state.write_state", gone)
    with pytest.raises(DataError, match=r"a\.state: the state of the training cannot be saved: Permission denied"):
        saved.write(training(data, options()))


def test_removed_when_done(data, tmp_path):
    saved = SavedState(tmp_path / "a.state", KEY)
    saved.write(training(data, options()))
    saved.remove()
    saved.remove()
    assert not list(tmp_path.iterdir())

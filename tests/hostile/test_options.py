"""Every option of every command with values that nobody should give: refused in words, or legal, and never a crash."""

from __future__ import annotations

import resource

import pytest
import typer

import hostile_settings
import several
from commanded import command, refused
from tlaudit.cli.app import COMMANDS, app
from tlaudit.cli.flags import FLAGS

WORDS = ["-1", "nan", str(10**12)]
READ = {"lingering", "distraction", "erosion", "stress", "audit", "repair", "screen"}
"""Commands that read a configuration."""


def parameters():
    """Every command with each of its options that takes a value."""
    group = typer.main.get_command(app)
    for name in sorted(COMMANDS):
        for one in group.commands[name].params:
            option = next((word for word in one.opts if word.startswith("--")), None)
            if option is not None and not getattr(one, "is_flag", False):
                yield name, option


ALL = list(parameters())


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return several.build(tmp_path_factory.mktemp("world"))


def test_no_command_and_no_number_is_forgotten():
    assert {name for name, _ in ALL} == set(COMMANDS) - {"schema"}
    numbers = {flag.names.split()[0] for section in FLAGS.values() for flag in section if flag.kind in (int, float)}
    assert numbers <= {option for name, option in ALL if name in READ}
    assert len(ALL) > 200


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(READ))
def test_numbers_of_every_kind(name):
    """What the schema allows goes on to the next complaint, that no network is named; all else is about the option.

    An option that several commands have is tried in the last of them; they share its declaration.
    """
    images = ("x.png",) if name == "screen" else ()
    wrong, count = [], 0
    for option in (
        known for known, last in {known: last for last, known in ALL if last in READ}.items() if last == name
    ):
        places = [
            (section, flag.key, flag.kind)
            for section, flags in FLAGS.items()
            for flag in flags
            if flag.names.split()[0] == option and flag.kind in (int, float)
        ]
        for word in WORDS if places else ():
            count += 1
            wrong += misjudged(command(name, *images, f"{option}={word}"), option, word, places)
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:30])


def misjudged(ended, option, word, places):
    """What is wrong with how a value was taken."""
    said = f"{option}={word[:20]!r}: exit code {ended.code}, {ended.err[-300:]!r}"
    if ended.code != 2 or "crashed" in ended.err:
        return [said]
    try:
        value = places[0][2](word)
    except ValueError:
        return [] if option in ended.err and "Invalid value" in ended.err else [said]
    legal = value == value and any(hostile_settings.SCHEMA.allows(value, _schema(*place[:2])) for place in places)
    named = ended.lines[-1].startswith("tlaudit: ") and any(key in ended.lines[-1] for _, key, _ in places)
    return [] if (named != legal or "give calibrate" in ended.err or " is of " in ended.err) else [said]


def _schema(section, key):
    node = hostile_settings.SCHEMA.root
    for part in (*section.split("."), key):
        node = (
            hostile_settings.SCHEMA.alternatives(node["properties"][part])[0]
            if part != key
            else node["properties"][part]
        )
    return node


TEXTS = ["", "[red]x", "a\nb\x1b[31m\u202e", "x" * 5000, "%s{0}"]
USED = ["--device", "--precision", "--interpolation", "--source", "--finetuned", "--arch", "--head", "--source-data"]
USED += ["--target-data", "--val-data", "--class-map", "--config", "--format", "--output", "--report", "--mean"]


@pytest.mark.slow
@pytest.mark.parametrize("option", USED)
def test_texts_that_mean_nothing(world, option):
    """With networks and images that are right, so that the option itself is what is wrong."""
    for text in TEXTS:
        ended = command(*lingering(world), option, text, "--limit", "4")
        assert ended.code in (2, 3), (text, ended)
        assert "crashed" not in ended.err, (text, ended.err)


def lingering(world):
    given = [
        "lingering",
        "--source",
        world / "source.pth",
        "--finetuned",
        world / "finetuned.pth",
        "--arch",
        several.ARCH,
    ]
    given += [
        "--source-data",
        world / "images",
        "--target-data",
        world / "target",
        "--crop",
        16,
        "--resize",
        16,
        "-j",
        0,
    ]
    return [*given, "--device", "cpu", "-q"]


def test_numbers_at_their_upper_ends_take_no_memory(world):
    """Nobody has so many images, classes or neighbours; what is there is all that is taken."""
    most = 10**9
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    words = (
        "--p-lo",
        0.5,
        "--batch-size",
        most,
        "--limit",
        most,
        "--v-lo-count",
        most,
        "--seed",
        2**32 - 1,
        "--top",
        most,
    )
    ended = command(*lingering(world), *words, "-f", "json")
    assert ended.code == 0, ended.err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    for option, value in (("--workers", 10**6), ("--bootstrap", 10**12), ("--seed", 2**32), ("--k", 10**12)):
        refused(2, command(*lingering(world), option, value), "less than")


@pytest.mark.parametrize(
    "option", ["--source-data", "--target-data", "--val-data", "--class-map", "--cache-dir", "--source"]
)
def test_an_empty_path_is_not_the_current_folder(option, tmp_path, monkeypatch):
    """As of a variable of the shell that is not set."""
    monkeypatch.chdir(tmp_path)
    refused(2, command("lingering", option, ""), "expected a path, got an empty text")
    key = {"--source-data": "data.source", "--source": "models.source"}.get(option)
    if key:
        section, name = key.split(".")
        (tmp_path / "tlaudit.toml").write_text(f'[{section}]\n{name} = ""\n', encoding="utf-8")
        refused(2, command("lingering"), f"tlaudit.toml: {key}: expected a path, got an empty text")

"""Configurations broken in every way: each is refused in a line that names file and key, or it is legal."""

from __future__ import annotations

import os
import threading
import time
import tomllib
from pathlib import Path

import pytest

import hostile_documents
import hostile_files
import hostile_settings
from commanded import command, refused
from gated import flips
from hostile_settings import COMPLETE, EXCLUDED, SCHEMA
from tlaudit import config, reading
from tlaudit.config import load_settings, settle
from tlaudit.errors import ConfigError

CONTENT = hostile_documents.toml_text(COMPLETE).encode()
DAMAGED = hostile_files.damaged(CONTENT)
MOST = 5000
"""Characters of a refusal."""


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setattr(reading, "PATIENCE", 0.0)


@pytest.fixture
def held(monkeypatch):
    """Reads a text as if it stood in a file: thousands of files would take their time to be written."""

    def read(content):
        monkeypatch.setattr(config, "whole", lambda *_: content)
        return load_settings({}, Path("t.toml"))

    return read


def test_the_document_that_is_broken_has_every_key(held):
    everything = COMPLETE
    for path, value in EXCLUDED.items():
        everything = hostile_documents.changed(everything, path, value)
    assert SCHEMA.met(everything) == SCHEMA.described()
    assert SCHEMA.allows(COMPLETE)
    assert tomllib.loads(CONTENT.decode()) == COMPLETE
    held(CONTENT)


def test_every_key_in_every_wrong_way():
    wrong, counts = [], {True: 0, False: 0}
    for variant in hostile_documents.variants(SCHEMA, COMPLETE):
        if "given twice" in variant.name:
            continue
        legal = hostile_settings.is_legal(variant)
        counts[legal] += 1
        wrong += disagreement(variant, legal, lambda: settle(variant.document))  # noqa: B023 - called here
    assert not wrong, f"{len(wrong)} of {sum(counts.values())}:\n" + "\n".join(wrong[:40])
    assert counts[True] > 500
    assert counts[False] > 3000


def test_what_toml_has_and_no_key_may_be_in_a_file(held):
    """With what no TOML is, and keys given twice; only the section in question is written."""
    texts = hostile_documents.textual(SCHEMA, COMPLETE, hostile_documents.TOML_TEXTS)
    twice = (one for one in hostile_documents.variants(SCHEMA, COMPLETE) if "given twice" in one.name)
    wrong, count = [], 0
    for variant in (*texts, *twice):
        section = str(variant.path[0]).removeprefix("@twice:")
        some = {key: value for key, value in variant.document.items() if key.removeprefix("@twice:") == section}
        content = hostile_documents.toml_text(some).encode()
        count += 1
        wrong += disagreement(variant, False, lambda: held(content), "t.toml")  # noqa: B023 - called here
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:40])
    assert count > 2000


def disagreement(variant, legal, read, file=None):
    """What is wrong with how a variant was taken; nothing if it was taken as it should be."""
    try:
        read()
    except ConfigError as error:
        said = str(error)
        if legal:
            return [f"{variant.name}: legal, but {said[:200]}"]
        key = str(next(part for part in reversed(variant.path) if isinstance(part, str))).removeprefix("@twice:")
        named = variant.legal or key in said or "as TOML" in said
        if file is not None and not said.startswith(f"{file}:"):
            return [f"{variant.name}: does not name the file: {said[:200]!r}"]
        return (
            [] if said.isprintable() and len(said) < MOST and named else [f"{variant.name}: told badly: {said[:200]!r}"]
        )
    except Exception as error:  # noqa: BLE001 - a crash is what is looked for
        return [f"{variant.name}: crashed: {error!r}"[:300]]
    return [] if legal else [f"{variant.name}: accepted"]


@pytest.mark.parametrize("path", EXCLUDED, ids=".".join)
def test_keys_that_exclude_each_other(path):
    with pytest.raises(ConfigError, match="give one|leave (it|them) out|both set the threshold"):
        settle(hostile_documents.changed(COMPLETE, path, EXCLUDED[path]))


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_is_no_configuration(tmp_path, name):
    (tmp_path / "t.toml").write_bytes(DAMAGED[name])
    with pytest.raises(ConfigError, match=r"^t.toml: cannot be read") as caught:
        load_settings({}, Path("t.toml"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < MOST


@pytest.mark.parametrize("content", [b"", b"\n", b"# x", b"\xef\xbb\xbf", b"\xef\xbb\xbf[lingering]\r\nk = 3\r\n"])
def test_what_is_short_and_legal(held, content):
    assert held(content).lingering.k == (3 if b"k" in content else 5)


def test_a_configuration_that_was_cut_off_or_flipped_is_refused_or_read(held):
    """Whatever is left of it, nothing but a ConfigError leaves the reader."""
    read = refused_ = 0
    for content in (*hostile_files.cut(CONTENT), *hostile_files.flipped(CONTENT, 150)):
        try:
            held(content)
            read += 1
        except ConfigError as error:
            refused_ += 1
            assert str(error).startswith("t.toml:")  # noqa: PT017 - of many, some are legal
            assert str(error).isprintable()  # noqa: PT017 - of many, some are legal
    assert read > 10
    assert refused_ > 100


BOMBS = {
    "a key of 100 000 parts": ".".join(["a"] * 100_000) + " = 1",
    "a header of 100 000 parts": "[" + ".".join(["a"] * 100_000) + "]",
    "a key of 100 000 quoted parts": " . ".join(['"a b"'] * 100_000) + " = 1",
    "a key of 5000 parts in a table": "[lingering]\nk = [{" + ".".join(["a"] * 5000) + " = 1}]",
}


@pytest.mark.parametrize("name", BOMBS)
def test_dotted_keys_that_would_fill_the_memory(held, name):
    with pytest.raises(ConfigError, match=r"^t.toml: expected TOML to read, got a key of more than 50 parts"):
        held(BOMBS[name].encode())


def test_looking_for_such_keys_takes_no_time_itself(held):
    """Texts that a regular expression could look at again and again."""
    for text in ("a" * 10**5, '\\"' * 10**5, "a." * 199 * 100, "'" * 10**5, "a . " * 10**4, '"a".' * 199):
        begun = time.process_time()
        with pytest.raises(ConfigError):
            held(text.encode())
        assert time.process_time() - begun < 2


def test_values_nested_deeply_but_not_too_deeply_to_read(held):
    for key in ("[lingering]\nk", "[preprocess]\nmean", "[audit]\nchecks", "[policy]\nrules", "[models]\nsource"):
        for nested in ("[" * 300 + "]" * 300, "{a=" * 150 + "1" + "}" * 150):
            with pytest.raises(ConfigError, match=r"^t.toml:"):
                held(f"{key} = [{nested}]".encode())


def test_a_file_that_is_too_large(tmp_path):
    (tmp_path / "t.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ConfigError, match=r"^t.toml: cannot be read: it holds more than 1 MiB"):
        load_settings({}, Path("t.toml"))


@pytest.mark.parametrize("path", hostile_files.REASONS)
def test_places_from_which_no_configuration_can_be_read(tmp_path, path):
    hostile_files.build(tmp_path)
    with pytest.raises(ConfigError, match=hostile_files.REASONS[path]) as caught:
        load_settings({}, Path(path))
    assert str(caught.value).isprintable()


def test_a_configuration_from_a_pipe_or_a_device(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "PATIENCE", 30.0)
    os.mkfifo(tmp_path / "t.toml")
    writer = threading.Thread(target=(tmp_path / "t.toml").write_text, args=("[lingering]\nk = 3\n",))
    writer.start()
    assert load_settings({}, Path("t.toml")).lingering.k == 3
    writer.join()
    assert load_settings({}, Path("/dev/null")).lingering.k == 5
    with pytest.raises(ConfigError, match="/dev/zero: cannot be read: it holds more than 1 MiB"):
        load_settings({}, Path("/dev/zero"))


@pytest.mark.parametrize("name", hostile_files.NAMES)
def test_names_of_configurations(tmp_path, name):
    path = Path(f"{hostile_files.NAMES[name]}.toml")
    (tmp_path / "report.json").write_text(flips(0.01).to_json())
    path.write_text('[[policy.rules]]\nmetric = "distraction.flip_rate"\nmax = 0.5\n')
    given = path if name != "a leading dash" else f"./{path}"
    assert command("gate", "report.json", "--policy", given).code == 0
    for broken in ("[lingering]\nk = 0", "[lingering", '[[policy.rules]]\nmetric = "x"\nmax = 1'):
        path.write_text(broken)
        refused(2, command("gate", "report.json", "--config", given), "lingering.k|as TOML|no measurement is called")


@pytest.mark.parametrize("name", ["lingering", "audit", "erosion", "stress", "repair", "screen"])
def test_every_command_reads_its_configuration_before_anything_else(tmp_path, name):
    images = ("x.png",) if name == "screen" else ()
    (tmp_path / "tlaudit.toml").write_text('[models]\nsource = "a\\u0000b"\n')
    refused(2, command(name, *images), "^tlaudit: tlaudit.toml: models.source: expected a path, got one with a NUL")
    (tmp_path / "tlaudit.toml").write_text('[lingering]\n"k\\n\\u001b[31m" = 1\n')
    refused(2, command(name, *images), r"unknown key 'k\\u000a\\u001b\[31m' in \[lingering\]")
    (tmp_path / "loop.toml").symlink_to("loop.toml")
    refused(2, command(name, *images, "--config", "loop.toml"), "Too many levels of symbolic links")


def test_a_value_of_the_command_line_is_not_blamed_on_the_file(tmp_path):
    (tmp_path / "tlaudit.toml").write_text("[lingering]\nv_lo = 0.1\nk = 2\n")
    refused(2, command("lingering", "--k", "0"), "^tlaudit: lingering.k: ")
    refused(2, command("lingering", "--p-lo", "2", "--k", "3"), "^tlaudit: lingering.p_lo: ")
    (tmp_path / "tlaudit.toml").write_text("[lingering]\nv_lo = 7\n")
    refused(2, command("lingering", "--k", "3"), "^tlaudit: tlaudit.toml: lingering.v_lo: ")


SUMMARIES = ["", "nowhere/x", ".", "/dev/full", "/dev/null", "x" * 300, "loop.json", "pipe.json", "a\nb"]


@pytest.mark.parametrize("summary", SUMMARIES)
def test_a_step_summary_that_cannot_be_written_changes_no_verdict(tmp_path, monkeypatch, summary):
    hostile_files.build(tmp_path)
    (tmp_path / "report.json").write_text(flips(0.5).to_json())
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", summary)
    ended = command("gate", "report.json", "--first-release")
    assert ended.code == 1
    assert all(line.startswith("tlaudit: ") for line in ended.lines)

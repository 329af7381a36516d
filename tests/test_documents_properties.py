"""What holds of all documents: what is written is read back, and what is no document raises nothing but our errors."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compared import lingering
from tlaudit import config, documents
from tlaudit.config import load_settings, settle
from tlaudit.documents import read_report
from tlaudit.errors import ConfigError, ReportError
from tlaudit.quoting import quoted, shown, spelt
from tlaudit.results import AuditReport, CheckResult, Column, Finding, Interval, Measurement, Table
from tlaudit.toml_lines import lines_of

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**1000), 2**1000).filter(
    lambda value: len(str(abs(value))) < 300
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
WORDS = TEXTS.filter(bool)
CELLS = st.none() | st.booleans() | NUMBERS | TEXTS
PLAIN = st.recursive(
    CELLS | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def measurements(draw):
    """Any measurement."""
    value, words = draw(st.none() | NUMBERS), draw(WORDS)
    bounds = sorted(draw(st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))))
    interval = (
        Interval(low=bounds[0], high=bounds[1], method=words) if value is not None and draw(st.booleans()) else None
    )
    return Measurement(
        name=draw(TEXTS),
        meaning=words,
        unit=draw(TEXTS),
        better=draw(st.sampled_from(["lower", "higher", "neither"])),
        value=value,
        absent=words if value is None else None,
        n=draw(st.integers(0, 2**60)),
        interval=interval,
        interval_absent=words if value is not None and interval is None else None,
    )


@st.composite
def tables(draw):
    """Any table."""
    names = draw(st.lists(TEXTS, unique=True, max_size=4))
    rows = draw(st.lists(st.tuples(*[CELLS] * len(names)), max_size=4))
    return Table(
        title=draw(TEXTS),
        columns=tuple(Column(name=name, unit="text", meaning="M.") for name in names),
        rows=tuple(dict(zip(names, row, strict=True)) for row in rows),
        worst=tuple(range(len(rows))),
        brief=tuple(names[:1]),
    )


@st.composite
def results(draw):
    """Any result of a check, its measurements of different names."""
    found = {one.name: one for one in draw(st.lists(measurements(), max_size=3))}
    plain = dict(lingering())
    options = draw(st.dictionaries(TEXTS, CELLS | st.lists(CELLS, max_size=3), max_size=3))
    plain |= {
        "summary": draw(WORDS),
        "headline": tuple(found)[:1],
        "measurements": tuple(found.values()),
        "tables": draw(st.dictionaries(TEXTS, tables(), max_size=2)),
        "findings": tuple(
            Finding(code=code, severity="info", message="M.") for code in draw(st.lists(TEXTS, max_size=2))
        ),
        "provenance": plain["provenance"].model_copy(update={"options": options}),
    }
    return CheckResult.model_validate(plain)


@pytest.fixture(scope="module")
def held():
    """Gives both readers a text as if it stood in a file."""
    patch = pytest.MonkeyPatch()

    def hold(content):
        for module in (documents, config):
            patch.setattr(module, "whole", lambda *_: content)

    yield hold
    patch.undo()


@given(results())
@settings(max_examples=25)
def test_what_is_written_is_read_back(held, result):
    audit = AuditReport(subject="s", verdict="open", summary="S.", checks=(result,), left_out={}, run=result.run)
    held(audit.to_json().encode())
    assert read_report(Path("a.json")).results == (result,)
    held(result.to_json().encode())
    assert read_report(Path("a.json")).results == (result,)
    assert CheckResult.model_validate_json(result.to_json()).to_json() == result.to_json()


@given(st.binary(max_size=300) | PLAIN.map(lambda plain: json.dumps(plain).encode()))
def test_what_is_no_report_raises_a_report_error_alone(held, content):
    held(content)
    with pytest.raises(ReportError, match=r"^a.json: ") as caught:
        read_report(Path("a.json"))
    assert str(caught.value).isprintable()


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_bytes_of_all_kinds_raise_a_config_error_alone(held, content):
    held(content)
    try:
        load_settings({}, Path("t.toml"))
    except ConfigError as error:
        assert str(error).startswith("t.toml: ")  # noqa: PT017 - some are legal
        assert str(error).isprintable()  # noqa: PT017 - some are legal


SECTIONS = st.sampled_from(
    ["models", "data", "execution", "lingering", "screen", "stress", "audit", "repair", "policy"]
)
KEYS = TEXTS | st.sampled_from(["k", "seed", "ratios", "training", "rules", "methods", "checks", "source", "judge"])


@given(st.dictionaries(SECTIONS | TEXTS, st.dictionaries(KEYS, PLAIN, max_size=3) | PLAIN, max_size=4))
def test_values_of_all_kinds_raise_a_config_error_alone(written):
    try:
        settle(written)
    except ConfigError as error:
        assert str(error).isprintable()  # noqa: PT017 - some are legal


@given(TEXTS)
def test_quoted_text_is_read_back_by_toml_and_by_json(text):
    line = quoted(text)
    assert tomllib.loads(f"a = {line}")["a"] == text
    assert line.isprintable()


@given(st.text())
def test_what_is_shown_stands_in_a_line(text):
    assert shown(text).isprintable()
    assert spelt(text).isprintable()
    assert len(shown(text, 5)) <= 5 * 10 + 1
    assert shown(text) == text or not text.isprintable()


STRINGS = [
    '"[[policy.rules]]"',
    "'''\n[[policy.rules]]\n'''",
    '"""\n[[policy.rules]]\\\n"""',
    '"""a"""""',
    "[\n[[1]],\n# [[\n]",
]
FILLERS = ["", "# [[policy.rules]]", "  ", "\t# '''"]


@given(st.data())
def test_lines_of_rules_are_found_in_whatever_stands_around_them(data):
    lines, expected = [f"before = {data.draw(st.sampled_from(STRINGS))}"], []
    for number in range(data.draw(st.integers(0, 4))):
        lines += data.draw(st.lists(st.sampled_from(FILLERS), max_size=2))
        expected.append("\n".join(lines).count("\n") + 2)
        lines.append(
            data.draw(st.sampled_from(["[[policy.rules]]", ' [[ policy . "rules" ]] # x', "[['policy'.rules]]"]))
        )
        lines += [f"{quoted(data.draw(TEXTS))} = {data.draw(st.sampled_from(STRINGS))}"]
        lines += data.draw(
            st.sampled_from([[], [f"[x{number}]", "[[x0y.z]]"], ["[policy.rules.waive]", "a = [[1], [2]]"]])
        )
    text = "\n".join(lines)
    tomllib.loads(text)
    assert lines_of(text, ("policy", "rules")) == expected

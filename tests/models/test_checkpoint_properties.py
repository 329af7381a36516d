"""What holds of any checkpoint: written and read it is the same, and no bytes raise anything but our own errors."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlaudit.errors import TlauditError
from tlaudit.models.checkpoint import read_checkpoint, write_checkpoint
from tlaudit.models.detection import exact_fits
from tlaudit.models.families import FAMILIES
from tlaudit.models.metadata import Metadata, from_container, from_header, to_header
from tlaudit.models.unwrap import AVERAGED, CONTAINERS, unwrap
from tlaudit.results import Preprocessing

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CLASS_NAMES = st.lists(NAMES, min_size=1, max_size=4)
SHARES = st.floats(0, 1, width=32)


def outcome(ask):
    """What was given, or what was said; anything but an error of ours ends the test."""
    try:
        return ask(), None
    except TlauditError as error:
        return None, str(error)


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    values = torch.randn(shape, generator=generator) * 3
    return (values.transpose(0, -1) if shape else values).to(draw(st.sampled_from(DTYPES)))


KEYS = NAMES.map(lambda name: f"layer.{name}").filter(lambda key: "\0" not in key and "_mod" not in key)
STATES = st.dictionaries(KEYS, tensors(), min_size=1, max_size=4)
PREPARATIONS = st.builds(
    Preprocessing,
    resize=st.integers(1, 8192),
    crop=st.integers(1, 8192),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]),
    mean=st.tuples(SHARES, SHARES, SHARES),
    std=st.tuples(*[st.floats(0.125, 1)] * 3),
    origin=st.just("checkpoint metadata"),
)
CELLS = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | NAMES
)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@given(STATES, st.none() | CLASS_NAMES, st.none() | PREPARATIONS)
def test_what_is_written_is_read(suffix, state, classes, preprocessing):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"net{suffix}"
        write_checkpoint(path, state, classes=classes, preprocessing=preprocessing)
        found = read_checkpoint(path)
    assert found.state.keys() == state.keys()
    for key, tensor in state.items():
        assert found.state[key].dtype == tensor.dtype
        assert torch.equal(found.state[key], tensor)
    assert found.classes == (tuple(classes) if classes else None)
    assert found.preprocessing == preprocessing


@given(
    st.none() | CLASS_NAMES.map(tuple),
    st.none() | PREPARATIONS,
    st.none() | st.text(),
    st.none() | st.dictionaries(NAMES, NAMES, max_size=3),
    st.none() | st.dictionaries(NAMES, CELLS, max_size=3),
)
def test_a_header_comes_back(classes, preprocessing, architecture, parents, recipe):
    told = classes, preprocessing, architecture, parents, recipe
    metadata = Metadata(*told)
    found = from_header(to_header(metadata), "f")
    assert (found.classes, found.preprocessing, found.architecture, found.parents, found.recipe) == told
    assert all("\n" not in note and note.isprintable() for note in found.notes)


@given(st.dictionaries(st.sampled_from(sorted(to_header(Metadata(("a",), None, "b", {}, {})))), st.text(), max_size=4))
def test_any_header_is_read_or_refused(header):
    _, refusal = outcome(lambda: from_header(header, "f"))
    assert refusal is None or refusal.startswith("f: the metadata key tlaudit.")


def _wholes():
    state = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}
    for legacy in (False, True):
        file = io.BytesIO()
        torch.save({"state_dict": state, "classes": ["a", "b"]}, file, _use_new_zipfile_serialization=not legacy)
        yield file.getvalue()
    yield safetensors.torch.save(state, metadata={"tlaudit.classes": '["a", "b"]'})


WHOLES = tuple(_wholes())


@st.composite
def mutations(draw):
    """A valid file with a few stretches of it replaced, doubled or left out."""
    content = draw(st.sampled_from(WHOLES))
    for _ in range(draw(st.integers(1, 4))):
        begin, length = draw(st.integers(0, len(content))), draw(st.integers(0, 24))
        content = content[:begin] + draw(st.binary(max_size=24)) + content[begin + length :]
    return content


@settings(max_examples=150)
@given(
    st.binary(max_size=300)
    | mutations()
    | st.sampled_from(WHOLES).flatmap(lambda w: st.binary().map(lambda b: w[:9] + b))
)
def test_any_bytes_are_read_or_refused(content):
    for name in ("net.pth", "net.safetensors"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            _, refusal = outcome(lambda path=path: read_checkpoint(path))
            assert refusal is None or (refusal.startswith(f"{path}: ") and refusal.isprintable())


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.floats() | st.binary(max_size=3) | tensors(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*CONTAINERS, *AVERAGED, "classes", "class_to_idx", "module.a", "a", "model.a", "net.model.b"]
            )
            | st.integers()
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_any_content_is_unwrapped_or_refused(content, use_ema):
    _, of_container = outcome(lambda: from_container(content, "f"))
    found, refusal = outcome(lambda: unwrap(content, "f", use_ema=use_ema))
    for said in filter(None, (of_container, refusal)):
        assert said.startswith("f: ")
        assert said.isprintable()
    if found is None:
        return
    state = found.readings[0].state
    assert state
    assert all(isinstance(key, str) and tensor.layout == torch.strided for key, tensor in state.items())
    # What has been unwrapped is unwrapped: nothing more is taken off, nothing is lost.
    again = unwrap(state, "f").readings[0]
    assert again.state.keys() == state.keys()
    assert again.ignored == ()


MARKERS = sorted({marker for family in FAMILIES for marker in family.markers} | {"encoder.pos_embedding", "fc.weight"})


@settings(max_examples=30)
@given(
    st.dictionaries(st.sampled_from(MARKERS) | NAMES, st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=6)
)
def test_any_keys_and_shapes_are_recognised_or_refused(shapes):
    found, _ = outcome(lambda: unwrap({key: torch.zeros(shape) for key, shape in shapes.items()}, "f"))
    assert found is None or exact_fits(found.readings) == []

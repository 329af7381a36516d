"""Every pickle that torch loads is walked through to its end, and what torch lets a pickle name is known."""

import collections
import io
import pickle

import pytest
import torch
from torch._weights_only_unpickler import _get_allowed_globals
from torch.distributed.tensor import DTensor

from tlaudit.errors import CheckpointError
from tlaudit.models import pickles
from tlaudit.models.checkpoint import read_checkpoint


class FromPython2:
    """Pickled as Python 2 pickled an ordered dict."""

    def __reduce__(self):
        return collections.OrderedDict, ([["a", torch.ones(2)], ["b", 1]],)


def _with_attributes(tensor):
    tensor.named = {"of": "it"}
    return tensor


ORDINARY = {
    "numbers": [1, 255, 256, 65536, -1, 2**40, 10**200, 1.5, True, False, None],
    "texts": ["", "a" * 300, "latin1", "\ud800", b"bytes", bytearray(b"bytes"), bytearray()],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((1, "a"), ("b",))],
    "sets": [{1, 2}, {("a", 1)}, collections.Counter("abca"), collections.OrderedDict(a=1)],
    "many": [str(number) for number in range(600)] * 2,
    "of Python 2": FromPython2(),
    "attributes": [_with_attributes(torch.ones(2)), _with_attributes(torch.nn.Parameter(torch.ones(2)))],
    "of torch": [torch.Size([1, 2]), torch.float16, torch.device("cpu"), 1j, torch.strided],
    "tensors": [torch.ones(2), torch.nn.Parameter(torch.ones(2)), torch.ones(2, 2).to_sparse(), torch.ones(2).half()],
}


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("legacy", [False, True])
def test_what_torch_saves_is_walked_through(name, legacy, monkeypatch):
    file = io.BytesIO()
    torch.save(ORDINARY[name], file, _use_new_zipfile_serialization=not legacy)
    ended = []
    ends = pickles._Walk.ends
    monkeypatch.setattr(pickles._Walk, "ends", lambda walk: ended.append((ends(walk), walk)) or ended[-1][0])
    pickles.refuse_costly(file, "f")
    assert [whole for whole, _ in ended] == [True] * (5 if legacy else 1)
    walk = ended[-1][1]
    assert walk.content[walk.place - 1 : walk.place] == pickle.STOP
    if not legacy:
        assert walk.place == len(walk.content)
    file.seek(0)
    torch.load(file, weights_only=True)


def test_all_that_torch_lets_a_pickle_name_is_known():
    # At a name that is not known the walk ends, because torch ends there.
    assert [name for name in _get_allowed_globals() if not pickles.KNOWN.fullmatch(name)] == []


def test_classes_that_others_allowed_stay_allowed_and_out_of_files(tmp_path):
    torch.save({"x": torch.ones(2), "y": collections.deque}, tmp_path / "net.pth")
    before = set(torch.serialization.get_safe_globals())
    assert DTensor in before
    with torch.serialization.safe_globals([collections.deque]), pytest.raises(CheckpointError, match="would run code"):
        read_checkpoint(tmp_path / "net.pth")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("value", ["1", "True"])
def test_a_variable_that_forbids_code_is_named(tmp_path, monkeypatch, value):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "net.pth")
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", value)
    with pytest.raises(CheckpointError, match="but TORCH_FORCE_WEIGHTS_ONLY_LOAD is set"):
        read_checkpoint(tmp_path / "net.pth", allow_pickle=True)

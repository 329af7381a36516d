"""Reading checkpoint files: what is accepted, what is refused and in which words."""

import collections
import fractions
import hashlib
import io
import logging
import sys
import tarfile
import zipfile

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision import models

import tiny
from tlaudit.errors import CheckpointError, UnsafeCheckpointError, UsageError
from tlaudit.models.checkpoint import read_checkpoint, write_checkpoint
from tlaudit.models.file_kinds import EXTENSIONS
from tlaudit.results import Preprocessing

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}
PREPARATION = Preprocessing(
    resize=72,
    crop=64,
    interpolation="bilinear",
    mean=(0.1, 0.2, 0.3),
    std=(0.5, 0.5, 0.6),
    origin="checkpoint metadata",
)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def bytes_of(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("extension", [e for e in EXTENSIONS if e != ".safetensors"])
def test_reads_every_torch_extension(tmp_path, extension):
    path = tiny.saved(tmp_path / f"net{extension}", STATE)
    checkpoint = read_checkpoint(path)
    assert equal(checkpoint.state, STATE)
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.format == "torch zip archive"
    assert checkpoint.blocked == ()


def test_reads_the_old_torch_format(tmp_path):
    path = tmp_path / "old.pth"
    path.write_bytes(bytes_of(collections.OrderedDict(STATE), _use_new_zipfile_serialization=False))
    checkpoint = read_checkpoint(path)
    assert equal(checkpoint.state, STATE)
    assert checkpoint.format == "torch legacy pickle"


def test_reads_safetensors_of_others(tmp_path):
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(STATE, path, metadata={"format": "pt"})
    checkpoint = read_checkpoint(path)
    assert equal(checkpoint.state, STATE)
    assert (checkpoint.classes, checkpoint.preprocessing, checkpoint.architecture) == (None, None, None)


def test_parameters_come_without_gradients(tmp_path):
    path = tiny.saved(tmp_path / "net.pth", {"w": nn.Parameter(torch.ones(2, 2))})
    assert not read_checkpoint(path).state["w"].requires_grad


def test_writes_what_it_reads(tmp_path):
    path = tmp_path / "net.safetensors"
    shared = torch.arange(8.0)
    state = {"x": shared[:4], "y": shared[4:], "z": torch.ones(2, 3).t(), "n": torch.tensor(3)}
    write_checkpoint(path, state, classes=["kätzchen", "dog"], preprocessing=PREPARATION, architecture="resnet18")
    checkpoint = read_checkpoint(path)
    assert equal(checkpoint.state, state)
    assert checkpoint.classes == ("kätzchen", "dog")
    assert checkpoint.preprocessing == PREPARATION
    assert checkpoint.architecture == "resnet18"
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_writes_the_same_bytes_every_time(tmp_path):
    # The library itself shuffles the metadata from call to call.
    paths = [tmp_path / f"{number}.safetensors" for number in range(10)]
    for path in paths:
        write_checkpoint(path, STATE, classes=["a", "b"], preprocessing=PREPARATION, architecture="alexnet")
    assert len({path.read_bytes() for path in paths}) == 1


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_says_where_weights_come_from(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    network = tiny.network("mnasnet0_5", 2)  # refuses a state dict of torch's without version numbers
    write_checkpoint(
        path,
        network.state_dict(),
        classes=["cat", "dog"],
        preprocessing=PREPARATION,
        architecture="mnasnet0_5",
        parents={"source": "12ab"},
        recipe={"method": "ldifs"},
    )
    checkpoint = read_checkpoint(path)
    assert (checkpoint.classes, checkpoint.preprocessing) == (("cat", "dog"), PREPARATION)
    assert checkpoint.architecture == "mnasnet0_5"
    assert checkpoint.blocked == ()
    assert checkpoint.notes == (
        "the file says how it was made: method ldifs",
        "the file says what it was made from: source 12ab",
    )
    assert equal(checkpoint.state, network.state_dict())
    if suffix == ".pth":
        plain = torch.load(path, weights_only=True)
        models.get_model("mnasnet0_5", num_classes=2).load_state_dict(plain)


def test_writes_two_kinds_only(tmp_path):
    with pytest.raises(UsageError, match="expected a name that ends in .safetensors or .pth"):
        write_checkpoint(tmp_path / "net.ckpt", STATE)


def test_refuses_a_path_that_cannot_be_one(tmp_path):
    tiny.saved(tmp_path / "finetuned.pth", STATE)
    with pytest.raises(UsageError, match=r"no such file; in that folder there is finetuned\.pth"):
        read_checkpoint(tmp_path / "finetund.pth")
    with pytest.raises(UsageError, match="this is a folder"):
        read_checkpoint(tmp_path)
    (tmp_path / "net.onnx").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"unknown extension '.onnx'; accepted are \.pt, \.pth"):
        read_checkpoint(tmp_path / "net.onnx")


@pytest.mark.parametrize("legacy", [False, True])
def test_refuses_code_and_names_it(tmp_path, legacy):
    path = tmp_path / "net.pth"
    path.write_bytes(bytes_of({"w": STATE, "lr": fractions.Fraction(1, 2)}, _use_new_zipfile_serialization=not legacy))
    with pytest.raises(UnsafeCheckpointError, match=r"asks for fractions\.Fraction.*--allow-pickle"):
        read_checkpoint(path)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_never_runs_code_unasked(tmp_path, protocol):
    path, mark = tmp_path / "net.pth", tmp_path / "mark"
    torch.save({"state_dict": STATE, "trap": Trap(mark)}, path, pickle_protocol=protocol)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not mark.exists()


def test_allow_pickle_is_loud_and_recorded(tmp_path, caplog):
    path = tmp_path / "net.pth"
    torch.save(nn.Linear(3, 2), path)
    with pytest.raises(UnsafeCheckpointError, match="Linear"):
        read_checkpoint(path)
    with caplog.at_level(logging.WARNING):
        checkpoint = read_checkpoint(path, allow_pickle=True)
    assert "running the code" in caplog.text
    assert set(checkpoint.state) == {"weight", "bias"}
    assert any("Linear" in name for name in checkpoint.blocked)
    assert any("--allow-pickle" in note for note in checkpoint.notes)
    assert any("whole module of class Linear" in note for note in checkpoint.notes)


def test_allow_pickle_leaves_safe_files_safe(tmp_path, caplog):
    path = tiny.saved(tmp_path / "net.pth", STATE)
    assert read_checkpoint(path, allow_pickle=True).blocked == ()
    assert caplog.text == ""


def test_allowed_code_that_is_not_there(tmp_path):
    path = tmp_path / "net.pth"
    gone = type("Gone", (), {"__module__": "gone_module"})
    sys.modules["gone_module"] = type(sys)("gone_module")
    sys.modules["gone_module"].Gone = gone
    torch.save({"x": gone()}, path)
    del sys.modules["gone_module"]
    with pytest.raises(CheckpointError, match=r"its code failed \(ModuleNotFoundError.*importable"):
        read_checkpoint(path, allow_pickle=True)


def zipped(names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "HTML page"),
        (b"\n <html>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git-LFS pointer"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x89HDF\r\n", "HDF5"),
        (b'{"a": 1}', "JSON"),
        (b"just text", "text"),
        (b"\x00\x01\x02", "nothing that is known"),
        (b"\x80\x04\x95\x0c\x00", "plain pickle"),
        (tarred(), "tar archive"),
        (zipped(["a/b.txt"]), "torch did not write; it holds a/b.txt"),
        (zipped(["net/data.pkl", "net/code/__torch__.py", "net/constants.pkl"]), "TorchScript"),
        (safetensors.torch.save(STATE), "rename it to net.safetensors"),
    ],
)
def test_names_what_a_file_looks_like(tmp_path, content, words):
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<html>", "HTML page"),
        (bytes_of(STATE), "saved by torch; rename it to .pth"),
        (safetensors.torch.save(STATE)[:-3], "damaged or cut off"),
        (safetensors.torch.save(STATE)[:40], "damaged or cut off"),
    ],
)
def test_names_what_a_safetensors_file_looks_like(tmp_path, content, words):
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_damage_is_an_error_of_ours_wherever_it_is(tmp_path, legacy):
    whole = bytes_of(STATE, _use_new_zipfile_serialization=not legacy)
    path = tmp_path / "net.pth"
    for end in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:end])
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_checkpoint(path)
        except CheckpointError:
            continue  # a flipped byte of padding or of a weight may go unnoticed, anything else must end here


def test_unreadable_file(tmp_path, monkeypatch):
    path = tiny.saved(tmp_path / "net.pth", STATE)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tlaudit.models.file_kinds.open_without_waiting", refuse)
    with pytest.raises(CheckpointError, match=r"cannot be read \(Permission denied\)"):
        read_checkpoint(path)

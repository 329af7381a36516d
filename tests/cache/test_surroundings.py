"""What the bits of an answer depend on is said, and saying it never ends a run."""

from __future__ import annotations

import multiprocessing
import os

import torch

from tlaudit.cache import surroundings

MATMUL = torch.backends.cuda.matmul
CHANGES = [
    ("dtype", lambda: torch.set_default_dtype(torch.float64)),
    ("denormal", lambda: torch.set_flush_denormal(True)),
    ("attention", lambda: torch.backends.cuda.enable_math_sdp(False)),
    ("reductions", lambda: setattr(MATMUL, "allow_bf16_reduced_precision_reduction", False)),
    ("environment", lambda: os.environ.update(OPENBLAS_CORETYPE="x")),
    ("environment", lambda: os.environ.update(TORCHINDUCTOR_MAX_AUTOTUNE="1")),
    # After this torch does not say in the old way how precise products are.
    ("precisions", lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16")),
    ("precisions", lambda: setattr(torch.backends.mkldnn.conv, "fp32_precision", "bf16")),
    (None, lambda: os.environ.update(TORCH_NCCL_ASYNC_ERROR_HANDLING="1")),
]


def now() -> dict[str, str]:
    return surroundings.surroundings(torch.device("cpu"))


def test_each_switch_shows():
    """In a process of its own, because some cannot be set back."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def look():
        found = [now()]
        for _, change in CHANGES:
            change()
            found.append(now())
        theirs.send(found)

    process = context.Process(target=look)
    process.start()
    theirs.close()
    found = ours.recv()
    process.join()
    for before, after, (name, _) in zip(found, found[1:], CHANGES, strict=False):
        assert {one for one in after if after[one] != before[one]} - {"matmul"} == ({name} if name else set())


def test_the_code_is_all_source_files_by_name_and_content(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.py").write_text("x = 1")
    first = surroundings.code(tmp_path)
    (tmp_path / "room" / "a.py").write_text("x = 2")
    second = surroundings.code(tmp_path)
    (tmp_path / "room" / "a.py").rename(tmp_path / "room" / "b.py")
    assert len({first, second, surroundings.code(tmp_path)}) == 3


def test_the_code_is_that_of_when_it_was_loaded(monkeypatch):
    before = now()["code"]
    monkeypatch.setattr(surroundings, "code", lambda *_: "edited")
    assert now()["code"] == before


def test_decoders_are_named():
    assert "libtiff" in now()["codecs"]
    assert "jpg_2000" in now()["codecs"]

"""What training scripts might save, put together by dice: containers, wrappers, odd tensors, odd keys."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_CONTAINERS = ("state_dict", "model", "model_state_dict", "net", "model_ema", "ema", "state_dict_ema", "optimizer", "x")
_PREFIXES = ("", "", "", "module.", "model.", "net.", "_orig_mod.", "module._fsdp_wrapped_module.", "model.model.")
_KEYS = ("fc.weight", "fc.bias", "stem.0.weight", "n_averaged", "", ".", "a\nb", "\x1b[31m", "k" * 300, "0", "é")
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.uint8)
_KINDS: tuple[Callable[[random.Random], Any], ...] = (
    lambda dice: torch.full(_shape(dice), 0.5).to(dice.choice(_DTYPES)),
    lambda dice: torch.full(_shape(dice), 0.5).to(dice.choice(_DTYPES)),
    lambda dice: torch.tensor(dice.choice((float("nan"), float("inf"), -1.0, 1e38))).expand(_shape(dice)),
    lambda _: torch.zeros(2, 3).t(),
    lambda _: torch.zeros(0),
    lambda _: torch.nn.Parameter(torch.ones(2)),
    lambda _: torch.eye(2).to_sparse(),
    lambda _: torch.ones(2, dtype=torch.complex64),
    lambda _: torch.empty(2, device="meta"),
    lambda dice: torch.zeros(1).expand(2 ** dice.choice((10, 20, 40)), 2 ** dice.choice((1, 10, 20))),
)
_BESIDE: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("classes", (["a", "b"], ("a", "b"), [], ["a", 1], "ab", None, 3, ["a\x1b", "\u202eb"], ["a"] * 2)),
    ("class_names", (["a", "b"], {}, [None])),
    (
        "class_to_idx",
        (
            {"a": 0, "b": 1},
            {"a": 1},
            {"a": 0, "b": 0},
            {},
            {0: 0, 1: 1},
            {"a": True, "b": 0},
            {"a": 0.5},
            {"a": 10**400},
            {"a": float("nan")},
            {"a": "0", "b": "1"},
        ),
    ),
    ("epoch", (3, None, float("nan"), "3")),
    ("optimizer", ({"state": {}}, [], None)),
)
_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tlaudit.classes", ('["a", "b"]', "[]", "{", "1", '["a", 1]', '["\\ud800"]', "[" * 9000)),
    ("tlaudit.architecture", ("resnet18", "os:system", "x.py:y", "", "\n")),
    (
        "tlaudit.preprocessing",
        (
            '{"resize": 8, "crop": 8, "interpolation": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1]}',
            '{"resize": 0, "crop": 8, "interpolation": "bilinear", "mean": [0, 0, 0], "std": [0, 0, 0]}',
            '{"resize": 1e400, "crop": 8, "interpolation": "bilinear", "mean": [NaN, 0, 0], "std": [1, 1, 1]}',
            '{"resize": 9999999999999999999, "crop": 8, "interpolation": "box", "mean": [0, 0, 0], "std": [1, 1, 1]}',
            "{}",
            "[]",
        ),
    ),
    ("tlaudit.parents", ('{"source": "00"}', '{"source": []}', "[]")),
    ("tlaudit.recipe", ('{"seed": 0}', '{"seed": NaN}', '{"a": 1e999}')),
)


def composed(dice: random.Random) -> bytes:
    """A file of torch's with something in it that a training script could have saved."""
    state: Any = _state(dice)
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        state = {dice.choice(_CONTAINERS): state, **_beside(dice)}
        if dice.random() < 0.3:
            state[dice.choice(_CONTAINERS)] = _state(dice)
    if dice.random() < 0.05:
        state = [state]
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=dice.random() < 0.9)
    return buffer.getvalue()


def _state(dice: random.Random) -> Any:
    prefix = dice.choice(_PREFIXES)
    state: Any = OrderedDict()
    for _ in range(dice.choice((0, 1, 2, 3, 5))):
        key: Any = prefix + dice.choice(_KEYS) if dice.random() < 0.95 else dice.choice((0, None, (1, 2), 2.5))
        state[key] = dice.choice(_KINDS)(dice) if dice.random() < 0.95 else dice.choice((0, None, "x", [], {}))
    if dice.random() < 0.3:
        state.tlaudit = {key: dice.choice(values) for key, values in _MARKS if dice.random() < 0.5}
    if dice.random() < 0.2:
        state.update(_beside(dice))
    return state


def _beside(dice: random.Random) -> dict[str, Any]:
    return {key: dice.choice(values) for key, values in _BESIDE if dice.random() < 0.3}


def _shape(dice: random.Random) -> tuple[int, ...]:
    return tuple(dice.choice((0, 1, 2, 3, 6)) for _ in range(dice.choice((0, 1, 2, 2, 4))))

"""CKA of all stages of two ResNet-18, beside bare forward passes and torch_cka, in time and in memory.

Ours is what the erosion check makes of batches: taps, Gram matrices, all pairs of ten and ten stages, and the spectra
of the pooled features. The bare pass runs both networks and keeps nothing. torch_cka compares the same stages on the
same batches; it is timed both as its documentation uses it and with networks and batches channels-last, without
gradients. Both have to agree.

Memory is the operating system's own count: the largest resident set of a process that does nothing but our pass, beside
that of one that does nothing but the bare pass.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.followed import Follower
from tlaudit.measure.similarity import CkaAccumulator

from .apart import call
from .networks import execution, network, noise
from .rounds import take_turns
from .rows import Comparison, Row, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tlaudit.models.runtime import Execution

    from .options import Options

STAGES = (
    "conv1", "maxpool", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4.0", "layer4.1"
)  # fmt: skip
BARE, USUAL, LAST = "bare forward passes", "torch_cka", "torch_cka, no_grad, channels-last"
AGREE = 1e-2
"""torch_cka computes in single precision, which few images bear badly; further apart than this, one of us is wrong."""


def measure(options: Options) -> list[Row]:
    given, side = execution(options.device, batch_size=options.size(32, 16)), options.size(224, 64)
    reason = missing("torch_cka")
    ours, now = Ours(given), Batches(given, side)
    bare = Bare(given)
    runs: dict[str, Callable[[], object]] = {"ours": lambda: ours(now.pixels), BARE: lambda: bare(now.pixels)}
    if reason is None:
        peer, last = TorchCka(given, usual=True), TorchCka(given, usual=False)
        runs |= {USUAL: lambda: peer(now.pixels), LAST: lambda: last(now.pixels)}
    rounds = take_turns(
        runs,
        rounds=options.size(4, 1),
        device=options.kind,
        before=now.draw,
        absent={USUAL: reason, LAST: reason},
    )
    if reason is None:
        alone = Ours(given)
        alone(now.pixels)
        difference = float((peer.cka.hsic_matrix - alone.cka.matrix()).abs().max())
        assert difference < AGREE, f"torch_cka and we differ by {difference}"
    row = partial(rounds.row, "cka", "10 x 10 stages of two resnet18", "ours", unit="images/s", work=given.batch_size)
    return [row(peer=USUAL, bound=BARE), row(peer=LAST, bound=BARE), memory(options)]


def memory(options: Options) -> Row:
    """Largest resident sets, each of a process of its own, in MiB."""
    images, side, size = options.size(96, 16), options.size(224, 64), options.size(32, 8)
    what = f"largest resident set, {images} images"
    sizes = {"batches": images // size, "batch_size": size, "side": side, "device": options.device}
    ours, bare = (call("cka", "alone", which=which, **sizes).peak for which in ("Ours", "Bare"))
    if ours is None or bare is None:
        return Row("cka", what, absent="this system does not count a process's memory where we look")
    less = bare / ours
    bound = Comparison(BARE, bare / 2**20, less, less, less)
    return Row("cka", what, "MiB", ours / 2**20, bound=bound, rounds=1)


def alone(which: str, batches: int, batch_size: int, side: int, device: str) -> None:
    """Do nothing but our passes, or the bare ones."""
    given = execution(device, batch_size=batch_size)
    run = {"Bare": Bare, "Ours": Ours}[which](given)
    for number in range(batches):
        run(noise(given, side, number))


class Batches:
    """Another batch each round."""

    def __init__(self, given: Execution, side: int) -> None:
        self._given, self._side = given, side

    def draw(self, number: int) -> None:
        self.pixels = noise(self._given, self._side, number)


class Ours:
    """Two networks followed at ten stages, and what is known of them."""

    def __init__(self, given: Execution) -> None:
        self.execution, self.networks = given, _networks(given)
        self.followers = [Follower(STAGES, "pooled", keep=False) for _ in self.networks]
        self.cka = CkaAccumulator(STAGES, STAGES)

    def __call__(self, pixels: torch.Tensor) -> None:
        with self.execution.inference():
            grams = [f.look(n, pixels)[1] for f, n in zip(self.followers, self.networks, strict=True)]
        self.cka.add(*grams)


class Bare:
    def __init__(self, given: Execution) -> None:
        self.execution, self.networks = given, _networks(given)

    def __call__(self, pixels: torch.Tensor) -> None:
        with self.execution.inference():
            for one in self.networks:
                one(pixels)


def _networks(given: Execution) -> list[torch.nn.Module]:
    return [given.place(network("resnet18", seed=seed)) for seed in (0, 1)]


class TorchCka:
    """The peer: as its documentation uses it, or with everything done for it that can be."""

    def __init__(self, given: Execution, *, usual: bool) -> None:
        from torch_cka import CKA

        self.usual = usual
        ours = _networks(given)
        if usual:
            ours = [n.to(memory_format=torch.contiguous_format).requires_grad_(requires_grad=True) for n in ours]
        self.cka = CKA(*ours, "one", "two", list(STAGES), list(STAGES), device=str(given.device))

    def __call__(self, pixels: torch.Tensor) -> None:
        if self.usual:
            pixels = pixels.contiguous()
            self.cka.compare(_Loader(pixels), _Loader(pixels))
        else:
            with torch.no_grad():
                self.cka.compare(_Loader(pixels), _Loader(pixels))


class _Loader:
    """One batch, as torch_cka wants to be given it."""

    def __init__(self, pixels: torch.Tensor) -> None:
        self.pixels, self.dataset = pixels, "noise"

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[torch.Tensor, None]]:
        return iter([(self.pixels, None)])

"""LDIFS: finetuning in which the features at several stages stay near the source's."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.asking import Network, asked
from tlaudit.errors import UsageError
from tlaudit.measure.feature_distance import feature_distance
from tlaudit.models.heads import within
from tlaudit.models.runtime import class_scores, shared_copy
from tlaudit.models.taps import entered, tapped
from tlaudit.models.token_grid import infer_grid
from tlaudit.models.wording import nearest
from tlaudit.repair.base import Bench, Method, Setup
from tlaudit.training.objective import CrossEntropy, Inputs, Objective, cross_entropy, logits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from tlaudit.models.runtime import Execution
    from tlaudit.models.sources import Model
    from tlaudit.options.repair import LdifsOptions


class Ldifs(Method):
    """Cross-entropy, and the distance of features from the source's (Mukhoti et al. 2023)."""

    name = "ldifs"
    summary = "features at several stages stay near the source's"

    def setup(self, bench: Bench) -> Setup:
        """Find the stages and what is to be known of them; see `Method.setup`."""
        options = bench.options.ldifs
        source, calls = _survey(bench, _chosen(bench.source, bench.head, options.stages))
        if not options.weight:
            return Setup(bench.start, bench.training, CrossEntropy())
        return Setup(bench.start, bench.training, KeptFeatures(source, calls, options, bench.execution))


@dataclass(frozen=True)
class Call:
    """One run of a stage in a forward pass.

    Attributes:
        path: Module path of the stage.
        channels: Axis of the channels in its output.
        copied: Whether what it gave has to be copied, because what comes after writes over it.
        spare: Whether nothing else lies in the memory of what it gave.
    """

    path: str
    channels: int
    copied: bool
    spare: bool


class KeptFeatures(Objective):
    """Cross-entropy plus a weight times the distance of features, mean over the stages.

    The source runs once a step, in eval and inference mode and in the precision of the network that learns, up to its
    last stage. A stage that runs several times in a forward pass counts as often, each run compared with the same run
    of the source. What is kept of a stage is the source's features until the network comes to it; from then on the
    gradient of the distance, in their place.
    """

    def __init__(self, source: nn.Module, calls: Sequence[Call], options: LdifsOptions, execution: Execution) -> None:
        """Take the source's network as it is, the runs of its stages in order, and how the distance is meant."""
        self._source, self._calls, self._options, self._execution = source, tuple(calls), options, execution
        self._paths = tuple(dict.fromkeys(call.path for call in calls))
        self._placed = source
        self._copies: dict[int, Tensor] = {}

    def begin(self, network: nn.Module) -> None:  # noqa: ARG002 - all that counts is the source
        """Bring the source to the device."""
        self._placed = self._execution.place(self._source)

    def __call__(self, network: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
        """Give the terms ``cross_entropy`` and ``ldifs``."""
        waiting = deque(zip(self._calls, self._source_features(inputs.images), strict=True))
        distances: list[Tensor] = []

        def compare(path: str, output: object) -> None:
            call, source = waiting.popleft() if waiting else (None, None)
            if call is None or source is None or call.path != path:
                raise _other_course(path)
            distances.append(self._distance(call, output, source))

        with tapped(network, self._paths, compare):
            logits = logits_of(network, inputs.images)
        if waiting:
            raise _other_course(waiting[0][0].path)
        return {"cross_entropy": cross_entropy(logits, inputs.labels), "ldifs": torch.stack(distances).sum()}

    def _source_features(self, images: Tensor) -> list[Tensor]:
        """What the source gives at each run of a stage, in order."""
        found: list[Tensor] = []

        def keep(_path: str, output: object) -> None:
            if isinstance(output, torch.Tensor):
                found.append(self._copy(len(found), output) if self._calls[len(found)].copied else output)
            if len(found) == len(self._calls):
                raise _LastStageError

        with (
            self._execution.inference(),
            tapped(self._placed, self._paths, keep),
            contextlib.redirect_stdout(sys.stderr),
            contextlib.suppress(_LastStageError),
        ):
            self._placed(images)
        return found

    def _copy(self, number: int, output: Tensor) -> Tensor:
        """Copy what a run of a stage gave, into the same memory at each step: to be given new one takes as long."""
        kept = self._copies.get(number)
        if kept is None or kept.shape != output.shape or kept.dtype != output.dtype:
            kept = self._copies[number] = torch.empty_like(output)
        return kept.copy_(output)

    def _distance(self, call: Call, output: object, source: Tensor) -> Tensor:
        if not isinstance(output, torch.Tensor) or output.shape != source.shape:
            raise _other_course(call.path)
        return feature_distance(
            output,
            source,
            self._options.reduction,
            call.channels,
            weight=self._options.weight / len(self._calls),
            spare=call.spare,
        )


class _LastStageError(Exception):
    """Nothing behind the last stage is of interest."""


def _other_course(path: str) -> UsageError:
    return UsageError(
        f"the stage {path} gives something else, or in another order, in training mode than in the source in eval "
        "mode: expected the same runs with outputs of one shape; name other stages with --ldifs-stages"
    )


def _chosen(source: Model, head: str, named: Sequence[str] | None) -> tuple[str, ...]:
    """Settle which stages are compared: the family's outside the head, or those that are named."""
    if named is None:
        stages = tuple(stage for stage in source.stages if not within(stage, head))
        if not stages:
            raise UsageError(
                f"no stage of {source.architecture} outside its head {head} is known: name modules with --ldifs-stages"
            )
        return stages
    known = [path for path, _ in source.module.named_modules() if path and not within(path, head)]
    for name in named:
        if within(name, head):
            raise UsageError(f"--ldifs-stages {name}: lies in the head {head}; expected a stage before it")
        if name not in known:
            raise UsageError(
                f"--ldifs-stages {name}: {source.architecture} has no such module; nearest: {nearest(name, known)}"
            )
    return tuple(dict.fromkeys(named))


def _survey(bench: Bench, stages: Sequence[str]) -> tuple[nn.Module, tuple[Call, ...]]:
    """Run the source, and see in which order the stages run and what becomes of what they give.

    Returns:
        The source as it is to be run, and the runs of its stages.

    Raises:
        UsageError: If a stage never runs, or gives no features.
    """
    side = bench.preprocessing.crop
    pixels = torch.zeros(2, 3, side, side)
    source = _writing_apart(bench, stages, pixels)
    seen: list[tuple[str, Tensor, int]] = []

    def note(path: str, output: object) -> None:
        tensor = _features(path, output, len(pixels))
        seen.append((path, tensor, _writes(tensor)))

    with (
        torch.no_grad(),
        asked("source", Network(source, bench.preprocessing), "repair"),
        tapped(source, stages, note),
    ):
        class_scores(source, pixels)
    silent = [stage for stage in stages if stage not in {path for path, _, _ in seen}]
    if silent:
        raise UsageError(f"the stage {silent[0]} takes no part in the forward pass: name others with --ldifs-stages")
    # All of these live, so that what has one address is one memory.
    kept = [tensor for _, tensor, writes in seen if _writes(tensor) == writes]
    addresses = [_address(tensor) for tensor in (pixels, *source.parameters(), *source.buffers(), *kept)]
    return source, tuple(
        Call(
            path,
            _channels(tensor, side),
            copied=_writes(tensor) != writes,
            spare=_writes(tensor) != writes or addresses.count(_address(tensor)) == 1,
        )
        for path, tensor, writes in seen
    )


def _writing_apart(bench: Bench, stages: Sequence[str], pixels: Tensor) -> nn.Module:
    """Give a copy of the source in which no module such as ReLU writes over what a stage gave.

    That takes less time than a copy of the features. It shares the source's weights, and lies on the CPU as it does.
    """
    source = shared_copy(bench.source.module)
    given: list[Tensor] = []
    writers: dict[str, nn.Module] = {}
    inside = {path: one for path, one in source.named_modules() if getattr(one, "inplace", False) is True}

    def look(path: str, taken: object) -> None:
        if isinstance(taken, torch.Tensor) and _address(taken) in map(_address, given):
            writers[path] = inside[path]

    with (
        torch.no_grad(),
        asked("source", Network(source, bench.preprocessing), "repair"),
        tapped(source, stages, lambda path, output: given.append(_features(path, output, len(pixels)))),
        entered(source, inside, look),
    ):
        class_scores(source, pixels)
    for module in writers.values():
        setattr(module, "inplace", False)  # noqa: B010 - no attribute that torch declares
    return source


def _features(path: str, output: object, images: int) -> Tensor:
    if not isinstance(output, torch.Tensor):
        got = f"a {type(output).__name__}"
    elif not output.is_floating_point() or not 2 <= output.ndim <= 4 or len(output) != images or not output.numel():
        got = f"{str(output.dtype).removeprefix('torch.')} of shape {tuple(output.shape)} for {images} images"
    else:
        return output
    raise UsageError(
        f"the stage {path} gives no features: expected one floating tensor of two to four axes with a row for each "
        f"image, got {got}; name others with --ldifs-stages"
    )


def _writes(tensor: Tensor) -> int:
    """How often a tensor's memory has been written over."""
    return tensor._version  # noqa: SLF001 - the counter of torch's autograd, which its documentation describes


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _channels(output: Tensor, side: int) -> int:
    """Which axis holds the channels: the last of tokens, the second or the last of four as the grid lies."""
    if output.ndim < 4:
        return output.ndim - 1
    grid = infer_grid(output.shape, (side, side))
    if grid is not None:
        return grid.channels
    # A single cell: its two sides are 1, wherever the channels are.
    return 1 if output.shape[2] == output.shape[3] == 1 else 3

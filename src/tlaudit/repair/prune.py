"""Prune: channels that lingering classes use and the target classes never do are taken out, then plain finetuning."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from tlaudit.data.folders import printable
from tlaudit.data.images import ImageStream
from tlaudit.errors import DataError, UsageError
from tlaudit.models.channels import ChannelWatch, channel_layers, silence
from tlaudit.models.heads import within
from tlaudit.models.wording import nearest
from tlaudit.repair.base import Bench, Method, Need, Setup, nothing_lingers
from tlaudit.results import Finding
from tlaudit.training.objective import CrossEntropy

if TYPE_CHECKING:
    from torch import Tensor, nn


class Prune(Method):
    """Channels of the last stage that are active for a lingering class and for no target image are zero for good.

    *Detrimental Memories in Transfer Learning*, appendix B, eqs. 6 and 7. The activation of a channel is the mean of
    what its layer gives over positions, behind the batch norm that directly follows; the layer's threshold is a
    percentile of all activations of its channels, over the images of lingering classes and the training images together
    (ours). A channel belongs to a class if all images of the class exceed it. Filter, bias, and weight and bias of the
    batch norm are zero from the start and again after each step.
    """

    name = "prune"
    summary = "channels only lingering classes use are taken out, then as plain"
    needs: ClassVar[frozenset[Need]] = frozenset({"source_data", "lingering"})

    def setup(self, bench: Bench) -> Setup:
        """Measure which channels go, and zero them; see `Method.setup`."""
        stages = _stages(bench)
        if not bench.lingering:
            return Setup(bench.start, bench.training, CrossEntropy(), findings=(nothing_lingers(self.name),))
        percentile = bench.options.prune.percentile
        silent: dict[str, Tensor] = {}
        told: list[str] = []
        seen = 0
        activations = _measured(bench, stages)
        for (layer, parameters), (lingering, classes, target) in activations.items():
            gone = unused(lingering, classes, target, percentile)
            seen += len(gone)
            if gone.any():
                silent |= dict.fromkeys(parameters, gone)
                told.append(f"{layer} {int(gone.sum())} of {len(gone)}")
        network = copy.deepcopy(bench.start)
        silence(network, silent)
        finding = _said(told, seen, len(activations), stages)
        return Setup(network, bench.training, Pruned(silent) if silent else CrossEntropy(), findings=(finding,))


class Pruned(CrossEntropy):
    """Cross-entropy, some channels kept at zero."""

    def __init__(self, silent: dict[str, Tensor]) -> None:
        """Take, for the name of a parameter, which of its rows are zero, ``(C,)`` bool."""
        self._silent = silent

    def settle(self, network: nn.Module) -> None:
        """Set them to zero again: weight decay leaves them there, gradients and momentum do not."""
        silence(network, self._silent)


def unused(lingering: Tensor, classes: Tensor, target: Tensor, percentile: float) -> Tensor:
    """Which channels of a layer some lingering class uses and no target image does (eqs. 6 and 7).

    Args:
        lingering: Activations for images of lingering classes, ``(N, C)``.
        classes: Class of each of these, ``(N,)`` int64.
        target: Activations for target images, ``(M, C)``.
        percentile: Of all these activations together, in (0, 100): a channel above it is active.

    Returns:
        ``(C,)`` bool.

    Example:
        >>> lingering = torch.tensor([[9.0, 9.0, 0.0], [9.0, 9.0, 9.0]])
        >>> unused(lingering, torch.tensor([4, 4]), torch.tensor([[0.0, 9.0, 0.0]]), 30).tolist()
        [True, False, False]
    """
    threshold = float(np.percentile(torch.cat([lingering, target]).double().numpy(), percentile))
    active = lingering.double() > threshold
    used = torch.stack([active[classes == index].all(dim=0) for index in sorted(set(classes.tolist()))]).any(dim=0)
    return used & ~(target.double() > threshold).any(dim=0)


_Activations = dict[tuple[str, tuple[str, ...]], tuple["Tensor", "Tensor", "Tensor"]]


def _measured(bench: Bench, stages: tuple[str, ...]) -> _Activations:
    """For each layer and its parameters, activations for lingering classes, these classes, activations for the target.

    Raises:
        DataError: If no image of a lingering class can be used.
        UsageError: If there is no layer whose channels could be taken out.
    """
    execution = dataclasses.replace(bench.execution, precision="fp32")
    placed = execution.place(bench.start)
    paths = [path for path in channel_layers(placed, stages) if not within(path, bench.head)]
    watch = ChannelWatch(placed, paths)

    def ask(pixels: Tensor) -> dict[str, Tensor]:
        with execution.inference():
            return {path: rows.cpu() for path, rows in watch.look(bench.normalizer(pixels)).items()}

    index, lingering = [], []
    for batch in _of_lingering_classes(bench):
        index.append(batch.index)
        lingering.append(ask(batch.pixels[bench.preprocessing.geometry]))
    epoch = bench.training.epoch(0, seed=0, batch_size=execution.batch_size, flip=False)
    target = [ask(batch.pixels) for batch in epoch]
    chosen = bench.source_images.labels[_items(bench)]
    classes = chosen[torch.cat(index)]
    watched = watch.watched()
    if not watched:
        raise UsageError(f"{Prune.name}: no linear layer or convolution in {', '.join(stages)} runs once in a pass")
    return {
        (channels.layer, tuple(channels.parameters(placed))): (
            torch.cat([rows[channels.layer] for rows in lingering]),
            classes,
            torch.cat([rows[channels.layer] for rows in target]),
        )
        for channels in watched
    }


def _stages(bench: Bench) -> tuple[str, ...]:
    """Those asked for, or the last one with a layer whose channels could be taken out."""
    outside = [stage for stage in bench.source.stages if not within(stage, bench.head)]
    filled = [stage for stage in outside if channel_layers(bench.start, [stage])]
    asked = bench.options.prune.stages
    if asked is None and not filled:
        raise UsageError(
            f"{Prune.name}: no stage of {bench.source.architecture} before its head {bench.head} holds a linear layer "
            "or convolution"
        )
    known = [path for path, _ in bench.start.named_modules() if path and not within(path, bench.head)]
    for path in asked or ():
        if path not in known:
            raise UsageError(
                f"{Prune.name}, stages: {path} is no module outside the head; nearest: {nearest(path, known)}"
            )
    return asked or (filled[-1],)


def _items(bench: Bench) -> Tensor:
    """Which source images are of lingering classes, ``(N,)`` int64."""
    return torch.isin(bench.source_images.labels, torch.tensor(bench.lingering)).nonzero()[:, 0]


def _of_lingering_classes(bench: Bench) -> ImageStream:
    """One pass over all source images of lingering classes."""
    images = bench.source_images.images
    items = tuple(images.items[item] for item in _items(bench).tolist())
    if not items:
        raise DataError(f"{printable(str(images.root))}: expected images of lingering classes, found none")
    subset = dataclasses.replace(images, items=items, unread=())
    execution = bench.execution
    return ImageStream(subset, [bench.preprocessing], batch_size=execution.batch_size, workers=execution.workers)


def _said(told: list[str], channels: int, layers: int, stages: tuple[str, ...]) -> Finding:
    where = f"{layers} layers in {', '.join(stages)}"
    if not told:
        message = (
            f"{Prune.name}: none of {channels} channels of {where} is active for a lingering class and for no training "
            "image, so that nothing was taken out and it was as plain is."
        )
        return Finding(code="repair.nothing_pruned", severity="info", message=message)
    message = f"{Prune.name}: of {channels} channels of {where} some were taken out for good: {', '.join(told)}."
    return Finding(code="repair.pruned", severity="info", message=message)

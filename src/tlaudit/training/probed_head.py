"""A linear probe as the head of a network: where training can begin without a random head that spoils the backbone.

The layers before the head's last one are the source's and frozen, dropout is off, and the images are not augmented, so
that fitting the head is a problem with one solution (Kumar et al. 2022, LP-FT).
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.errors import DataError, UsageError
from tlaudit.measure.probes import fit_linear
from tlaudit.models.heads import within
from tlaudit.models.new_head import last_layer
from tlaudit.models.runtime import class_scores
from tlaudit.models.taps import entered, tapped
from tlaudit.options import TrainingOptions
from tlaudit.progress import silent
from tlaudit.results import Finding
from tlaudit.training.loop import train
from tlaudit.training.objective import CrossEntropy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor, nn

    from tlaudit.data.training import TrainingBatch, TrainingImages
    from tlaudit.measure.probes import Linear
    from tlaudit.models.preprocess import Normalizer
    from tlaudit.models.runtime import Execution
    from tlaudit.models.sources import Model
    from tlaudit.progress import Progress

TOLERANCE = 1e-3
"""Largest difference of logits that is rounding, as a share of the largest one; seen are less than 1e-5 (ours)."""

TRAINED = TrainingOptions(epochs=10, learning_rate=1e-3, batch_norm="frozen", flip=False)
"""How a head is trained that no linear probe can be written into (ours)."""


@dataclass(frozen=True, eq=False)
class ProbedHead:
    """A network under a head that tells the task's classes apart as well as frozen features allow.

    Attributes:
        network: In eval mode, on the CPU, no gradients.
        accuracy: Share of the training images it classifies rightly.
        probe: What was written into the last layer, or None where the layer was trained instead.
        findings: What the reader has to know of how it came about.
    """

    network: nn.Module
    accuracy: float
    probe: Linear | None
    findings: tuple[Finding, ...]


def probed_head(
    source: Model,
    network: nn.Module,
    images: TrainingImages,
    *,
    execution: Execution,
    normalizer: Normalizer,
    seed: int,
    progress: Progress = silent,
) -> ProbedHead:
    """Fit a linear probe to what enters a network's last layer, and write it into that layer.

    The probe is that of `tlaudit.measure.probes.linear_probe`, on features pooled over space. If a rectifier follows
    the layer (SqueezeNet's does), the same number is added to the bias of every class, so that nothing is cut off and
    no probability changes; if the network's logits are still not the probe's, the layer is trained by gradient descent
    instead (`TRAINED`). All passes are made in fp32.

    Args:
        source: The pretrained network.
        network: From `tlaudit.models.new_head.with_new_head`; left as it is.
        images: Labelled by the network's outputs; each is seen as it is, not mirrored.
        execution: Device and batch size.
        normalizer: Turns pixels into inputs, on that device.
        seed: Of the cross-validation.
        progress: Shows how far the passes are, in images.

    Raises:
        UsageError: If the head does not end in a linear layer or 1x1 convolution.
        DataError: If no image of some class can be used.
        DegenerateError: If features are NaN or infinite.
    """
    layer = last_layer(source.module, source.head, source.num_classes)
    precise = dataclasses.replace(execution, precision="fp32")
    fitting = _Fitting(layer, images, precise, normalizer, progress)
    before = fitting.look(network, "features")
    _refuse_missing_classes(before.labels, len(network.get_submodule(layer).get_parameter("weight")), images)
    probe = fit_linear(before.features, before.labels, seed)
    answers = probe(before.features)
    written = _with(network, layer, probe, 0.0)
    # Where nothing stands behind the layer, its outputs are the logits and there is nothing to check.
    if not (before.bare and _has_bias(network, layer)):
        after = fitting.look(written, "checking the head", lifted=True)
        written = _with(network, layer, probe, _lift(after.lowest, after.highest))
        if not _same(after.logits, answers):
            trained = fitting.trained(written, seed)
            logits = fitting.look(trained, "checking the head").logits
            return ProbedHead(trained, _accuracy(logits, before.labels), None, (_trained_instead(layer),))
    return ProbedHead(written, _accuracy(answers, before.labels), probe, tuple(_findings(probe)))


@dataclass(frozen=True, eq=False)
class _Look:
    """What one pass over all images found, rows in the order of the set.

    Attributes:
        features: What enters the layer, pooled over space, ``(N, D)`` float32 on the CPU.
        labels: ``(N,)`` int64.
        logits: ``(N, K)`` float32 on the CPU.
        lowest: Smallest output of the layer at any position.
        highest: Largest one.
        bare: Whether the layer's outputs are the logits.
    """

    features: Tensor
    labels: Tensor
    logits: Tensor
    lowest: float
    highest: float
    bare: bool


@dataclass(frozen=True, eq=False)
class _Fitting:
    """Passes over the images, of networks that differ in one layer."""

    layer: str
    images: TrainingImages
    execution: Execution
    normalizer: Normalizer
    progress: Progress

    def look(self, network: nn.Module, label: str, *, lifted: bool = False) -> _Look:
        """Ask a network about all images and watch the layer; if `lifted`, raise all it gives above zero."""
        placed = self.execution.place(network)
        batches: list[tuple[Tensor, ...]] = []
        outside: list[float] = []
        bare = True
        for batch in self._batches(label):
            features, output, logits = self._ask(placed, batch, lifted=lifted)
            bare = bare and torch.equal(output, logits)
            outside += [float(output.min()), float(output.max())]
            batches.append((batch.index, features.cpu(), batch.labels, logits.float().cpu()))
        index, features, labels, logits = (torch.cat(rows) for rows in zip(*batches, strict=True))
        order = index.argsort()
        return _Look(features[order], labels[order], logits[order], min(outside), max(outside), bare)

    def _ask(self, placed: nn.Module, batch: TrainingBatch, *, lifted: bool) -> tuple[Tensor, Tensor, Tensor]:
        """What enters the layer, pooled; what it gives; logits."""
        seen: list[Tensor] = []

        def see(_: str, given: object) -> Tensor | None:
            output = _tensor(given, self.layer)
            # A copy, because a rectifier behind the layer may write over its output.
            seen.append(output.clone())
            return output + _lift(float(output.min()), float(output.max())) if lifted else None

        with (
            self.execution.inference(),
            entered(placed, [self.layer], lambda _, taken: seen.append(_pooled(taken, self.layer))),
            tapped(placed, [self.layer], see),
        ):
            logits = class_scores(placed, self.normalizer(batch.pixels))
        if len(seen) != 2:
            raise UsageError(
                f"{self.layer}, the last layer of the head, runs {len(seen) // 2} times in a forward pass, expected "
                "once: no linear probe can be written into it; take another --init"
            )
        return seen[0], seen[1], logits

    def trained(self, network: nn.Module, seed: int) -> nn.Module:
        """Train the layer alone."""
        learnt = train(
            network,
            self.images,
            TRAINED.model_copy(update={"batch_size": self.execution.batch_size}),
            execution=self.execution,
            normalizer=self.normalizer,
            seed=seed,
            objective=_LayerAlone(self.layer),
            progress=self.progress,
        )
        return learnt.network.to("cpu")

    def _batches(self, label: str) -> Iterable[TrainingBatch]:
        # The order of the epoch is of no consequence: rows are put in order afterwards.
        batches = self.images.epoch(0, seed=0, batch_size=self.execution.batch_size, flip=False)
        return self.progress(batches, total=len(self.images), label=label, size=_images_in)


class _LayerAlone(CrossEntropy):
    """Cross-entropy in which one layer learns."""

    def __init__(self, layer: str) -> None:
        self._layer = layer

    def opens(self, name: str) -> bool:
        """Say whether the parameter is the layer's."""
        return within(name, self._layer)


def _tensor(value: object, layer: str) -> Tensor:
    if not isinstance(value, torch.Tensor):
        got = type(value).__name__
        raise UsageError(f"{layer}, the last layer of the head, is given or gives a {got}, expected a tensor")
    return value


def _pooled(taken: object, layer: str) -> Tensor:
    """Means over space of what enters the layer, ``(N, D)`` float32: channels are second in a grid, else last."""
    features = _tensor(taken, layer).float()
    if features.ndim == 4:
        return features.mean(dim=(2, 3))
    return features.reshape(len(features), -1, features.shape[-1]).mean(dim=1)


def _has_bias(network: nn.Module, layer: str) -> bool:
    return "bias" in dict(network.get_submodule(layer).named_parameters())


def _with(network: nn.Module, layer: str, probe: Linear, above: float) -> nn.Module:
    """Give a copy whose layer is the probe, every logit higher by the same number."""
    copied = copy.deepcopy(network)
    module = copied.get_submodule(layer)
    with torch.no_grad():
        weight = module.get_parameter("weight")
        weight.copy_(probe.weight.reshape(weight.shape))
        if _has_bias(network, layer):
            module.get_parameter("bias").copy_(probe.bias + above)
    return copied


def _lift(lowest: float, highest: float) -> float:
    """How much is added to values between these, so that none is below zero.

    They come to lie as far above zero as they lie apart, because other images may give lower ones.
    """
    return highest - 2 * lowest if lowest < 0 else 0.0


def _same(logits: Tensor, answers: Tensor) -> bool:
    """Whether two sets of logits give the same probabilities, up to rounding."""
    ours, theirs = (values.double() - values.double().mean(dim=1, keepdim=True) for values in (logits, answers))
    return bool(((ours - theirs).abs().amax() <= TOLERANCE * theirs.abs().amax()).item())


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(dim=1) == labels).double().mean())


def _images_in(batch: TrainingBatch) -> int:
    return len(batch.index)


def _refuse_missing_classes(labels: Tensor, classes: int, images: TrainingImages) -> None:
    missing = sorted(set(range(classes)) - set(labels.tolist()))
    if missing:
        raise DataError(
            f"{images.record.path}: no image of the classes numbered {missing} can be used, so that a linear probe "
            "cannot tell them from others: add images, or take another --init"
        )


def _findings(probe: Linear) -> Iterator[Finding]:
    if not probe.converged:
        message = "The linear probe that training begins with did not come to rest; a better one may exist."
        yield Finding(code="repair.probe_not_converged", severity="warning", message=message)
    if not probe.folds:
        message = (
            "Some class has a single training image, so that the linear probe that training begins with could not be "
            f"cross-validated: its strength is {probe.strength:g}, untried."
        )
        yield Finding(code="repair.probe_untried", severity="warning", message=message)


def _trained_instead(layer: str) -> Finding:
    message = (
        f"What stands behind {layer} is not linear, so that no linear probe could be written into it; it was trained "
        f"alone for {TRAINED.epochs} epochs at learning rate {TRAINED.learning_rate:g} instead."
    )
    return Finding(code="repair.probe_trained", severity="warning", message=message)

"""A network that predicts and says in the same breath which images remind it of what it should have forgotten."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tlaudit.documents import lingering_classes
from tlaudit.errors import UsageError
from tlaudit.models.preprocess import resolve_preprocessing
from tlaudit.models.recorded import other_networks
from tlaudit.models.runtime import class_scores, shared_copy
from tlaudit.models.wording import listed
from tlaudit.results import CheckResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlaudit.models.pair import Pair

log = logging.getLogger(__name__)

_PROBES = 2
_TOLERANCE = 1e-5
"""Largest difference of two ways to the same logits, as a share of the largest logit."""

_FAILURES = (RuntimeError, AssertionError, ValueError, TypeError, IndexError, AttributeError)
"""What a network of the user's own raises where it cannot work as it is asked to."""


class Screened(NamedTuple):
    """What an `InferenceDetector` says of a batch of N images.

    Attributes:
        logits: Of the finetuned network, ``(N, K_t)`` float32: the prediction is their argmax.
        score: Highest probability that the source's head gives any lingering class, ``(N,)`` float32 in [0, 1].
        source_class: Which one that is, as an output of the source network, ``(N,)`` int64.
        flagged: Whether the score is above the threshold, ``(N,)`` bool.
    """

    logits: Tensor
    score: Tensor
    source_class: Tensor
    flagged: Tensor


# torch.export.save asks for this, and torch has no public name for it; without it everything else still works.
_register = getattr(pytree, "_register_namedtuple", None)
if _register is not None:
    _register(Screened, serialized_type_name=f"{__name__}.Screened")


class InferenceDetector(nn.Module):
    """Serves the finetuned network's prediction and a flag for images that remind it of a lingering class.

    Eq. 5 of *Detrimental Memories in Transfer Learning*: an image is flagged when the largest of the probabilities
    ``p_c(M^st(x))`` over the lingering classes c, softmax over all source classes, is above a threshold. The finetuned
    network runs once with both heads on its features; that this gives what the two networks give one by one is proved
    on random pixels when the detector is made. Where it does not hold, because the network does something with all its
    outputs together after the head, or source and finetuned network were built differently, both networks run:
    `passes` is then 2 and a warning says so.

    The detector shares memory with the networks of the pair, which stay as they are. It is frozen and always in eval
    mode. `torch.export` takes it, with a first dimension that may be dynamic.

    Attributes:
        threshold: Images whose score is above it are flagged, in [0, 1]; held in float32. May be set at any time; it is
            part of the state dict and of what `torch.export` writes, where it stays as it was at that moment.
        lingering: Lingering classes, ``(L,)`` int64, outputs of the source network, rising.
        passes: How often an image goes through a backbone: 1, or 2 where two heads on one backbone did not agree.

    Example:
        A service that answers with a class, or hands the image to a person::

            import torch
            from tlaudit import InferenceDetector, load_pair
            from tlaudit.models.preprocess import Normalizer, resolve_preprocessing

            pair = load_pair("imagenet.pth", "cats-vs-dogs.pth")
            detector = InferenceDetector(pair, [504, 967], threshold=0.05)
            normalize = Normalizer(resolve_preprocessing(pair.finetuned.preprocessing), torch.device("cpu"))

            with torch.inference_mode():
                screened = detector(normalize(pixels))  # (N, 3, 224, 224) uint8
            for label, flagged in zip(screened.logits.argmax(1).tolist(), screened.flagged.tolist()):
                answer = "ask a person" if flagged else ("cat", "dog")[label]

            batch = torch.export.Dim("batch")
            images = torch.zeros(2, 3, 224, 224)
            program = torch.export.export(detector, (images,), dynamic_shapes={"x": {0: batch}})
            torch.export.save(program, "detector.pt2")  # torch.export.load needs `import tlaudit.models.detector`
    """

    lingering: Tensor
    _line: Tensor

    def __init__(
        self,
        pair: Pair,
        lingering: CheckResult | Sequence[int],
        threshold: float | None = None,
        *,
        side: int | None = None,
    ) -> None:
        """Join the heads and prove that they agree with the networks they come from.

        Args:
            pair: Source and finetuned network.
            lingering: What `tlaudit lingering` found about this pair, or indices of source classes.
            threshold: In [0, 1]; left out, the ``p_lo`` by which the result called classes lingering.
            side: Pixels of an image's side; left out, those of the finetuned network's preprocessing.

        Raises:
            UsageError: If the result is about other checkpoints, no class lingers, an index is no source class, the
                threshold is out of range or cannot be known, or a network cannot work on images of that side.
        """
        super().__init__()
        classes = _classes(pair, lingering)
        self.register_buffer("_line", torch.zeros(()))
        self.threshold = _threshold(lingering, threshold)
        self.register_buffer("lingering", torch.tensor(classes, dtype=torch.int64))
        side = side or resolve_preprocessing(pair.finetuned.preprocessing).crop
        self._network, self.passes = _network(pair, side)
        self._target_classes = pair.finetuned.num_classes
        self.eval()
        self.requires_grad_(requires_grad=False)

    @property
    def threshold(self) -> float:
        """Images whose score is above it are flagged."""
        # As it was given, unless a state dict brought another one.
        held = float(self._line)
        return self._given if float(torch.tensor(self._given)) == held else held

    @threshold.setter
    def threshold(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise UsageError(f"expected a threshold from 0 to 1, got {value}")
        self._given = float(value)
        with torch.no_grad():
            self._line.fill_(value)

    def forward(self, x: Tensor) -> Screened:
        """Predict and screen.

        Args:
            x: Images normalised as the finetuned network wants them, ``(N, 3, H, W)`` float32.

        Returns:
            Logits, scores, classes and flags, row by row.
        """
        both = self._network(x).float()
        probabilities = both[:, self._target_classes :].softmax(dim=1)
        score, position = probabilities[:, self.lingering].max(dim=1)
        return Screened(both[:, : self._target_classes], score, self.lingering[position], score > self._line)

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - the signature is torch's
        """Stay in eval mode: in training, batch norm would write to statistics the pair's networks share."""
        return super().train(False)


class _TwoHeads(nn.Module):
    """Two heads in the place of one: the outputs of both, side by side along one dimension."""

    def __init__(self, target: nn.Module, source: nn.Module, dim: int) -> None:
        super().__init__()
        self.target, self.source, self.dim = target, source, dim

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([self.target(features), self.source(features)], dim=self.dim)


class _TwoNetworks(nn.Module):
    """Two networks on the same images, logits side by side."""

    def __init__(self, target: nn.Module, hybrid: nn.Module) -> None:
        super().__init__()
        self.target, self.hybrid = target, hybrid

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.target(x), self.hybrid(x)], dim=1)


def _network(pair: Pair, side: int) -> tuple[nn.Module, int]:
    """Give a network with the logits of both tasks, ``(N, K_t + K_s)``, and how many passes it takes."""
    pixels = torch.randn(_PROBES, 3, side, side, generator=torch.Generator().manual_seed(0))
    separate = _TwoNetworks(shared_copy(pair.finetuned.module), pair.hybrid()).eval()
    try:
        with torch.inference_mode():
            class_scores(separate.target, pixels)
            expected = class_scores(separate, pixels)
    except _FAILURES as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"the networks cannot work on images of {side} x {side} pixels: {type(error).__name__}: {reason}; "
            "give the side they were made for"
        ) from error
    reasons = []
    # Logits lie along dimension 1 of most heads' outputs, also of convolutions; of a linear layer on a grid along the
    # last. Only a trial can tell what the network does with them.
    for dim in (1, -1):
        joined = shared_copy(pair.finetuned.module)
        heads = _TwoHeads(
            joined.get_submodule(pair.head), shared_copy(pair.source.module.get_submodule(pair.head)), dim
        )
        joined.set_submodule(pair.head, heads)
        joined.eval()
        disagreement = _disagreement(joined, pixels, expected)
        if disagreement is None:
            return joined, 1
        reasons.append(disagreement)
    log.warning("both networks are run for each image, because two heads on one backbone do not agree: %s", reasons[0])
    return separate, 2


def _disagreement(joined: nn.Module, pixels: Tensor, expected: Tensor) -> str | None:
    """Say how a network with two heads differs from the two networks, or None if it does not."""
    try:
        with torch.inference_mode():
            got = class_scores(joined, pixels)
    except _FAILURES as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    if got.shape != expected.shape:
        return f"expected logits {tuple(expected.shape)}, got {tuple(got.shape)}"
    scale = float(expected.abs().nan_to_num().max())
    if not torch.allclose(got, expected, rtol=0, atol=_TOLERANCE * scale, equal_nan=True):
        return f"logits differ by {float((got - expected).abs().max()):.2g} where they are up to {scale:.2g}"
    return None


def _classes(pair: Pair, lingering: CheckResult | Sequence[int]) -> list[int]:
    """Give the lingering classes, each once, in rising order."""
    if isinstance(lingering, CheckResult):
        differences = list(other_networks(lingering, pair))
        if differences:
            raise UsageError(
                f"the result of lingering is about {'; '.join(differences)}: run tlaudit lingering on this pair"
            )
        chosen = [one.index for one in lingering_classes(lingering)]
        if not chosen:
            raise UsageError("no class lingers in this result: there is nothing to screen for")
    else:
        chosen = [int(index) for index in lingering]
        if not chosen:
            raise UsageError("expected at least one lingering class, got none: there is nothing to screen for")
    strangers = [str(index) for index in chosen if not 0 <= index < pair.source.num_classes]
    if strangers:
        raise UsageError(f"expected source classes from 0 to {pair.source.num_classes - 1}, got {listed(strangers)}")
    return sorted(set(chosen))


def _threshold(lingering: CheckResult | Sequence[int], threshold: float | None) -> float:
    if threshold is None:
        if not isinstance(lingering, CheckResult):
            raise UsageError("give a threshold: indices of classes come without one")
        known = lingering.provenance.options.get("p_lo")
        if not isinstance(known, int | float):
            raise UsageError("give a threshold: this result of lingering does not say its p_lo")
        threshold = float(known)
    return threshold

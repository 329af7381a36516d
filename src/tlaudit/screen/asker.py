"""Asking the detector about images, batch by batch."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.checks.asking import asked, refuse_nan
from tlaudit.data.images import ImageStream
from tlaudit.documents import lingering_classes
from tlaudit.models.detector import InferenceDetector
from tlaudit.models.preprocess import Normalizer
from tlaudit.models.runtime import class_scores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from tlaudit.checks.base import Subject
    from tlaudit.data.images import ImageSet


@dataclass(frozen=True)
class Answers:
    """What is said of N images, on the CPU.

    Attributes:
        prediction: Most probable class of the finetuned network, ``(N,)`` int64.
        probability: Its probability, ``(N,)`` float32 in [0, 1].
        score: Highest probability of a lingering class, ``(N,)`` float32 in [0, 1]; 0 where no class lingers.
        source_class: Which lingering class that is, ``(N,)`` int64; -1 where no class lingers.
        flagged: Whether the score is above the threshold, ``(N,)`` bool.
    """

    prediction: Tensor
    probability: Tensor
    score: Tensor
    source_class: Tensor
    flagged: Tensor


class Asker:
    """A detector on its device, fed from files.

    Attributes:
        lingering: Indices of the lingering source classes; where there is none nothing is ever flagged.
        subject: What is screened with.
    """

    def __init__(self, subject: Subject) -> None:
        """Place the detector, or the finetuned network alone where no class lingers; the threshold is p_lo at first.

        Args:
            subject: Networks; ``earlier`` holds the result of ``lingering``.

        Raises:
            UsageError: If the networks cannot work on images of their size.
        """
        result = subject.earlier["lingering"]
        self.subject = subject
        self.lingering = tuple(one.index for one in lingering_classes(result))
        preprocessing = subject.preprocessing["finetuned"]
        module = subject.pair.finetuned.module
        if self.lingering:
            # What a network of the user's own prints must not get between the rows on stdout.
            with contextlib.redirect_stdout(sys.stderr):
                module = InferenceDetector(subject.pair, result, side=preprocessing.crop)
        self._network = subject.network(module, "finetuned")
        self._normalize = Normalizer(preprocessing, subject.execution.device)

    @property
    def threshold(self) -> float:
        """Images whose score is above it are flagged; 1 where no class lingers, which no score exceeds."""
        detector = self._network.module
        return detector.threshold if isinstance(detector, InferenceDetector) else 1.0

    @threshold.setter
    def threshold(self, value: float) -> None:
        if isinstance(self._network.module, InferenceDetector):
            self._network.module.threshold = value

    def ask(self, pixels: Tensor, label: str) -> Answers:
        """Ask about a batch.

        Args:
            pixels: ``(N, 3, crop, crop)`` uint8 in [0, 255].
            label: What the images are, for messages.

        Raises:
            UsageError: If the network cannot work on the images.
            DataError: If it gives NaN.
        """
        with self.subject.execution.inference(), asked("finetuned", self._network, label):
            answers = self._answer(self._normalize(pixels))
        refuse_nan(torch.stack([answers.probability, answers.score], dim=1), "finetuned", label)
        return answers

    def _answer(self, inputs: Tensor) -> Answers:
        module = self._network.module
        if isinstance(module, InferenceDetector):
            logits, *rest = module(inputs)
        else:
            logits, n = class_scores(module, inputs).float(), len(inputs)
            rest = [torch.zeros(n), torch.full((n,), -1), torch.zeros(n, dtype=torch.bool)]
        probability, prediction = logits.softmax(dim=1).max(dim=1)
        return Answers(*(tensor.cpu() for tensor in (prediction, probability, *rest)))

    def stream(self, images: ImageSet) -> ImageStream:
        """Prepare a pass over images, as the finetuned network sees them."""
        execution = self.subject.execution
        return ImageStream(
            images,
            [self._network.preprocessing],
            batch_size=execution.batch_size,
            workers=execution.workers,
            strict=self.subject.strict,
        )

    def follow(self, stream: ImageStream, images: int, label: str) -> Iterator[tuple[Tensor, Answers]]:
        """Run a pass; give the numbers of the images of a batch in their set, ``(N,)`` int64, and the answers.

        Raises:
            DataError: If no image can be used or, when strict, any cannot; or if the network gives NaN.
        """
        geometry = self._network.preprocessing.geometry
        for batch in self.subject.progress(stream, total=images, label=label, size=lambda b: len(b.index)):
            yield batch.index, self.ask(batch.pixels[geometry], label)

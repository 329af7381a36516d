"""What the networks make of composites: where they look, what they predict, and what occluding changes.

Definitions: docs/methods.md, "Distraction". Every number belongs to one composite and does not depend on the batch it
was computed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torchvision.transforms.v2 import functional as transforms

from tlaudit.checks.asking import asked, refuse_nan
from tlaudit.data.composites import background, overlay_preprocessing
from tlaudit.errors import DataError, UsageError
from tlaudit.measure.overlap import TopPixels, overlap, random_top_pixels, top_pixels
from tlaudit.models.attribution import Attributor, Explanation, attribution_layer, upsampled
from tlaudit.models.folding import folded
from tlaudit.models.halving import joined
from tlaudit.models.preprocess import Normalizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from tlaudit.checks.base import Subject
    from tlaudit.data.composites import Composite, CompositeBatch
    from tlaudit.models.sources import Model
    from tlaudit.options import DistractionOptions
    from tlaudit.results import Preprocessing

T = TypeVar("T")

LABEL = "composites"
TARGET_ROLES = ("finetuned", "baseline")


@dataclass(frozen=True)
class Answer:
    """What one network of the target task predicts for a composite.

    Attributes:
        predicted: Class on the composite.
        probability: Of that class.
        on_grey: Class with mid-grey for the background.
        occluded: Class once the source network's top pixels are filled; None where it was not asked.
        random: The same for a random mask of equal area.
    """

    predicted: int
    probability: float
    on_grey: int
    occluded: int | None
    random: int | None


@dataclass(frozen=True)
class Scene:
    """What a picture of a composite needs; large, and dropped as soon as none will be made.

    Attributes:
        pixels: ``(3, S, S)`` uint8.
        top: Top pixels of the source network's map, ``(S, S)`` bool.
    """

    pixels: Tensor
    top: Tensor


@dataclass(frozen=True)
class Seen:
    """One composite and what was found about it, on the CPU.

    Attributes:
        composite: Where it comes from.
        label: Class of the overlay in the finetuned network; -1 where it is not known.
        maps: Attribution maps by role, ``(h, w)`` float32, at the resolution of the method.
        dead: Which maps have no top pixels in the background, by role.
        distraction: For each network of the target task, overlap with the source's map outside the overlay, in [0, 1];
            None where one of the two maps is dead.
        answers: Predictions by role.
        scene: Pixels and masks, for a picture; None where none will be made.
    """

    composite: Composite
    label: int
    maps: dict[str, Tensor]
    dead: dict[str, bool]
    distraction: dict[str, float | None]
    answers: dict[str, Answer]
    scene: Scene | None


@dataclass(frozen=True)
class Null:
    """A composite's map against another composite of its class.

    Attributes:
        partner: Number of the other one in the list.
        value: Overlap in [0, 1], or None where a map is dead over the background the two share, or they share none.
    """

    partner: int
    value: float | None


class Explainer:
    """Asks source, finetuned and, where there is one, baseline network about batches of composites.

    All maps are compared at the size of the composites, which is the input size of the finetuned network; a network of
    another input size gets them resized.
    """

    def __init__(
        self,
        subject: Subject,
        options: DistractionOptions,
        *,
        occlude: bool = True,
        remembered: dict[str, Explanation] | None = None,
    ) -> None:
        """Place the networks and find the layer that is explained.

        Args:
            subject: The networks.
            options: How composites are made and maps compared.
            occlude: Whether composites that are got wrong are asked about again with pixels filled.
            remembered: What the source network gave for composites, by their ids; it is not asked about them again, and
                what it gives for others is added.

        Raises:
            UsageError: If layer or method do not exist, or the layer has no spatial extent.
        """
        pair = subject.pair
        models = {"source": pair.source, "finetuned": pair.finetuned, "baseline": pair.baseline}
        self._execution, self._options, self._seed = subject.execution, options, subject.seed
        self._occlude, self._remembered = occlude, remembered
        self.side = subject.preprocessing["finetuned"].crop
        _refuse_no_background(subject.preprocessing["finetuned"], options)
        self._networks = {r: subject.network(m.module, r) for r, m in models.items() if m is not None}
        self._normalizers = {
            role: Normalizer(network.preprocessing, self._execution.device) for role, network in self._networks.items()
        }
        # A map takes more memory than an answer: what follows the layer is kept for its gradient.
        self._halvings = {role: subject.halving(f"maps of the {role} network") for role in self._networks}
        for role, network in self._networks.items():
            self._halvings[role].whole |= network.halving.whole
        self.layer = self._find_layer(pair.source)
        self._attributors = {
            role: Attributor(self._folded(role), self.layer, options.method) for role in self._networks
        }
        mean = torch.tensor(subject.preprocessing["finetuned"].mean)
        self._fill = (mean * 255).round().to(torch.uint8)[:, None, None]

    def _find_layer(self, source: Model) -> str:
        if self._options.layer is not None:
            return self._options.layer
        module = self._networks["source"].module
        return self._on_noise(
            "source", lambda inputs: attribution_layer(module, source.record.family, source.head, inputs)
        )

    def _folded(self, role: str) -> nn.Module:
        """A network that gives the same maps in less time, for the many batches to come."""
        module = self._networks[role].module
        return self._on_noise(role, lambda inputs: folded(module, inputs, keep=(self.layer,)))

    def _on_noise(self, role: str, find: Callable[[Tensor], T]) -> T:
        """Find something out about a network by noise, of which as much is taken as fits into memory at once."""
        inputs = self._inputs(role, _noise(self.side))
        with self._execution.attribution(), asked(role, self._networks[role], LABEL):
            return self._halvings[role].run(len(inputs), lambda part: find(inputs[part]))[0]

    def __call__(self, batch: CompositeBatch, labels: Tensor) -> list[Seen]:
        """Ask all networks about a batch.

        Args:
            batch: Composites.
            labels: Class of each overlay in the finetuned network, ``(N,)`` int64; -1 where it is not known.
        """
        region = background(batch.composites, self.side, self._options.margin)
        classes = torch.tensor([composite.class_index for composite in batch.composites])
        explanations = {
            role: self._source(batch, classes) if role == "source" else self._explain(role, batch.pixels, classes)
            for role in self._networks
        }
        tops = {role: self._top(e.maps, e.dead, region) for role, e in explanations.items()}
        top = tops["source"].mask.cpu()
        target = [role for role in TARGET_ROLES if role in explanations]
        overlaps = {role: overlap(tops[role], tops["source"]) for role in target}
        answers = {role: self._answers(role, batch, labels, explanations[role].logits, top) for role in target}
        maps = {role: explanation.maps.cpu() for role, explanation in explanations.items()}
        dead = {role: found.dead.tolist() for role, found in tops.items()}
        return [
            Seen(
                composite=composite,
                label=int(labels[row]),
                maps={role: of_role[row] for role, of_role in maps.items()},
                dead={role: of_role[row] for role, of_role in dead.items()},
                distraction={r: float(o.values[row]) if o.defined[row] else None for r, o in overlaps.items()},
                answers={role: of_role[row] for role, of_role in answers.items()},
                scene=Scene(batch.pixels[row].clone(), top[row].clone()),
            )
            for row, composite in enumerate(batch.composites)
        ]

    def null(self, seen: Sequence[Seen]) -> list[Null]:
        """Overlap of the finetuned network's map of each composite with the source's map of another one.

        Over the background the two have in common. The other one is the next composite with another source image,
        after the last one the first; where all show the same source image, simply the next.

        Args:
            seen: Composites of one class.

        Returns:
            One for each; none at all where there is only one composite.
        """
        if len(seen) < 2:
            return []
        partners = [_partner(seen, number) for number in range(len(seen))]
        region = background([one.composite for one in seen], self.side, self._options.margin)
        common = region & region[partners]
        # Two large overlays may leave nothing between them; such a pair has no null.
        shared = common.flatten(1).any(dim=1)
        nulls = []
        for rows in torch.split(torch.arange(len(seen)), self._execution.batch_size):
            between = common[rows] | ~shared[rows, None, None]
            numbers = rows.tolist()
            ours = torch.stack([seen[row].maps["finetuned"] for row in numbers])
            theirs = torch.stack([seen[partners[row]].maps["source"] for row in numbers])
            tops = [self._top(maps.to(self._execution.device), None, between) for maps in (ours, theirs)]
            found = overlap(*tops)
            defined = found.defined & shared[rows]
            values = zip(numbers, found.values.tolist(), defined.tolist(), strict=True)
            nulls += [Null(partners[row], value if good else None) for row, value, good in values]
        return nulls

    def maps(self, composite: Composite, pixels: Tensor) -> dict[str, Tensor]:
        """Explain one composite alone, so that not even its last digit depends on what it was batched with.

        Args:
            composite: Where it comes from.
            pixels: ``(3, S, S)`` uint8.

        Returns:
            Attribution maps by role, ``(h, w)`` float32 on the CPU.
        """
        classes = torch.tensor([composite.class_index])
        return {role: self._explain(role, pixels[None], classes).maps[0].cpu() for role in self._networks}

    def probe(self) -> None:
        """Explain noise, which shows whether the layer can be explained at all.

        Raises:
            UsageError: If it has no spatial extent, runs more than once, or the logits do not depend on it.
        """
        for role in self._networks:
            self._explain(role, _noise(self.side), torch.zeros(len(_noise(self.side)), dtype=torch.int64))

    def predict(self, role: str, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Give class ``(N,)`` int64 and its probability ``(N,)`` float32 of pictures ``(N, 3, S, S)`` uint8."""
        network = self._networks[role]
        with self._execution.inference(), asked(role, network, LABEL):
            best = network.logits(self._inputs(role, pixels)).float().softmax(dim=1).max(dim=1)
        return best.indices.cpu(), best.values.cpu()

    def filled(self, pixels: Tensor, mask: Tensor) -> Tensor:
        """Fill masked pixels with the mean colour of the finetuned network's preprocessing.

        Args:
            pixels: ``(N, 3, S, S)`` uint8.
            mask: ``(N, S, S)`` bool.
        """
        return torch.where(mask[:, None], self._fill, pixels)

    def _inputs(self, role: str, pixels: Tensor) -> Tensor:
        side = self._networks[role].preprocessing.crop
        if side != self.side:
            pixels = transforms.resize(pixels, [side, side], antialias=True)
        inputs: Tensor = self._normalizers[role](pixels)
        return inputs

    def _source(self, batch: CompositeBatch, classes: Tensor) -> Explanation:
        """Explain the source network, or remember how it was explained."""
        known = self._remembered
        if known is None:
            return self._explain("source", batch.pixels, classes)
        ids = [composite.id for composite in batch.composites]
        if not known.keys() >= set(ids):
            found = self._explain("source", batch.pixels, classes)
            parts = zip(*(torch.split(field.cpu(), 1) for field in found), strict=True)
            known.update((name, Explanation(*part)) for name, part in zip(ids, parts, strict=True))
            return found
        device = self._execution.device
        kept = zip(*(known[name] for name in ids), strict=True)
        return Explanation(*(torch.cat(part).to(device) for part in kept))

    def _explain(self, role: str, pixels: Tensor, classes: Tensor) -> Explanation:
        wanted = classes.to(self._execution.device) if role == "source" else None
        attributor = self._attributors[role]

        def explain(part: slice) -> Explanation:
            return attributor(self._inputs(role, pixels[part]), None if wanted is None else wanted[part])

        with self._execution.attribution(), asked(role, self._networks[role], LABEL):
            parts = self._halvings[role].run(len(pixels), explain)
            explanation = Explanation(*(joined(field) for field in zip(*parts, strict=True)))
        refuse_nan(explanation.logits, role, LABEL)
        broken = int((~explanation.maps.isfinite()).flatten(1).any(dim=1).sum())
        if broken:
            raise DataError(
                f"{LABEL}: the gradients of the {role} network are no numbers for {broken} images (NaN or infinity); "
                "try --precision fp32"
            )
        return explanation

    def _top(self, maps: Tensor, dead: Tensor | None, region: Tensor) -> TopPixels:
        size = (self.side, self.side)
        with torch.no_grad():
            found = top_pixels(upsampled(maps, size), region.to(maps.device), self._options.percentile)
        if dead is None:
            return found
        return TopPixels(found.mask & ~dead[:, None, None], found.dead | dead)

    def _answers(self, role: str, batch: CompositeBatch, labels: Tensor, logits: Tensor, top: Tensor) -> list[Answer]:
        """What a network predicts on composite and grey, and, where it is wrong, with pixels filled."""
        best = logits.softmax(dim=1).max(dim=1)
        predicted, probabilities = best.indices.cpu(), best.values.tolist()
        on_grey = self.predict(role, batch.on_grey)[0].tolist()
        wrong = (labels >= 0) & (predicted != labels) & top.flatten(1).any(dim=1) & self._occlude
        again = wrong.nonzero()[:, 0].tolist()
        occluded: dict[int, int] = {}
        random: dict[int, int] = {}
        if again:
            at_random = torch.stack([self.random_mask(batch.composites[row], top[row]) for row in again])
            for answers, mask in ((occluded, top[again]), (random, at_random)):
                found = self.predict(role, self.filled(batch.pixels[again], mask))[0].tolist()
                answers.update(zip(again, found, strict=True))
        return [
            Answer(int(of_row), probabilities[row], on_grey[row], occluded.get(row), random.get(row))
            for row, of_row in enumerate(predicted)
        ]

    def random_mask(self, composite: Composite, top: Tensor) -> Tensor:
        """Give as many pixels of the background as a mask has, from random numbers of the composite's own.

        Args:
            composite: Whose background.
            top: ``(S, S)`` bool.

        Returns:
            ``(S, S)`` bool.
        """
        words = np.random.SeedSequence([self._seed, composite.class_index, composite.number]).generate_state(2)
        generator = torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
        region = background([composite], self.side, self._options.margin)
        return random_top_pixels(top.sum()[None], region, RANDOM_GRID, generator)[0]


def _noise(side: int) -> Tensor:
    """Two pictures in which something happens: on a blank one many a unit of a network is silent."""
    return torch.randint(0, 256, (2, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def _partner(seen: Sequence[Seen], number: int) -> int:
    """The next composite with another source image, else the next."""
    others = [(number + step) % len(seen) for step in range(1, len(seen))]
    own = seen[number].composite.source
    return next((other for other in others if seen[other].composite.source != own), others[0])


def _refuse_no_background(preprocessing: Preprocessing, options: DistractionOptions) -> None:
    """Wherever the overlay lies, something besides it must be left to compare."""
    overlay = overlay_preprocessing(preprocessing, options.overlay_scale).crop
    if overlay + 2 * round(options.margin * preprocessing.crop) >= preprocessing.crop:
        raise UsageError(
            f"an overlay of {options.overlay_scale:g} with a margin of {options.margin:g} on each side may cover a "
            f"picture of {preprocessing.crop} pixels: make --overlay-scale or --margin smaller"
        )


RANDOM_GRID = (7, 7)
"""Random masks are as coarse as attribution maps of most networks at 224 pixels (our choice)."""

"""Is the finetuned network a child of the source, and is the baseline none?

Finetuning moves weights a little; training from another start leaves no resemblance. The cosine between the weights
of the two networks, stage by stage, tells these apart without an image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.models.heads import within
from tlaudit.models.wording import listed
from tlaudit.results import Column, Finding, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor, nn

RELATED = 0.2
"""Cosine above which a stage counts as inherited. Ours; no paper gives one.

Seen on SqueezeNet 1.1: at least 0.9996 in every stage between the ImageNet network and its finetune on dogs-vs-cats,
at most 0.018 in any stage between it and the same network trained from scratch.
"""

_NOISE_SPREADS = 4.0
_COUNTER = "num_batches_tracked"
_AT_ONCE = 1 << 20
"""Weights that are multiplied at once, which bounds the memory."""


@dataclass(frozen=True)
class StageSimilarity:
    """How alike the weights of one stage are.

    Attributes:
        stage: Module path; a parameter that belongs to no stage stands under its own name or its module's.
        weights: How many numbers were compared.
        finetuned: Cosine between source and finetuned network, in [-1, 1]; None where one is all zeros.
        baseline: The same between source and baseline; None without a baseline too.
    """

    stage: str
    weights: int
    finetuned: float | None
    baseline: float | None

    @property
    def threshold(self) -> float:
        """Cosine above which this stage counts as inherited.

        Unrelated weights have cosines of spread ``1/sqrt(weights)`` around 0, which in small stages reaches further
        than `RELATED`.
        """
        return max(RELATED, _NOISE_SPREADS / math.sqrt(self.weights))


@dataclass(frozen=True)
class Lineage:
    """What the weights say about descent.

    Attributes:
        stages: In order of depth.
        finetuned_is_source: Whether the finetuned backbone equals the source's bit by bit, buffers included.
        only_buffers_moved: Whether its parameters do, but not its buffers.
        baseline_is_finetuned: Whether the baseline's backbone equals the finetuned one bit by bit.
        has_baseline: Whether there is one.
    """

    stages: tuple[StageSimilarity, ...]
    finetuned_is_source: bool
    only_buffers_moved: bool
    baseline_is_finetuned: bool
    has_baseline: bool

    def findings(self) -> tuple[Finding, ...]:
        """Say what a reader has to know before believing numbers about this pair."""
        return (*self._of_finetuned(), *self._of_baseline())

    def table(self) -> Table:
        """Give the cosines as a table, one row a stage, in order of depth."""
        columns = (
            Column(name="stage", unit="module path", meaning="Part of the backbone."),
            Column(name="weights", unit="count", meaning="Numbers compared; norms and biases are left out."),
            Column(name="finetuned", unit="cosine", meaning="Source against finetuned network; 1 = same direction."),
            Column(name="baseline", unit="cosine", meaning="Source against baseline; near 0 = no descent."),
            Column(name="absent", unit="text", meaning="Why a cosine is missing."),
        )
        rows = tuple(
            {
                "stage": s.stage,
                "weights": s.weights,
                "finetuned": s.finetuned,
                "baseline": s.baseline,
                "absent": "; ".join(self._absences(s)) or None,
            }
            for s in self.stages
        )
        return Table(title="Lineage", columns=columns, rows=rows, brief=("stage", "finetuned", "baseline"))

    def _absences(self, stage: StageSimilarity) -> Iterator[str]:
        if stage.finetuned is None:
            yield "finetuned: all weights are zero"
        if stage.baseline is None:
            yield "baseline: all weights are zero" if self.has_baseline else "baseline: none given"

    def _judged(self, value: Callable[[StageSimilarity], float | None]) -> tuple[list[str], list[str]]:
        """Split the stages that can be judged into inherited ones and others, as text with the cosine."""
        inherited: list[str] = []
        others: list[str] = []
        for stage in self.stages:
            cosine = value(stage)
            if cosine is not None and stage.threshold < 1:
                (inherited if cosine > stage.threshold else others).append(f"{stage.stage} ({cosine:.2f})")
        return inherited, others

    def _of_finetuned(self) -> Iterator[Finding]:
        if self.finetuned_is_source:
            yield _warning("identical", "the finetuned backbone equals the source's bit by bit: nothing was finetuned")
        elif self.only_buffers_moved:
            yield _warning(
                "only_buffers_moved",
                "the finetuned backbone has exactly the source's weights; only buffers (batch-norm statistics) differ",
            )
        inherited, others = self._judged(lambda stage: stage.finetuned)
        if others and not inherited:
            yield _warning(
                "unrelated",
                "the finetuned network has no similarity to the source, it is no child of it: cosine per stage "
                f"{listed(others, 8)}",
            )
        elif others:
            yield _warning(
                "reinitialised",
                "parts of the finetuned network have no similarity to the source, as after re-initialising them: "
                f"cosine {listed(others, 8)}",
            )

    def _of_baseline(self) -> Iterator[Finding]:
        if self.baseline_is_finetuned:
            yield _warning("baseline_identical", "the baseline's backbone equals the finetuned one: the same network?")
        inherited, _ = self._judged(lambda stage: stage.baseline)
        if inherited:
            yield _warning(
                "baseline_related",
                "the baseline resembles the source, so it was not trained from scratch and is no control: cosine "
                f"{listed(inherited, 8)}",
            )


def trace_lineage(
    source: nn.Module, finetuned: nn.Module, baseline: nn.Module | None, *, stages: Sequence[str], head: str
) -> Lineage:
    """Compare the weights of two or three networks whose backbones match key by key.

    Only parameters with at least two dimensions longer than 1 are compared: norms, biases and scales begin at the
    same constants in every network and would fake a resemblance. Sums are in float64.

    Args:
        source: Network that the finetuned one should descend from.
        finetuned: Network in question.
        baseline: Network that should not descend from the source.
        stages: Module paths in order of depth.
        head: Module path of what is left out.
    """
    similarities = []
    tensors = [dict(m.named_parameters()) if m is not None else {} for m in (source, finetuned, baseline)]
    for stage, names in _groups(source, stages, head).items():
        ours, theirs, control = ([weights[name] for name in names] if weights else [] for weights in tensors)
        similarities.append(
            StageSimilarity(
                stage=stage,
                weights=sum(weight.numel() for weight in ours),
                finetuned=_cosine(ours, theirs),
                baseline=_cosine(ours, control) if control else None,
            )
        )
    same_weights = _equal(tensors[0], tensors[1], head)
    same_buffers = _equal(dict(source.named_buffers()), dict(finetuned.named_buffers()), head)
    return Lineage(
        stages=tuple(similarities),
        finetuned_is_source=same_weights and same_buffers,
        only_buffers_moved=same_weights and not same_buffers,
        baseline_is_finetuned=baseline is not None and _equal(tensors[1], tensors[2], head),
        has_baseline=baseline is not None,
    )


def _groups(module: nn.Module, stages: Sequence[str], head: str) -> dict[str, list[str]]:
    """Sort the weight matrices into stages, in order of depth.

    What lies between two stages of one container (stems, transitions) counts to the one that follows.
    """
    groups: dict[str, list[str]] = {}
    pending: dict[str, list[str]] = {}
    containers = {stage.rpartition(".")[0] for stage in stages} - {""}
    for name, parameter in module.named_parameters():
        if within(name, head) or sum(size > 1 for size in parameter.shape) < 2:
            continue
        stage = next((stage for stage in stages if within(name, stage)), None)
        container = next((path for path in containers if within(name, path)), None)
        if stage is not None:
            before = pending.pop(stage.rpartition(".")[0], [])
            groups.setdefault(stage, []).extend([*before, name])
        elif container is not None:
            pending.setdefault(container, []).append(name)
        else:
            top = name.partition(".")[0]
            groups.setdefault(name if any(within(s, top) for s in stages) else top, []).append(name)
    for container, names in pending.items():
        groups.setdefault(container, []).extend(names)
    return groups


def _cosine(first: Sequence[Tensor], second: Sequence[Tensor]) -> float | None:
    inner = left = right = 0.0
    for x, y in zip(first, second, strict=True):
        ours, theirs = (torch.split(weights.detach().flatten(), _AT_ONCE) for weights in (x, y))
        for one, other in zip(ours, theirs, strict=True):
            # NumPy's sums, because torch's depend in the last digit on the number of threads.
            a, b = one.cpu().double().numpy(), other.cpu().double().numpy()
            inner, left, right = inner + (a * b).sum(), left + (a * a).sum(), right + (b * b).sum()
    if left == 0 or right == 0:
        return None
    return float(max(-1.0, min(1.0, inner / math.sqrt(left * right))))


def _equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor], head: str) -> bool:
    """Compare bit by bit; counters of batches are left out, because old files lack them."""
    return all(
        torch.equal(tensor, second[name])
        for name, tensor in first.items()
        if not within(name, head) and not name.endswith(_COUNTER)
    )


def _warning(code: str, message: str) -> Finding:
    return Finding(code=f"lineage.{code}", severity="warning", message=message)

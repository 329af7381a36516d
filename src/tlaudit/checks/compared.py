"""What several networks make of the same images, stage by stage: how alike, and of how many dimensions.

Definitions: docs/methods.md, "Erosion". One pass; of each batch only Gram matrices and sums are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.cache.entry import Entry
from tlaudit.checks.asking import asked
from tlaudit.checks.followed import Follower, Room
from tlaudit.checks.kept_features import cka_apart, cka_together, spectra_apart, spectra_together
from tlaudit.checks.remembered import Past
from tlaudit.errors import UsageError
from tlaudit.measure.similarity import MINIMUM_IMAGES, CkaAccumulator, CkaParts
from tlaudit.models.heads import within
from tlaudit.models.wording import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal

    from torch import Tensor

    from tlaudit.checks.asking import Network
    from tlaudit.checks.base import Subject
    from tlaudit.checks.followed import Spectrum
    from tlaudit.checks.remembered import Question
    from tlaudit.data.images import ImageSet
    from tlaudit.distributed import Group
    from tlaudit.models.sources import Model
    from tlaudit.results import DataRecord


_PREDICTED = ("source", "finetuned")
"""Networks whose classes are wanted."""


@dataclass(frozen=True)
class Compared:
    """What a pass leaves behind.

    Attributes:
        stages: Module paths in the order in which they end, by role.
        cka: Of ``source`` with each other role.
        reasons: By role and stage, why nothing could be measured at a stage; empty where it could at all.
        without: By role and stage, why there is no spectrum of a stage that could be measured otherwise.
        matrix: CKA of each stage of ``source`` with each of ``finetuned``; NaN where it is not defined.
        spectra: By role and stage; only those that could be measured.
        index: Which items of the set were read, ``(N,)`` int64, in the order of the pass.
        predicted: Class that ``source`` and ``finetuned`` give each image, ``(N,)`` int64; -1 where the logits are NaN.
            What answers for ``finetuned`` may be a hybrid, with the source's head.
        kept: Pooled features ``(N, D)`` float32 of each role's last stage, where they were asked for and have any.
        left_out: Images in minibatches too small for CKA.
        record: Which images were read.
    """

    stages: Mapping[str, tuple[str, ...]]
    cka: Mapping[str, CkaAccumulator]
    reasons: Mapping[str, Mapping[str, str]]
    without: Mapping[str, Mapping[str, str]]
    matrix: Mapping[tuple[str, str], float]
    spectra: Mapping[str, Mapping[str, Spectrum]]
    index: Tensor
    predicted: Mapping[str, Tensor]
    kept: Mapping[str, Tensor]
    left_out: int
    record: DataRecord


def compare(
    subject: Subject,
    images: ImageSet,
    networks: Mapping[str, Network],
    stages: Mapping[str, Sequence[str]],
    *,
    features: Literal["pooled", "flat"] = "pooled",
    keep: bool = False,
    label: str = "images",
    answered: Callable[[Tensor, Mapping[str, Tensor]], None] | None = None,
    known_as: Mapping[str, Network] | None = None,
) -> Compared:
    """Run images through several networks and compare their stages.

    The images come in an order drawn by the subject's seed, ``torch.randperm(N, generator=manual_seed(seed))``, because
    minibatches of a sorted folder show a few classes each; CKA is averaged over minibatches of the batch size.

    Args:
        subject: Whose execution is used.
        images: What the networks see.
        networks: By role; one of them ``source``. One whose role has no stages is asked and not followed.
        stages: Module paths by role, as `chosen_stages` gives them.
        features: Whose spectrum is taken: means over space, or all numbers of a stage.
        keep: Whether the pooled features of the last stages are kept.
        label: Shown beside the progress.
        answered: Called after each batch with the images' numbers ``(N,)`` and the logits ``(N, K)`` by role; the pass
            is made then, whatever is known of an earlier one.
        known_as: Networks with the very features of those that answer for their roles, under which later runs find
            what was found here; where left out, those that answer.

    Raises:
        UsageError: If a network cannot work on images of this size.
        DataError: If no image can be read.
    """
    known_as = networks if known_as is None else known_as
    asks = _Asks(subject, images, known_as, stages, features, label, keep=keep)
    known = asks.recalled() if answered is None else None
    if known is not None:
        return known
    order = subject.mixed(images)
    room = Room(processes=subject.group.size)
    followers = {role: Follower(paths, features, keep=keep, room=room) for role, paths in stages.items()}
    cka = {role: CkaAccumulator(stages["source"], paths) for role, paths in stages.items() if role != "source"}
    index: list[Tensor] = []
    predicted: dict[str, list[Tensor]] = {role: [] for role in networks if role in _PREDICTED}
    too_small: list[int] = []

    def look(batch: Tensor, inputs: dict[str, Tensor]) -> None:
        index.append(batch)
        grams, answers = {}, {}
        for role, network in networks.items():
            with subject.execution.inference(), asked(role, network, label):
                if role in followers:
                    answers[role], grams[role] = followers[role].look(network.module, inputs[role], network.halving)
                else:
                    answers[role] = network.logits(inputs[role])
        for role, classes in predicted.items():
            logits = answers[role]
            classes.append(logits.argmax(dim=1).where(~logits.isnan().any(dim=1), -1).cpu())
        if answered is not None:
            answered(batch, answers)
        if len(batch) < MINIMUM_IMAGES:
            too_small.append(len(index) - 1)
            return
        for role, accumulator in cka.items():
            accumulator.add(grams["source"], grams[role])

    record = subject.predict(images, networks, label, order).show(look)
    place = torch.empty(len(order), dtype=torch.int64)
    place[torch.tensor(order)] = torch.arange(len(order))
    numbers = subject.group.rows(index)
    arranged = place[numbers].argsort()
    starts = torch.tensor([place[one[0]] for at, one in enumerate(index) if at not in too_small], dtype=torch.int64)
    cka = _brought_together(subject.group, stages, starts, cka)
    for follower in followers.values():
        follower.bring_together(subject.group)
    spectra = {role: follower.spectra() for role, follower in followers.items()}
    found = Compared(
        stages={role: follower.order() for role, follower in followers.items()},
        cka=cka,
        reasons={role: follower.reasons() for role, follower in followers.items()},
        without={role: follower.without() for role, follower in followers.items()},
        matrix=_matrix(cka["finetuned"], stages) if "finetuned" in cka else {},
        spectra=spectra,
        index=numbers[arranged],
        predicted={role: subject.group.rows(parts)[arranged] for role, parts in predicted.items()},
        kept={role: kept[arranged] for role, follower in followers.items() if (kept := follower.kept()) is not None},
        left_out=len(numbers) - next(iter(cka.values())).images if cka else 0,
        record=record,
    )
    asks.remember(found)
    return found


def compared_before(
    subject: Subject,
    images: ImageSet,
    networks: Mapping[str, Network],
    stages: Mapping[str, Sequence[str]],
    *,
    features: Literal["pooled", "flat"] = "pooled",
    keep: bool = False,
    label: str = "images",
) -> Compared | None:
    """Give what `compare` would find, if an earlier run has found it; arguments and errors as there."""
    return _Asks(subject, images, networks, stages, features, label, keep=keep).recalled()


class _Asks:
    """A comparison as it is known to earlier and later runs."""

    def __init__(
        self,
        subject: Subject,
        images: ImageSet,
        networks: Mapping[str, Network],
        stages: Mapping[str, Sequence[str]],
        features: Literal["pooled", "flat"],
        label: str,
        *,
        keep: bool,
    ) -> None:
        self._stages, self._label = stages, label
        # A network without stages has no part in what is found, but for the classes it gives.
        asked = {role: network for role, network in networks.items() if role in stages or role in _PREDICTED}
        self._past = Past(subject, images, asked, label, subject.mixed(images))
        self._question: Question | None = self._past.question(
            "features",
            asked,
            roles=list(asked),
            stages=[(role, list(paths)) for role, paths in stages.items()],
            features=features,
            keep=keep,
            # Sums over the images of several processes are added up in another order.
            processes=subject.group.size,
        )

    def recalled(self) -> Compared | None:
        """What an earlier run found."""
        entry = self._past.find({self._label: self._question}).get(self._label)
        if entry is None:
            return None
        tensors, told, stages = entry.tensors, entry.told, self._stages
        cka = {role: cka_together(role, stages["source"], stages[role], tensors) for role in told["cka"]}
        return Compared(
            stages={role: tuple(paths) for role, paths in told["stages"].items()},
            cka=cka,
            reasons=told["reasons"],
            without=told["without"],
            matrix=_matrix(cka["finetuned"], stages) if "finetuned" in cka else {},
            spectra=spectra_together(tensors, told["spectra"]),
            index=tensors["index"],
            predicted={role: tensors[f"predicted.{role}"] for role in told["predicted"]},
            kept={role: tensors[f"kept.{role}"] for role in told["kept"]},
            left_out=told["left_out"],
            record=self._past.record(entry),
        )

    def remember(self, found: Compared) -> None:
        """Leave it to later runs."""
        tensors, spectra = spectra_apart(found.spectra)
        tensors["index"] = found.index
        tensors |= {f"predicted.{role}": classes for role, classes in found.predicted.items()}
        tensors |= {f"kept.{role}": kept for role, kept in found.kept.items()}
        for role, accumulator in found.cka.items():
            tensors |= cka_apart(role, accumulator)
        told = {
            "stages": found.stages,
            "cka": list(found.cka),
            "reasons": found.reasons,
            "without": found.without,
            "spectra": spectra,
            "predicted": list(found.predicted),
            "kept": list(found.kept),
            "left_out": found.left_out,
        }
        self._past.keep([(self._question, Entry(tensors, told))], found.record)


def _brought_together(
    group: Group, stages: Mapping[str, Sequence[str]], starts: Tensor, cka: Mapping[str, CkaAccumulator]
) -> dict[str, CkaAccumulator]:
    """Give the minibatches of all processes, in the order of the pass: resampling depends on it.

    Args:
        group: The processes.
        stages: By role.
        starts: Place in the pass of the first image of each of this process's minibatches.
        cka: This process's, by role.
    """
    order = group.rows([starts]).argsort()
    found = {}
    for role, accumulator in cka.items():
        parts = CkaParts(*(group.rows([part])[order] for part in accumulator.parts()))
        found[role] = CkaAccumulator.of_parts(stages["source"], stages[role], parts)
    return found


def _matrix(cka: CkaAccumulator, stages: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], float]:
    rows = zip(stages["source"], cka.matrix().tolist(), strict=True)
    return {(one, two): value for one, row in rows for two, value in zip(stages["finetuned"], row, strict=True)}


def chosen_stages(
    models: Mapping[str, Model], named: Sequence[str] | None, head: str | None
) -> dict[str, tuple[str, ...]]:
    """Settle which stages of each network are compared.

    Args:
        models: By role.
        named: Module paths asked for; those of each network's family where None.
        head: Module path of the head of all of them, in which there are no stages; None for each network's own.

    Returns:
        Module paths by role, in order of depth. Networks of one architecture have the same ones.

    Raises:
        UsageError: If a name occurs twice, is no module of any of the networks (the nearest names are given), or lies
            in the head, which is not the same in both.
    """
    if named is None:
        return {role: _own_stages(role, model, head) for role, model in models.items()}
    for name in named:
        if list(named).count(name) > 1:
            raise UsageError(f"--stages {name}: named twice")
    paths = {role: [path for path, _ in model.module.named_modules() if path] for role, model in models.items()}
    every = {path: None for of_role in paths.values() for path in of_role}
    for name in named:
        if name not in every:
            raise UsageError(f"--stages {name}: no network has such a module; nearest: {nearest(name, every)}")
        for role, model in models.items():
            if within(name, head or model.head) and name in paths[role]:
                raise UsageError(f"--stages {name}: lies in the head of the {role} network, which has no features")
    chosen = {role: tuple(path for path in of_role if path in named) for role, of_role in paths.items()}
    for role, of_role in chosen.items():
        if not of_role:
            raise UsageError(f"--stages: none of {', '.join(named)} is a module of the {role} network")
    return chosen


def _own_stages(role: str, model: Model, head: str | None) -> tuple[str, ...]:
    stages = tuple(stage for stage in model.stages if not within(stage, head or model.head))
    if not stages:
        raise UsageError(f"no stage of the {role} network is known: name modules with --stages")
    return stages

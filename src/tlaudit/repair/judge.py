"""What networks do before and after a repair, on the same images, classes and composites."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError

from tlaudit.checks.prevalence import shown_classes
from tlaudit.checks.target_task import NO_VALIDATION
from tlaudit.data.images import ImageSet
from tlaudit.errors import UsageError
from tlaudit.measure import prevalence as measure
from tlaudit.models.pair import join
from tlaudit.models.runtime import shared_copy
from tlaudit.options import LingeringOptions
from tlaudit.repair.judge_composites import AXES as COMPOSITE_AXES
from tlaudit.repair.judge_composites import Composites
from tlaudit.repair.judge_source import Known, Probes, last_stage, look, too_many
from tlaudit.repair.judgement import Facts, Glance, Judgement, Sample

if TYPE_CHECKING:
    from torch import Tensor

    from tlaudit.checks.base import Subject
    from tlaudit.models.sources import Model
    from tlaudit.options import RepairOptions
    from tlaudit.records import Cell
    from tlaudit.results import DataRecord

NO_SOURCE = "no source images were given (--source-data)"
NO_TARGET = "no target images were given (--target-data)"
ONE_CLASS = "with one class every prediction is right"
_ADVICE = "give a smaller {} in [lingering] of tlaudit.toml"
_SOURCE_AXES = ("source_top1", "source_probability")


@dataclass(frozen=True, eq=False)
class _Shared:
    """What depends on the source network and the images alone.

    Attributes:
        known: What the source network makes of the source images; None without any.
        stage: Module path of the last stage; None where no features are wanted.
        probe_images: Images of the probes, where these are not the source images.
        probes: The source's probe; None where there is none to be had, for the reason `no_probe`.
        source_only: Source classes the target images do not show, ``(K,)`` bool, or why that cannot be said.
        p_lo: Probability above which a class lingers.
    """

    known: Known | None
    stage: str | None
    probe_images: ImageSet | None
    probes: Probes | None
    no_probe: str
    source_only: Tensor | str
    p_lo: float


class Judge:
    """Judges networks for the target task, one after another, so that they can be compared item by item.

    The networks are read and left as they are. What depends on the source network and the images alone is found out
    once, when the network before the repair is judged; its lingering classes are those that composites are made of.
    """

    def __init__(self, subject: Subject, options: RepairOptions, lingering: LingeringOptions | None = None) -> None:
        """Prepare; no image is read yet.

        Args:
            subject: Source network, images and execution; ``preprocessing["finetuned"]`` is that of all networks that
                are judged. Where `earlier` holds a result of ``lingering``, its k, v_lo and p_lo are used.
            options: Of the repair.
            lingering: What lingering means otherwise; the defaults where left out.

        Raises:
            UsageError: If that earlier result does not say what lingering means.
        """
        self._subject, self._options = subject, options.judge
        self._definitions = _definitions(subject, lingering)
        self._shared: _Shared | None = None
        self._composites: Composites | None = None
        self._records: dict[str, DataRecord] = {}
        self._v_lo: int | None = None

    @property
    def facts(self) -> Facts:
        """What all judged networks share; complete once one was judged.

        Raises:
            RuntimeError: If none was.
        """
        shared = self._begun()
        source: Sample | str = Sample(shared.known.right) if shared.known is not None else NO_SOURCE
        composites = self._composites
        records = self._records | (composites.records if composites is not None else {})
        definitions: dict[str, Cell] = {
            "lingering.k": self._definitions.k,
            "lingering.v_lo_count": self._v_lo,
            "lingering.p_lo": shared.p_lo,
        }
        return Facts(source, records, definitions)

    def before(self, model: Model, name: str = "before") -> Judgement:
        """Judge the network before the repair, and fix what all others are judged on.

        Args:
            model: The network, on any device.
            name: Shown beside the progress.

        Raises:
            UsageError: If it cannot work on these images.
            MismatchError: If its backbone is not the source's.
            DataError: If no image of a set can be read, or a network gives NaN.
        """
        self._shared = self._shared or self._share()
        subject = self._about(model)
        samples, lingering = self._known(subject, name)
        skipped = self._records["source"].skipped if "source" in self._records else ()
        self._composites = Composites(lingering, self._options, {one.file for one in skipped})
        return self._judgement(subject, samples, lingering, name)

    def after(self, model: Model, name: str = "after") -> Judgement:
        """Judge a network after the repair; arguments and errors as of `before`.

        Raises:
            RuntimeError: If no network was judged before.
        """
        self._begun()
        subject = self._about(model)
        samples, lingering = self._known(subject, name)
        return self._judgement(subject, samples, lingering, name)

    def lingering(self, model: Model, name: str = "lingering") -> tuple[int, ...]:
        """Source classes that linger in a network, best recognised first; arguments and errors as of `before`."""
        self._shared = self._shared or self._share()
        return self._known(self._about(model), name)[1]

    def glance(self, model: Model, name: str = "glance") -> Glance:
        """Ask a network about validation and source images only; arguments and errors as of `before`."""
        subject = self._about(model)
        return Glance(self._target(subject, name) | self._source(subject, name)[0])

    def _begun(self) -> _Shared:
        if self._shared is None:
            raise RuntimeError("no network was judged yet: judge the one before the repair first")
        return self._shared

    def _share(self) -> _Shared:
        """Run the source network over source, probe and target images."""
        subject, images = self._subject, self._subject.source.images
        network = subject.network(subject.pair.source.module, "source")
        probe_images, no_probe = self._probe_images()
        stage = last_stage(network, subject.pair.stages, subject) if not no_probe else None
        if not no_probe and stage is None:
            no_probe = "no stage of the source network is known"
        known, features = None, None
        if images.items:
            own_stage = stage if probe_images is None else None
            known = look(
                subject, images, subject.source.labels, network, role="source", label="source images", stage=own_stage
            )
            features = known.features
            self._records["source"] = known.record.model_copy(update={"labels": subject.source.digest()})
        if probe_images is not None and stage is not None:
            seen = look(subject, probe_images, None, network, role="source", label="probe images", stage=stage)
            features = seen.features
            self._records["probe"] = seen.record
        probes = None
        if stage is not None and features is not None:
            probes = Probes(probe_images or images, features, subject.seed)
        return _Shared(known, stage, probe_images, probes, no_probe, *self._source_only())

    def _probe_images(self) -> tuple[ImageSet | None, str]:
        """Images of the probes where they are not the source images; and why there is no probe, if so."""
        subject, named = self._subject, self._options.probe
        if named is not None:
            return ImageSet.scan(named, labelled=True, limit=subject.limit, seed=subject.seed), ""
        return None, too_many(subject.source.images) if subject.source.images.items else NO_SOURCE

    def _source_only(self) -> tuple[Tensor | str, float]:
        """Classes that the target images do not show, and the probability above which they linger."""
        subject, options = self._subject, self._definitions
        total = subject.pair.source.num_classes
        p_lo = measure.default_p_lo(total) if options.p_lo is None else options.p_lo
        if not subject.target.items:
            return NO_TARGET, p_lo
        if options.k > total:
            return f"k = {options.k} exceeds the number of source classes ({total}); {_ADVICE.format('k')}", p_lo
        if p_lo >= 1:
            return f"no probability can exceed p_lo = {p_lo:g}; {_ADVICE.format('p_lo')}", p_lo
        prevalences, self._records["target"] = shown_classes(subject, options.k)
        fraction = 0.001 if options.v_lo is None else options.v_lo
        self._v_lo = options.v_lo_count
        if self._v_lo is None:
            self._v_lo = measure.default_v_lo(self._records["target"].images, fraction)
        return measure.source_only(prevalences, self._v_lo), p_lo

    def _about(self, model: Model) -> Subject:
        """The subject with that network in the finetuned one's place, and no baseline."""
        subject = self._subject
        own = replace(model, module=shared_copy(model.module).cpu().eval())
        preprocessing = {role: subject.preprocessing[role] for role in ("source", "finetuned")}
        return replace(subject, pair=join(subject.pair.source, own), preprocessing=preprocessing)

    def _known(self, subject: Subject, name: str) -> tuple[dict[str, Sample | str], tuple[int, ...]]:
        """All but the composites, and the classes that linger, best recognised first."""
        shared = self._begun()
        samples = self._target(subject, name)
        source, known = self._source(subject, name, shared.stage if shared.probe_images is None else None)
        samples |= source
        samples["delta_lp"] = self._probed(subject, known, name)
        samples["lingering"], lingering = self._lingering(known)
        return samples, lingering

    def _target(self, subject: Subject, name: str) -> dict[str, Sample | str]:
        """Answers about validation images."""
        data, model = subject.val, subject.pair.finetuned
        if data is None or not data.images.items:
            return {"target_accuracy": NO_VALIDATION}
        network = subject.network(model.module, "finetuned")
        label = f"{name}: validation images"
        found = look(subject, data.images, data.labels, network, role="finetuned", label=label)
        self._records["val"] = found.record.model_copy(update={"labels": data.digest()})
        return {"target_accuracy": Sample(found.right) if model.num_classes > 1 else ONE_CLASS}

    def _source(
        self, subject: Subject, name: str, stage: str | None = None
    ) -> tuple[dict[str, Sample | str], Known | None]:
        """Answers about source images through the hybrid."""
        if not subject.source.images.items:
            return dict.fromkeys(_SOURCE_AXES, NO_SOURCE), None
        network = subject.network(subject.pair.hybrid(), "finetuned")
        images, labels, label = subject.source.images, subject.source.labels, f"{name}: source images"
        known = look(subject, images, labels, network, role="hybrid", label=label, stage=stage)
        return {"source_top1": Sample(known.right), "source_probability": Sample(known.own)}, known

    def _probed(self, subject: Subject, known: Known | None, name: str) -> Sample | str:
        shared = self._begun()
        if shared.probes is None:
            return shared.no_probe
        if shared.probe_images is None and known is not None:
            return shared.probes.change(known.features)
        images = shared.probe_images or subject.source.images
        network = subject.network(subject.pair.hybrid(), "finetuned")
        label = f"{name}: probe images"
        seen = look(subject, images, None, network, role="hybrid", label=label, stage=shared.stage)
        return shared.probes.change(seen.features)

    def _lingering(self, known: Known | None) -> tuple[Sample | str, tuple[int, ...]]:
        """Which tested classes linger, ``(K,)``, NaN for the others; and those that do, best recognised first."""
        shared = self._begun()
        if known is None or isinstance(shared.source_only, str):
            return (shared.source_only if isinstance(shared.source_only, str) else NO_SOURCE), ()
        read = ~known.own.isnan()
        labels = self._subject.source.labels[read]
        means, counts = measure.class_means(known.own[read], labels, len(shared.source_only))
        tested = shared.source_only & (counts > 0)
        if not tested.any():
            return "no source-only class has images in the source data", ()
        lingers = measure.lingering(shared.source_only, means, shared.p_lo)
        ranked = means.where(lingers, -1).argsort(descending=True, stable=True)
        values = lingers.double().masked_fill(~tested, torch.nan)
        return Sample(values), tuple(ranked[: int(lingers.sum())].tolist())

    def _judgement(
        self, subject: Subject, samples: dict[str, Sample | str], lingering: tuple[int, ...], name: str
    ) -> Judgement:
        """Add what the composites say."""
        if self._composites is None:
            raise RuntimeError("no network was judged yet: judge the one before the repair first")
        if isinstance(samples["lingering"], str):
            return Judgement(samples | dict.fromkeys(COMPOSITE_AXES, samples["lingering"]), lingering)
        return Judgement(samples | dict(self._composites.ask(subject, name)), lingering)


def _definitions(subject: Subject, lingering: LingeringOptions | None) -> LingeringOptions:
    """What lingering means: as an earlier result had it, else as asked for."""
    earlier = subject.earlier.get("lingering")
    if earlier is None:
        return lingering or LingeringOptions()
    then = earlier.provenance.options
    try:
        return LingeringOptions.model_validate({key: then[key] for key in ("k", "v_lo_count", "p_lo")})
    except (KeyError, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"the result of tlaudit lingering does not say what lingering means: {reason}") from None

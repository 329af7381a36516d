"""A source network, its finetuned child and, where there is one, the baseline trained from scratch."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tlaudit.errors import CheckpointError, MismatchError, NoAveragedWeightsError
from tlaudit.models.heads import refuse_wrong_head, widest, within
from tlaudit.models.lineage import Lineage, trace_lineage
from tlaudit.models.sources import Model, is_published, load_model
from tlaudit.models.wording import listed, shown
from tlaudit.results import Finding, KeyMatch

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from tlaudit.models.construction import Shape


@dataclass(frozen=True, eq=False)
class Pair:
    """Networks whose backbones match key by key and shape by shape.

    Attributes:
        source: Pretrained network M^s.
        finetuned: Its child M^t.
        baseline: M^b, same architecture, trained on the target data from scratch.
        head: Module path of the head of all of them, the widest of theirs.
        backbone: How many tensors of the backbones matched.
        lineage: Cosines per stage.
        findings: What a reader has to know before believing numbers about this pair.
        baseline_left_out: Why a baseline that was given is none of the pair; None where it is, or none was given.
    """

    source: Model
    finetuned: Model
    baseline: Model | None
    head: str
    backbone: KeyMatch
    lineage: Lineage
    findings: tuple[Finding, ...]
    baseline_left_out: str | None = None

    @property
    def stages(self) -> tuple[str, ...]:
        """Module paths in order of depth, outside the head of the pair."""
        return tuple(stage for stage in self.source.stages if not within(stage, self.head))

    @property
    def alike(self) -> bool:
        """Whether the backbones match, so that there are hybrids, and stages of one name are the same stage."""
        return self.backbone.matched > 0

    def hybrid(self) -> nn.Module:
        """Give M^st: the finetuned backbone under the source's head."""
        return hybrid(self.finetuned, self.source, self.head)

    def control_hybrid(self) -> nn.Module | None:
        """Give M^sb: the baseline's backbone under the source's head, or None without a baseline."""
        return hybrid(self.baseline, self.source, self.head) if self.baseline is not None else None


def load_pair(
    source: str | os.PathLike[str],
    finetuned: str | os.PathLike[str],
    baseline: str | os.PathLike[str] | None = None,
    *,
    arch: str | None = None,
    source_arch: str | None = None,
    baseline_arch: str | None = None,
    head: str | None = None,
    use_ema: bool = False,
    allow_pickle: bool = False,
    alike: bool = True,
) -> Pair:
    """Load the networks of an audit and make sure that they belong together.

    Args:
        source: File, ``torchvision:NAME[:WEIGHTS]`` or ``timm:NAME`` of the pretrained network.
        finetuned: The same of its child. If nothing else tells its architecture, it is the source's.
        baseline: The same of the network trained from scratch.
        arch: Architecture of the finetuned network, and of the other files unless they are given their own.
        source_arch: Architecture of the source.
        baseline_arch: Architecture of the baseline.
        head: Module path of the classification head of all of them.
        use_ema: Take averaged weights: of the finetuned network, which must have them, and of the others if they do.
        allow_pickle: Run code that the files may contain.
        alike: Whether the backbones have to match; networks of two architectures make a pair without hybrids.

    Returns:
        The pair, with findings about its lineage.

    Raises:
        UsageError: If a name, path or option cannot be what was meant.
        MismatchError: If the backbones have to match, and do not, key by key and shape by shape.
        CheckpointError: If a network cannot be loaded, or has weights that are NaN or infinite; they are named.
    """

    def load(spec: str | os.PathLike[str], own: str | None, like: Model | None, *, ema: bool) -> Model:
        named = own or (None if is_published(spec) else arch)
        try:
            model = load_model(spec, arch=named, head=head, use_ema=ema, allow_pickle=allow_pickle, like=like)
        except NoAveragedWeightsError:
            if spec is finetuned:
                raise
            model = load_model(spec, arch=named, head=head, allow_pickle=allow_pickle, like=like)
        _refuse_non_finite(model)
        return model

    parent = load(source, source_arch, None, ema=use_ema and not is_published(source))
    child = load(finetuned, None, parent, ema=use_ema)
    control = load(baseline, baseline_arch, parent, ema=use_ema) if baseline is not None else None
    return join(parent, child, control, alike=alike)


def join(source: Model, finetuned: Model, baseline: Model | None = None, *, alike: bool = True) -> Pair:
    """Make a pair of loaded models.

    Raises:
        MismatchError: If the backbones have to be alike, and do not match key by key and shape by shape.
    """
    apart: tuple[Finding, ...] = ()
    left_out: str | None = None
    if not alike:
        reason = _difference(source, finetuned)
        if reason is not None:
            return _apart(source, finetuned, baseline, reason)
        reason = _difference(source, baseline) if baseline is not None else None
        if reason is not None:
            baseline, left_out, apart = None, reason, (_other_backbone(f"the baseline is left out: {reason}"),)
    others = [model for model in (finetuned, baseline) if model is not None]
    head = widest([source.head, *(model.head for model in others)])
    matches = [_match_backbones(source, model, head) for model in others]
    lineage = trace_lineage(
        source.module,
        finetuned.module,
        baseline.module if baseline is not None else None,
        stages=[stage for stage in source.stages if not within(stage, head)],
        head=head,
    )
    findings = (*apart, *lineage.findings(), *(f for model in others for f in _architectures_differ(source, model)))
    return Pair(source, finetuned, baseline, head, matches[0], lineage, findings, left_out)


def _apart(source: Model, finetuned: Model, baseline: Model | None, reason: str) -> Pair:
    """Make a pair of networks with different backbones: their features can be compared, and nothing else."""
    matched = KeyMatch(matched=0, missing=tuple(_backbone(source.module, source.head)))
    return Pair(
        source,
        finetuned,
        baseline,
        source.head,
        matched,
        Lineage(
            (),
            finetuned_is_source=False,
            only_buffers_moved=False,
            baseline_is_finetuned=False,
            has_baseline=baseline is not None,
        ),
        (_other_backbone(reason),),
    )


def _difference(source: Model, other: Model) -> str | None:
    """Why the backbones do not match, or None if they do."""
    try:
        head = widest([source.head, other.head])
    except MismatchError:
        # That one module may hold both heads is no help where nothing else is alike either.
        return (
            f"the backbones of {_named(source)} and {_named(other)} "
            f"do not match: their heads are {source.head} and {other.head}"
        )
    try:
        _match_backbones(source, other, head)
    except MismatchError as error:
        return str(error)
    return None


def _other_backbone(reason: str) -> Finding:
    return Finding(code="lineage.other_backbone", severity="warning", message=f"{reason[:1].upper()}{reason[1:]}.")


def hybrid(finetuned: Model, source: Model, head: str | None = None) -> nn.Module:
    """Give M^st = B(M^t) + H(M^s): how the finetuned features look to the source's head.

    The forward pass is the source's; all parameters and buffers outside the head, batch-norm statistics included, are
    the finetuned network's.

    Args:
        finetuned: Network that gives the backbone.
        source: Network that gives the head and the forward pass.
        head: Module path of the head; the wider of the two networks' where left out.

    Returns:
        A new network that shares memory with both. Neither is changed, also when the new one is moved elsewhere.

    Raises:
        UsageError: If `head` is no module of the source, or leaves out what decides on the classes.
        MismatchError: If the backbones do not match key by key and shape by shape.
    """
    head = head or widest([source.head, finetuned.head])
    refuse_wrong_head(source.module, head, (source.head, finetuned.head), source.architecture)
    _match_backbones(source, finetuned, head)
    theirs = dict(_tensors(finetuned.module))
    replacements: dict[int, object] = {}
    for name, ours in _tensors(source.module):
        tensor = ours if within(name, head) else theirs.get(name, ours)
        # Another object on the same memory: moving the hybrid to a device must not move the models' own tensors.
        shared = tensor.detach()
        replacements.setdefault(id(ours), nn.Parameter(shared, False) if isinstance(ours, nn.Parameter) else shared)
    # deepcopy asks its memo first, so every tensor it meets becomes the replacement, and only the skeleton is copied.
    return copy.deepcopy(source.module, replacements)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Give all parameters and buffers, those too that are in no state dict."""
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _match_backbones(source: Model, other: Model, head: str) -> KeyMatch:
    """Compare key by key and shape by shape what lies outside the head."""
    ours, theirs = _backbone(source.module, head), _backbone(other.module, head)
    missing = tuple(key for key in ours if key not in theirs)
    unexpected = tuple(key for key in theirs if key not in ours)
    misshaped = [f"{key} {ours[key]} and {theirs[key]}" for key in ours if key in theirs and ours[key] != theirs[key]]
    matched = len(ours) - len(missing) - len(misshaped)
    if missing or unexpected or misshaped:
        raise MismatchError(
            f"the backbones of {_named(source)} and {_named(other)} "
            f"do not match: {matched} tensors match, {len(missing)} only in the first "
            f"({listed(missing, 3)}), {len(unexpected)} only in the second ({listed(unexpected, 3)}), "
            f"{len(misshaped)} of different shape ({listed(misshaped, 3)}). Both must be of one architecture"
        )
    return KeyMatch(matched=matched)


def _backbone(module: nn.Module, head: str) -> dict[str, Shape]:
    return {
        key: tuple(tensor.shape)
        for key, tensor in module.state_dict().items()
        if isinstance(tensor, Tensor) and not within(key, head)
    }


def _refuse_non_finite(model: Model) -> None:
    if model.record.non_finite:
        raise CheckpointError(
            f"{shown(model.record.spec, None)}: {len(model.record.non_finite)} tensors hold NaN or infinity: "
            f"{listed(model.record.non_finite)}; the training diverged, or the file is damaged"
        )


def _architectures_differ(source: Model, other: Model) -> Iterator[Finding]:
    if source.architecture != other.architecture:
        yield Finding(
            code="lineage.architectures_differ",
            severity="warning",
            message=(
                f"{shown(other.record.spec, None)} was read as {other.architecture}, the source as "
                f"{source.architecture}: keys and shapes agree, the forward passes may not. Say which with --arch"
            ),
        )


def _named(model: Model) -> str:
    return f"{shown(model.record.spec, None)} ({shown(model.architecture)})"

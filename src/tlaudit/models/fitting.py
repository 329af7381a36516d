"""A checkpoint held against an architecture, key by key and shape by shape; nothing is ever loaded in part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tlaudit.errors import ArchitectureError, CheckpointError
from tlaudit.models.blueprint import TEMPLATE_CLASSES, Blueprint
from tlaudit.models.heads import HeadPlan, build_head, plan_head, within
from tlaudit.models.wording import listed, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from tlaudit.models.construction import Shape
    from tlaudit.models.unwrap import Reading

_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, eq=False)
class Fit:
    """How well a checkpoint fits an architecture.

    Attributes:
        blueprint: The architecture.
        head: Module path of the classification head.
        state: The checkpoint's tensors under the architecture's keys, without auxiliary heads.
        matched: How many tensors agree in key and shape.
        missing: Keys of the architecture that the checkpoint lacks.
        unexpected: Keys of the checkpoint that the architecture lacks.
        misshaped: Keys in both with different shapes, each with the two shapes.
        counters: Missing counters of batches, which no forward pass in eval mode reads.
        ignored: What was found beside the network, auxiliary heads included.
        num_classes: Outputs; None where the head does not fit.
        plan: How the head is built again where it is not the architecture's own.
        head_problem: Why the head does not fit.
        renamed: How many keys were those of an older official file.
    """

    blueprint: Blueprint
    head: str
    state: Mapping[str, Tensor]
    matched: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]
    counters: tuple[str, ...]
    ignored: tuple[str, ...]
    num_classes: int | None
    plan: HeadPlan | None
    head_problem: str | None
    renamed: int

    @property
    def is_exact(self) -> bool:
        """Whether every tensor has its place and every place its tensor."""
        return not (self.missing or self.unexpected or self.misshaped or self.head_problem)

    @property
    def share(self) -> float:
        """Matched tensors among all that either side has, in [0, 1]."""
        return self.matched / max(1, self.matched + len(self.missing) + len(self.unexpected) + len(self.misshaped))

    def differences(self, limit: int = 3) -> str:
        """Say in one line how many tensors match and which first few do not."""
        parts = [f"{self.matched} tensors match"]
        for label, names in (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", self.misshaped),
        ):
            if names:
                parts.append(f"{len(names)} {label} ({listed(names, limit)})")
        if self.head_problem:
            parts.append(f"the head does not fit: {self.head_problem}")
        return ", ".join(parts)


def fit(reading: Reading, blueprint: Blueprint) -> Fit:
    """Hold a checkpoint against an architecture.

    Each place where the head may be is tried, the narrowest first; there, and only there, tensors may differ from the
    architecture's own.

    Returns:
        The first exact fit, else the one with the fewest differences.
    """
    state = {blueprint.renamed(key): tensor for key, tensor in reading.state.items()}
    renamed = sum(key not in state for key in reading.state)
    auxiliary = tuple(key for key in state if blueprint.is_auxiliary(key))
    state = {key: tensor for key, tensor in state.items() if key not in auxiliary}
    best: Fit | None = None
    for head in blueprint.heads:
        found = _fit_with_head(state, blueprint, head, (*reading.ignored, *auxiliary), renamed)
        if found.is_exact:
            return found
        if best is None or found.share > best.share:
            best = found
    if best is None:
        raise ArchitectureError(f"{blueprint.name} has no classification head; give --head")
    return best


def _fit_with_head(
    state: Mapping[str, Tensor], blueprint: Blueprint, head: str, ignored: tuple[str, ...], renamed: int
) -> Fit:
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    theirs = {key: shape for key, shape in shapes.items() if not within(key, head)}
    ours = {key: shape for key, shape in blueprint.template.items() if not within(key, head)}
    absent = [key for key in ours if key not in theirs]
    counters = tuple(key for key in absent if key.endswith(_COUNTER))
    misshaped = tuple(
        f"{key}: {theirs[key]} in the file, {shape} in {blueprint.name}"
        for key, shape in ours.items()
        if key in theirs and theirs[key] != shape
    )
    matched = len(ours) - len(absent) - len(misshaped)
    num_classes, plan, problem = _fit_head(head, shapes, blueprint.template)
    if problem is None:
        matched += len(shapes) - len(theirs)
    return Fit(
        blueprint=blueprint,
        head=head,
        state=state,
        matched=matched,
        missing=tuple(key for key in absent if key not in counters),
        unexpected=tuple(key for key in theirs if key not in ours),
        misshaped=misshaped,
        counters=counters,
        ignored=ignored,
        num_classes=num_classes,
        plan=plan,
        head_problem=problem,
        renamed=renamed,
    )


def _fit_head(
    head: str, shapes: Mapping[str, Shape], template: Mapping[str, Shape]
) -> tuple[int | None, HeadPlan | None, str | None]:
    """Give the number of classes, a plan where the head grew, and what is wrong where it does not fit."""
    theirs = {key: shape for key, shape in shapes.items() if within(key, head)}
    ours = {key: shape for key, shape in template.items() if within(key, head)}
    classes = _classes_of_standard_head(theirs, ours)
    if classes is not None:
        return classes, None, None
    weights = [shape for shape in ours.values() if len(shape) >= 2]
    if not weights:
        return None, None, f"{head} has no weights of its own in the architecture"
    relative = {key.removeprefix(f"{head}."): shape for key, shape in theirs.items()}
    try:
        plan = plan_head(head, relative, weights[0])
    except ArchitectureError as error:
        return None, None, str(error)
    return plan.num_classes, plan, None


def _classes_of_standard_head(theirs: Mapping[str, Shape], ours: Mapping[str, Shape]) -> int | None:
    """Give the number of classes if the head is the architecture's own, else None."""
    if not ours or theirs.keys() != ours.keys():
        return None
    follows: set[int] = set()
    for key, expected in ours.items():
        if len(theirs[key]) != len(expected):
            return None
        for size, wanted in zip(theirs[key], expected, strict=True):
            if wanted == TEMPLATE_CLASSES:
                follows.add(size)
            elif size != wanted:
                return None
    if not follows:
        # A network whose template is the network itself: the last matrix has a row for each class.
        return next((shape[0] for shape in reversed(list(theirs.values())) if len(shape) >= 2), None)
    return follows.pop() if len(follows) == 1 else None


def realise(fitting: Fit, file: str) -> tuple[nn.Module, tuple[str, ...]]:
    """Build the network of an exact fit and give it the checkpoint's weights.

    Args:
        fitting: An exact fit.
        file: Name of the checkpoint, for messages.

    Returns:
        The network on the CPU, in eval mode, without gradients, floating-point tensors as float32; and notes.

    Raises:
        CheckpointError: If a tensor is of integers where the network has floating-point numbers, or the other way
            round.
    """
    blueprint, notes = fitting.blueprint, []
    module = blueprint.build(fitting.num_classes or 0).float()
    if fitting.plan is not None:
        head, note = build_head(fitting.plan, module.get_submodule(fitting.head))
        module.set_submodule(fitting.head, head)
        notes.append(note)
    contents = module.state_dict()
    taken: set[int] = set()
    for key, tensor in fitting.state.items():
        place = contents.get(key)
        if not isinstance(place, torch.Tensor) or place.shape != tensor.shape:
            raise CheckpointError(
                f"{file}: {shown(key)} {tuple(tensor.shape)} has no place in {shown(blueprint.name)}; give --arch"
            )
        if tensor.is_floating_point() != place.is_floating_point():
            raise CheckpointError(f"{file}: {shown(key)} holds {tensor.dtype}, expected {place.dtype}")
        contents[key] = _of_its_own(tensor, taken)
    # What has memory is filled, so that tied weights stay tied; what has none takes the tensors themselves.
    module.load_state_dict(contents, strict=True, assign=blueprint.builds_outline)
    left = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    if left:
        raise CheckpointError(f"{file}: {shown(blueprint.name)} was built without values for {listed(left)}")
    return module.requires_grad_(False).eval(), tuple(notes)


def _of_its_own(tensor: Tensor, taken: set[int]) -> Tensor:
    """Give a tensor as float32, in memory that it shares neither with another one nor with itself.

    Files may say otherwise, and a training would then move two weights at once.

    Args:
        tensor: From the file.
        taken: Where the memory of the tensors before it begins; this one's is added.
    """
    place = tensor.untyped_storage().data_ptr()
    if place in taken or not tensor.is_contiguous():
        tensor = tensor.clone(memory_format=torch.contiguous_format)
    taken.add(place)
    return tensor.float() if tensor.is_floating_point() else tensor


def non_finite(module: nn.Module) -> tuple[str, ...]:
    """Name the tensors of a network that hold NaN or infinity."""
    return tuple(
        name
        for name, tensor in module.state_dict().items()
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and not _is_finite(tensor)
    )


def _is_finite(tensor: Tensor) -> bool:
    # The extremes carry NaN and infinity, in one pass and without a mask as large as the tensor.
    return tensor.numel() == 0 or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())

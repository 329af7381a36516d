"""The training loop: a copy of a network learns from labelled images, one step at a time.

What a step does depends on the weights, the optimiser's state, the seed and the number of the step, on nothing else:
`Training` holds all of it. Random numbers of a step (dropout and the like) are drawn anew from seed and step, the order
of the images from seed and epoch. So a training can be stopped after any step and go on from its state.
"""

from __future__ import annotations

import contextlib
import copy
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tlaudit.data.augmentation import Augmentation
from tlaudit.distributed import ALONE
from tlaudit.errors import DivergedError
from tlaudit.models.halving import enough_memory
from tlaudit.training import together
from tlaudit.training.course import Course
from tlaudit.training.objective import CrossEntropy, Inputs
from tlaudit.training.optimizers import batch_norms, open_parameters, optimizer_of, refuse_single_images
from tlaudit.training.randomness import seeded
from tlaudit.training.schedule import learning_rate
from tlaudit.training.sharing import add_gradients, shared, told_by_first
from tlaudit.training.steps import Epoch, Step, Trained
from tlaudit.training.weights import put_back, snapshot, tensors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor

    from tlaudit.data.training import TrainingBatch, TrainingImages
    from tlaudit.distributed import Group
    from tlaudit.models.preprocess import Normalizer
    from tlaudit.models.runtime import Execution
    from tlaudit.options import TrainingOptions
    from tlaudit.progress import Progress
    from tlaudit.training.course import Keep
    from tlaudit.training.objective import Objective
    from tlaudit.training.state import SavedState
    from tlaudit.training.steps import StepFile

_SMALLER_STEPS = "give a smaller --train-batch-size"

__all__ = ["Epoch", "Step", "Trained", "Training", "refuse_single_images", "train"]


class Training:
    """A training under way: network, optimiser, how far it is.

    Attributes:
        network: The copy that learns.
        optimizer: Its optimiser.
        scaler: Of the loss, where the precision is fp16 on CUDA; it does nothing elsewhere.
        steps: How many steps there will be, if it does not end early.
        group: The processes that train together.
    """

    def __init__(
        self,
        network: nn.Module,
        data: TrainingImages,
        options: TrainingOptions,
        *,
        execution: Execution,
        normalizer: Normalizer,
        seed: int,
        objective: Objective | None = None,
        group: Group = ALONE,
    ) -> None:
        """Copy a network and make ready; nothing is learnt yet.

        Args:
            network: Where the training begins; it is copied and stays as it is.
            data: What is learnt.
            options: How.
            execution: Device and precision.
            normalizer: Turns pixels into inputs, on that device.
            seed: Of order, mirroring and dropout.
            objective: What is minimised; `CrossEntropy` where left out.
            group: The processes that train together, each with its part of every batch; all have to make a training
                of the same arguments.

        Raises:
            UsageError: As of `refuse_single_images` and `together.refuse_statistics_of_parts`.
        """
        self._data, self._options, self._execution = data, options, execution
        self._normalizer, self._seed, self._objective = normalizer, seed, objective or CrossEntropy()
        self.group = group
        together.refuse_statistics_of_parts(network, group)
        copied = copy.deepcopy(network).to(execution.device)
        self._plain: nn.Module = copied.to(memory_format=torch.channels_last)
        self.network = together.prepared(self._plain, group) if group.size > 1 else self._plain
        self._frozen = batch_norms(self.network)
        if options.batch_norm == "train":
            refuse_single_images(self.network, len(data), options)
            self._frozen = []
        self._parameters = open_parameters(self.network, self._frozen, self._objective)
        self._objective.begin(self.network)
        self.optimizer = optimizer_of(self._parameters, options)
        scaled = execution.precision == "fp16" and execution.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(execution.device.type, enabled=scaled)
        self._sizes = data.sizes(options.batch_size)
        self.steps = options.epochs * len(self._sizes)
        self._course, self._kept = Course(), dict[str, torch.Tensor]()

    @property
    def step(self) -> int:
        """How many steps were made."""
        return self._course.step

    @property
    def images(self) -> int:
        """How many images all steps together see."""
        return self._options.epochs * len(self._data)

    @property
    def left(self) -> int:
        """How many images are still to be seen, if the training does not end early."""
        epochs, steps = divmod(self.step, len(self._sizes))
        return 0 if self._course.stopped else self.images - epochs * len(self._data) - sum(self._sizes[:steps])

    @property
    def is_at_end_of_epoch(self) -> bool:
        """Whether the last step that was made is the last one of its epoch."""
        return self.step % len(self._sizes) == 0

    def run(
        self,
        on_epoch: Callable[[int, nn.Module], None] | None = None,
        *,
        validate: Callable[[nn.Module], float] | None = None,
        keep: Keep = "best",
        patience: int = 0,
    ) -> Iterator[Step]:
        """Train to the end, a step at a time, from where it is.

        Between two steps the network is in eval mode, so that it may be asked and saved.

        Args:
            on_epoch: Called after each epoch with its number from 0 and the network.
            validate: Gives the accuracy of the network after an epoch; with several processes rank zero's counts.
            keep: Which epoch's weights `finish` gives: those with the highest accuracy, the earliest of equals, or the
                last. Without `validate` it is the last.
            patience: End after so many epochs without a higher accuracy than ever before; 0 for never.

        Yields:
            What each step did.

        Raises:
            UsageError: If the network gives no logits in training mode.
            DivergedError: If the loss or a weight is no finite number any more.
            DataError: If an image can no longer be read, memory is too short for a step, or another process has ended.
        """
        options, course = self._options, self._course
        for epoch in range(len(course.history), options.epochs):
            if course.stopped:
                return
            for batch in self._data.epoch(
                epoch,
                seed=self._seed,
                batch_size=options.batch_size,
                flip=options.flip,
                augmentation=Augmentation(options.crop_scale, options.jitter),
                skip=course.step - epoch * len(self._sizes),
                part=self.group.part,
            ):
                with enough_memory(f"a training step with {len(batch.index)} images", _SMALLER_STEPS):
                    step = self._learn(batch, epoch)
                yield step
            self._conclude(epoch, validate, keep, patience)
            if on_epoch is not None:
                on_epoch(epoch, self.network)

    def _rate(self, step: int) -> float:
        options = self._options
        return learning_rate(step, self.steps, peak=options.learning_rate, warmup=options.warmup)

    def _learn(self, batch: TrainingBatch, epoch: int) -> Step:
        """Make one step."""
        device = self._execution.device
        rate, total = self._rate(self.step), self._sizes[self.step % len(self._sizes)]
        for settings in self.optimizer.param_groups:
            settings["lr"] = rate
        self.network.train()
        for module in self._frozen:
            module.eval()
        with (
            seeded(device, self._seed, self.step),
            self._execution.attribution(),
            torch.enable_grad(),
            shared(self.network, self.group, batch.places, total) as (part, weight),
        ):
            inputs = Inputs(self.step, batch.index, self._normalizer(batch.pixels), batch.labels.to(device), part)
            terms = self._objective(self.network, inputs)
            loss = torch.stack(list(terms.values())).sum() * weight
            values = torch.stack([term.detach() for term in terms.values()]) * weight
            self.group.sum_([values])
            losses = dict(zip(terms, values.tolist(), strict=True))
            if not all(math.isfinite(value) for value in losses.values()):
                raise self._diverged("the loss", epoch, self.step)
            norm = self._descend(loss)
        self.network.eval()
        with torch.no_grad():
            self._objective.settle(self.network)
        step = Step(self.step, epoch, total, rate, losses, self._options.epochs, norm if math.isfinite(norm) else None)
        self._course.add(losses, total)
        return step

    def _descend(self, loss: Tensor) -> float:
        """Follow the gradient of the loss, in the precision the forward pass chose; give its norm before clipping."""
        with torch.autocast(self._execution.device.type, enabled=False):
            self.optimizer.zero_grad()
            torch.autograd.backward(self.scaler.scale(loss))
            add_gradients(self._parameters, self.group)
            self.scaler.unscale_(self.optimizer)
            if self._options.clip:
                norm = nn.utils.clip_grad_norm_(self._parameters, self._options.clip)
            else:
                norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return float(norm)

    def _conclude(self, epoch: int, validate: Callable[[nn.Module], float] | None, keep: Keep, patience: int) -> None:
        """End an epoch: sum it up, ask the network, keep it if it is to be kept."""
        if not self._is_finite():
            raise self._diverged("a weight", epoch, self.step - 1)
        accuracy = None
        if validate is not None:
            with torch.no_grad():
                accuracy = told_by_first(self.group, lambda: validate(self.network))
        if self._course.conclude(self._rate(self.step - 1), accuracy, keep, patience):
            self._kept = snapshot(self.network)

    def _is_finite(self) -> bool:
        """Whether all that was learnt is finite: weights, and statistics of batch norms."""
        norms = [] if self._frozen else batch_norms(self.network)
        statistics = [t for norm in norms for t in (norm.running_mean, norm.running_var) if t is not None]
        return all(bool(tensor.isfinite().all()) for tensor in [*self._parameters, *statistics])

    def _diverged(self, what: str, epoch: int, step: int) -> DivergedError:
        kept = self._course.kept
        return DivergedError(
            f"the training diverged: {what} is no finite number in epoch {epoch + 1}, step {step + 1}, at "
            f"learning rate {self._rate(step):.3g}; give a lower --learning-rate"
            + (f"; the network of epoch {kept + 1} is kept" if kept is not None else ""),
            self._trained(kept) if kept is not None else None,
        )

    def state(self) -> dict[str, Any]:
        """Give all that the rest of the training depends on, beside the arguments it was made with.

        Returns:
            Tensors, numbers, texts, lists and dicts. Tensors are the training's own: save them before the next step.
        """
        return {
            "tensors": tensors_of(self.network),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "course": self._course.state(),
            "kept": self._kept,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: Of a training that was made with the same arguments; tensors on any device.

        Raises:
            CheckpointError: If tensors are missing or have other shapes.
        """
        put_back(self.network, state["tensors"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self._course, self._kept = Course.of(state["course"]), dict(state["kept"])

    def finish(self) -> Trained:
        """Give the trained network: that of the epoch which is kept.

        Raises:
            RuntimeError: If the last step has not been made.
        """
        course = self._course
        if course.kept is None or not (course.stopped or len(course.history) == self._options.epochs):
            raise RuntimeError(f"{self.step} of {self.steps} steps were made: run the training to its end first")
        return self._trained(course.kept)

    def _trained(self, kept: int) -> Trained:
        self.optimizer.zero_grad()
        put_back(self._plain, self._kept)
        network = self._plain.eval().requires_grad_(requires_grad=False)
        return Trained(network, tuple(self._course.history), kept, self._course.stopped)


def train(
    network: nn.Module,
    data: TrainingImages,
    options: TrainingOptions,
    *,
    execution: Execution,
    normalizer: Normalizer,
    seed: int,
    objective: Objective | None = None,
    progress: Progress | None = None,
    label: str = "training",
    on_epoch: Callable[[int, nn.Module], None] | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    keep: Keep = "best",
    patience: int = 0,
    saved: SavedState | None = None,
    resume: bool = False,
    step_file: StepFile | None = None,
    group: Group = ALONE,
) -> Trained:
    """Train a copy of a network to the end; arguments and errors as of `Training` and `Training.run`.

    Args:
        network: Where the training begins; bit for bit the same afterwards.
        data: What is learnt.
        options: How.
        execution: Device and precision.
        normalizer: Turns pixels into inputs.
        seed: The same one gives the same weights, bit for bit on a CPU with the same number of threads.
        objective: What is minimised; `CrossEntropy` where left out.
        progress: Shows how far it is, in images, with the losses of the last step.
        label: What it says is being done.
        on_epoch: Called after each epoch with its number from 0 and the network in eval mode.
        validate: Gives the accuracy after an epoch.
        keep: Which epoch's weights are given.
        patience: End after so many epochs without a better one; 0 for never.
        saved: Where the state is saved, as often as it says and after each epoch.
        resume: Whether to go on from the state that is saved there, if there is one.
        step_file: Gets a row for each step; rows of steps that are made again are replaced.
        group: The processes that train together; rank zero writes the files.

    Returns:
        The trained network and the losses of each epoch.

    Raises:
        UsageError: If the saved state is of another training.
        CheckpointError: If it is damaged.
        DataError: If a file cannot be written.
    """
    training = Training(
        network, data, options, execution=execution, normalizer=normalizer, seed=seed, objective=objective, group=group
    )
    with group.agreed():
        if saved is not None and resume:
            saved.restore(training)
    writing, step_file = saved if group.leads else None, step_file if group.leads else None

    def save() -> None:
        # Rows first: a state never knows of a step that the file does not.
        if step_file is not None:
            step_file.sync()
        if writing is not None:
            writing.write(training)

    def ended(number: int, network: nn.Module) -> None:
        if on_epoch is not None:
            on_epoch(number, network)
        save()

    steps: Iterable[Step] = training.run(ended, validate=validate, keep=keep, patience=patience)
    if progress is not None:
        steps = progress(steps, total=training.left, label=label, size=_images_in, note=_text_of)
    with group.in_step(), contextlib.closing(step_file) if step_file is not None else contextlib.nullcontext():
        if step_file is not None:
            step_file.begin(training.step)
        for step in steps:
            if step_file is not None:
                step_file.write(step)
            if writing is not None and writing.is_due(training):
                save()
    return training.finish()


def _images_in(step: Step) -> int:
    return step.images


def _text_of(step: Step) -> str:
    return step.text

"""The training loop: a copy of a network learns from labelled images, one step at a time.

What a step does depends on the weights, the optimiser's state, the seed and the number of the step, on nothing else:
`Training` holds all of it. Random numbers of a step (dropout and the like) are drawn anew from seed and step, the order
of the images from seed and epoch.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlaudit.data.training import batch_sizes
from tlaudit.errors import DataError, UsageError
from tlaudit.training.objective import CrossEntropy, Inputs, Part
from tlaudit.training.randomness import seeded
from tlaudit.training.schedule import learning_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

    from tlaudit.data.training import TrainingBatch, TrainingImages
    from tlaudit.models.preprocess import Normalizer
    from tlaudit.models.runtime import Execution
    from tlaudit.options import TrainingOptions
    from tlaudit.progress import Progress
    from tlaudit.training.objective import Objective


@dataclass(frozen=True)
class Step:
    """What one step did.

    Attributes:
        number: Of the step, counted from 0.
        epoch: That it belongs to, counted from 0.
        images: Of its batch.
        learning_rate: That it was made with.
        losses: Terms of the loss before it, by name.
    """

    number: int
    epoch: int
    images: int
    learning_rate: float
    losses: dict[str, float]


@dataclass(frozen=True)
class Epoch:
    """What one epoch did.

    Attributes:
        number: Counted from 0.
        losses: Terms of the loss by name, mean over the images as they came by.
        learning_rate: Of its last step.
    """

    number: int
    losses: dict[str, float]
    learning_rate: float


@dataclass(frozen=True, eq=False)
class Trained:
    """A network that has been trained.

    Attributes:
        network: On the device, in eval mode, no parameter wants a gradient.
        history: One entry an epoch.
    """

    network: nn.Module
    history: tuple[Epoch, ...]


class Training:
    """A training under way: network, optimiser, how far it is.

    Attributes:
        network: The copy that learns.
        optimizer: Its optimiser.
        scaler: Of the loss, where the precision is fp16 on CUDA; it does nothing elsewhere.
        step: How many steps were made.
        steps: How many there will be.
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

        Raises:
            UsageError: As of `refuse_single_images`.
        """
        self._data, self._options, self._execution = data, options, execution
        self._normalizer, self._seed, self._objective = normalizer, seed, objective or CrossEntropy()
        copied = copy.deepcopy(network).to(execution.device)
        self.network: nn.Module = copied.to(memory_format=torch.channels_last)
        self._frozen = [m for m in self.network.modules() if isinstance(m, _BatchNorm)]
        if options.batch_norm == "train":
            refuse_single_images(self.network, len(data), options)
            self._frozen = []
        self._parameters = _open(self.network, self._frozen, self._objective)
        self._objective.begin(self.network)
        self.optimizer = _optimizer(self._parameters, options)
        scaled = execution.precision == "fp16" and execution.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(execution.device.type, enabled=scaled)
        self.step, self.steps = 0, options.epochs * len(data.sizes(options.batch_size))
        self._history: list[Epoch] = []

    @property
    def images(self) -> int:
        """How many images all steps together see."""
        return self._options.epochs * len(self._data)

    def run(self, on_epoch: Callable[[int, nn.Module], None] | None = None) -> Iterator[Step]:
        """Train to the end, a step at a time.

        Between two steps the network is in eval mode, so that it may be asked and saved.

        Args:
            on_epoch: Called after each epoch with its number from 0 and the network.

        Yields:
            What each step did.

        Raises:
            UsageError: If the network gives no logits in training mode.
            DataError: If the loss or a weight is no finite number any more, or an image can no longer be read.
        """
        for epoch in range(self._options.epochs):
            done: list[Step] = []
            for batch in self._data.epoch(
                epoch, seed=self._seed, batch_size=self._options.batch_size, flip=self._options.flip
            ):
                done.append(self._learn(batch, epoch))
                yield done[-1]
            if not all(bool(parameter.isfinite().all()) for parameter in self._parameters):
                raise _diverged("a weight", done[-1])
            self._history.append(_summed_up(epoch, done))
            if on_epoch is not None:
                on_epoch(epoch, self.network)

    def _learn(self, batch: TrainingBatch, epoch: int) -> Step:
        """Make one step."""
        options, device = self._options, self._execution.device
        rate = learning_rate(self.step, self.steps, peak=options.learning_rate, warmup=options.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        for module in self._frozen:
            module.eval()
        with seeded(device, self._seed, self.step), self._execution.attribution(), torch.enable_grad():
            part = Part(0, len(batch.index), len(batch.index))
            inputs = Inputs(self.step, batch.index, self._normalizer(batch.pixels), batch.labels.to(device), part)
            terms = self._objective(self.network, inputs)
            loss = torch.stack(list(terms.values())).sum()
            losses = dict(zip(terms, torch.stack([term.detach() for term in terms.values()]).tolist(), strict=True))
            step = Step(self.step, epoch, len(batch.index), rate, losses)
            if not all(math.isfinite(value) for value in losses.values()):
                raise _diverged("the loss", step)
            self._descend(loss)
        self.network.eval()
        with torch.no_grad():
            self._objective.settle(self.network)
        self.step += 1
        return step

    def _descend(self, loss: Tensor) -> None:
        """Follow the gradient of the loss, in the precision the forward pass chose."""
        with torch.autocast(self._execution.device.type, enabled=False):
            self.optimizer.zero_grad()
            torch.autograd.backward(self.scaler.scale(loss))
            if self._options.clip:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self._parameters, self._options.clip)
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def finish(self) -> Trained:
        """Give the trained network.

        Raises:
            RuntimeError: If the last step has not been made.
        """
        if self.step < self.steps:
            raise RuntimeError(f"{self.step} of {self.steps} steps were made: run the training to its end first")
        self.optimizer.zero_grad()
        return Trained(self.network.eval().requires_grad_(requires_grad=False), tuple(self._history))


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
    on_epoch: Callable[[int, nn.Module], None] | None = None,
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
        progress: Shows how far it is, in images.
        on_epoch: Called after each epoch with its number from 0 and the network in eval mode.

    Returns:
        The trained network and the losses of each epoch.
    """
    training = Training(
        network, data, options, execution=execution, normalizer=normalizer, seed=seed, objective=objective
    )
    steps: Iterable[Step] = training.run(on_epoch)
    if progress is not None:
        steps = progress(steps, total=training.images, label="training", size=lambda step: step.images)
    for _ in steps:
        pass
    return training.finish()


def refuse_single_images(network: nn.Module, images: int, options: TrainingOptions) -> None:
    """Find out that batch norms would have to learn from single images.

    Args:
        network: That is going to be trained.
        images: How many it is going to be trained on.
        options: How.

    Raises:
        UsageError: If some batch would have one image only and batch norms learn.
    """
    learning = options.batch_norm == "train" and any(isinstance(m, _BatchNorm) for m in network.modules())
    if learning and 1 in batch_sizes(images, options.batch_size):
        got = f"a batch size of {options.batch_size} and {images} training images"
        raise UsageError(
            f"a batch norm cannot learn from one image: expected batches of at least 2, got {got}; give a larger "
            "--train-batch-size, or --batch-norm frozen"
        )


def _open(network: nn.Module, frozen: list[_BatchNorm], objective: Objective) -> list[nn.Parameter]:
    """Let the parameters learn but for frozen batch norms and what the objective keeps closed; give those that do."""
    closed = {id(parameter) for module in frozen for parameter in module.parameters()}
    closed |= {id(parameter) for name, parameter in network.named_parameters() if not objective.opens(name)}
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.is_floating_point() and id(parameter) not in closed)
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _optimizer(parameters: list[nn.Parameter], options: TrainingOptions) -> torch.optim.Optimizer:
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=options.learning_rate, momentum=options.momentum, weight_decay=options.weight_decay
        )
    return torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay)


def _diverged(what: str, step: Step) -> DataError:
    return DataError(
        f"the training diverged: {what} is no finite number in epoch {step.epoch + 1}, step {step.number + 1}, at "
        f"learning rate {step.learning_rate:.3g}; give a lower --learning-rate"
    )


def _summed_up(epoch: int, steps: list[Step]) -> Epoch:
    images = sum(step.images for step in steps)
    names = steps[-1].losses
    means = {name: sum(step.losses[name] * step.images for step in steps) / images for name in names}
    return Epoch(epoch, means, steps[-1].learning_rate)

"""Which parameters learn, and what follows their gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tlaudit.data.training import batch_sizes
from tlaudit.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from tlaudit.options import TrainingOptions
    from tlaudit.training.objective import Objective


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """Give the batch norms of a network."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def open_parameters(network: nn.Module, frozen: list[_BatchNorm], objective: Objective) -> list[nn.Parameter]:
    """Let the parameters learn but for frozen batch norms and what the objective keeps closed.

    Args:
        network: Whose parameters are made to want gradients or not.
        frozen: Modules whose parameters do not learn.
        objective: Says of each parameter by name whether it learns.

    Returns:
        Those that learn, in the network's order.
    """
    closed = {id(parameter) for module in frozen for parameter in module.parameters()}
    closed |= {id(parameter) for name, parameter in network.named_parameters() if not objective.opens(name)}
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.is_floating_point() and id(parameter) not in closed)
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def optimizer_of(parameters: list[nn.Parameter], options: TrainingOptions) -> torch.optim.Optimizer:
    """Make the optimiser that options ask for, with every setting they have."""
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=options.learning_rate,
            momentum=options.momentum,
            dampening=options.dampening,
            weight_decay=options.weight_decay,
            nesterov=options.nesterov,
        )
    return torch.optim.AdamW(
        parameters,
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        eps=options.eps,
        weight_decay=options.weight_decay,
        amsgrad=options.amsgrad,
    )


def refuse_single_images(network: nn.Module, images: int, options: TrainingOptions) -> None:
    """Find out that batch norms would have to learn from single images.

    Args:
        network: That is going to be trained.
        images: How many it is going to be trained on.
        options: How.

    Raises:
        UsageError: If some batch would have one image only and batch norms learn.
    """
    if options.batch_norm == "train" and batch_norms(network) and 1 in batch_sizes(images, options.batch_size):
        got = f"a batch size of {options.batch_size} and {images} training images"
        raise UsageError(
            f"a batch norm cannot learn from one image: expected batches of at least 2, got {got}; give a larger "
            "--train-batch-size, or --batch-norm frozen"
        )

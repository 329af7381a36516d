"""Sums over processes, of which the others are pretended: each has what this one does not."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from small_training import draw, images_in, options, training
from tlaudit.distributed import ALONE, Group
from tlaudit.errors import UsageError
from tlaudit.training.sharing import add_gradients, shared, told_by_first


class Others:
    """A group of two, in which the other process adds these tensors, one call after the other."""

    rank, size = 1, 2

    def __init__(self, *messages):
        self.messages = list(messages)

    leads = False

    def agreed(self):
        return contextlib.nullcontext()

    def told(self, value):
        return self.messages.pop(0)

    def sum_(self, tensors):
        for tensor, other in zip(tensors, self.messages.pop(0), strict=True):
            tensor.add_(other)


def parameters(*gradients):
    made = [nn.Parameter(torch.zeros(2)) for _ in gradients]
    for parameter, gradient in zip(made, gradients, strict=True):
        parameter.grad = None if gradient is None else torch.tensor(gradient)
    return made


def test_gradients_are_summed_and_missing_ones_count_as_zero():
    ours = parameters([1.0, 2.0], None, None, [5.0, 6.0])
    others = [torch.tensor([10.0, 20.0]), torch.tensor([30.0, 40.0]), torch.zeros(2)]
    group = Others([torch.tensor([1.0, 1.0, 0.0, 0.0])], others)
    add_gradients(ours, group)
    assert [None if p.grad is None else p.grad.tolist() for p in ours] == [[11, 22], [30, 40], None, [5, 6]]
    assert not group.messages


def test_alone_nothing_is_summed():
    ours = parameters([1.0, 2.0], None)
    add_gradients(ours, ALONE)
    assert ours[0].grad.tolist() == [1, 2]
    assert ours[1].grad is None
    assert told_by_first(ALONE, lambda: 0.25) == 0.25
    with shared(nn.Linear(1, 1), ALONE, torch.arange(7), 7) as (part, weight):
        assert (part.start, part.stop, part.total, weight) == (0, 7, 7, 1.0)


def test_only_the_first_is_asked():
    def never():
        raise AssertionError

    assert told_by_first(Others(0.75), never) == 0.75


def test_a_part_counts_by_its_images():
    with shared(nn.Linear(1, 1), Others(), torch.arange(4, 7), 7) as (part, weight):
        assert (part.start, part.stop, part.total, weight) == (4, 7, 7, 3 / 7)
    with shared(nn.Linear(1, 1), Others(), torch.arange(1), 1) as (part, weight):
        assert (part.start, part.stop, part.total, weight) == (0, 1, 1, 1 / 2)


def test_refuses_several_processes_where_statistics_are_of_parts(tmp_path):
    """In eval mode nobody brings them together: frozen ones, and those of a network that is only looked at."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
    draw(tmp_path)
    data = images_in(tmp_path)
    with pytest.raises(UsageError, match=r"without running statistics \(1\).*train in one process"):
        training(data, options(batch_norm="frozen"), network, group=Group(0, 2))
    assert training(data, options(batch_norm="frozen"), network).group.size == 1

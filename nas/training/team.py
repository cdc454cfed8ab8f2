"""Several workers that train one network: what one of them needs of torch.distributed, and what it hears.

The chief (rank 0) keeps logs, judges, saves and decides; the others follow. After every few steps the chief
says one word to all, so that all save, or stop, after the same step.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING

import numpy as np

from proxies.training_run import Parallel, TrainingRun

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Word(IntEnum):
    """What the chief says after a few steps."""

    GO_ON = 0
    SAVE = 1
    STOP = 2
    """Save, and end before the training is complete."""


Share = Callable[[Word], Word]
"""Gives every worker the chief's word; what the others say is not heard."""


def make_parallel(device: "torch.device") -> Parallel:
    """This process as a worker of the process group that it belongs to."""
    from torch import distributed

    return Parallel(
        rank=distributed.get_rank(),
        size=distributed.get_world_size(),
        wrap=lambda network: _wrapped(network, device),
        mean=_mean,
        gather=_gathered,
    )


def share(word: Word) -> Word:
    """See `Share`: a broadcast from rank 0 of the process group, over the CPUs."""
    import torch
    from torch import distributed

    said = torch.tensor([int(word)])
    distributed.broadcast(said, 0)
    return Word(int(said))


def worker_seed(seed: int, rank: int) -> int:
    """A worker's own seed of dropout and stochastic depth; the chief's is that of a training alone."""
    if rank == 0:
        return seed
    return int(np.random.SeedSequence((seed, rank)).generate_state(1, np.uint32)[0])


def follow(run: TrainingRun, share: Share, steps_ahead: Callable[[TrainingRun], int]) -> None:
    """Make the chief's steps beside it, to the end or until it says to stop.

    `steps_ahead`: how many steps are made before the next word.
    """
    while run.step < run.total_steps:
        run.train(steps_ahead(run))
        word = share(Word.GO_ON)
        if word != Word.GO_ON:
            run.state()  # in which the chief asks all for their random states
        if word == Word.STOP:
            return
    run.state()  # the chief's last checkpoint


def _wrapped(network: "nn.Module", device: "torch.device") -> "nn.Module":
    from torch.nn.parallel import DistributedDataParallel

    # Buffers are not made those of rank 0: statistics are averaged where they are needed.
    parameters = signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers"
    wrap = partial(DistributedDataParallel, network, device_ids=None if device.type == "cpu" else [device])
    return wrap(**{name: False})  # type: ignore[arg-type]


def _mean(tensor: "Tensor") -> "Tensor":
    from torch import distributed

    distributed.all_reduce(tensor)  # a sum: gloo has no mean
    return tensor.div_(distributed.get_world_size())


def _gathered(tensor: "Tensor") -> "list[Tensor]":
    import torch
    from torch import distributed

    found = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, tensor)
    return found

"""The recipes' optimisers, and the average of the weights."""
# ruff: noqa: SLF001 -- torch's own optimisers are made of its _foreach functions, one kernel for all tensors

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from proxies.recipe import TrainingRecipe


class RMSpropTF(torch.optim.Optimizer):
    """RMSProp as TensorFlow 1 has it, which EfficientNets were trained with.

        square = rho * square + (1 - rho) * g^2            square begins at 1
        buffer = momentum * buffer + lr * g / sqrt(square + eps)
        p = p - buffer

    with g = gradient + weight_decay * p. PyTorch's begins at 0, adds eps outside of the root, and multiplies
    by the learning rate after the momentum, so a change of the rate acts at once there and slowly here.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]] | Iterable[Tensor],
        *,
        lr: float,
        rho: float = 0.9,
        eps: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "rho": rho, "eps": eps, "momentum": momentum, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._update(parameters, group)

    def _update(self, parameters: Sequence[Tensor], group: dict[str, Any]) -> None:
        squares, buffers = self._states(parameters)
        gradients = [p.grad for p in parameters if p.grad is not None]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, list(parameters), alpha=group["weight_decay"]))
        torch._foreach_mul_(squares, group["rho"])
        torch._foreach_addcmul_(squares, gradients, gradients, value=1.0 - group["rho"])
        roots = torch._foreach_sqrt(torch._foreach_add(squares, group["eps"]))
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_addcdiv_(buffers, gradients, roots, value=group["lr"])
        torch._foreach_sub_(list(parameters), buffers)

    def _states(self, parameters: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["square"] = torch.ones_like(parameter)
                state["buffer"] = torch.zeros_like(parameter)
        return (
            [self.state[parameter]["square"] for parameter in parameters],
            [self.state[parameter]["buffer"] for parameter in parameters],
        )


def make_optimizer(network: nn.Module, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, its weight decay on tensors of two or more dimensions only (kernels)."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate, momentum = recipe.learning_rate, recipe.momentum
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(momentum, 0.999))
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate, alpha=0.9, eps=1e-3, momentum=momentum)
    if recipe.optimizer == "rmsprop_tf":
        return RMSpropTF(groups, lr=rate, rho=recipe.rho, eps=recipe.epsilon, momentum=momentum)
    return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0)


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """An average of the network's weights and batch-norm statistics, at first equal to them.

    Update n (from 1) moves it by 1 - min(decay, (1 + n) / (10 + n)): quick at first, as TensorFlow's average
    with `num_updates`. Whole numbers, such as the count of batches, are copied.
    """

    def average(averages: Any, current: Any, num_averaged: Any) -> None:
        updates = int(num_averaged)
        weight = 1.0 - min(decay, (1.0 + updates) / (10.0 + updates))
        if torch.is_floating_point(averages[0]):
            torch._foreach_lerp_(averages, current, weight)
        else:
            torch._foreach_copy_(averages, current)

    average_model = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    average_model.update_parameters(network)  # the first call copies and counts
    return average_model

"""Optimisers without the price of torch.compile.

torch's optimiser methods carry decorators for torch.compile, and the first call of any of them imports
`torch._dynamo`: over a second, more than a whole CartPole training on the fast path needs. Nothing is compiled here, so
these use the same methods without those decorators. Their arithmetic is torch's own, bit for bit.
"""

import inspect
from typing import Any

import torch


class EagerAdam(torch.optim.Adam):
    """torch's Adam for eager execution."""

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    step: Any = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class EagerRMSprop(torch.optim.RMSprop):
    """torch's RMSprop for eager execution."""

    add_param_group = inspect.unwrap(torch.optim.RMSprop.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.RMSprop.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.RMSprop.state_dict)
    zero_grad = inspect.unwrap(torch.optim.RMSprop.zero_grad)
    step: Any = torch.no_grad()(inspect.unwrap(torch.optim.RMSprop.step))

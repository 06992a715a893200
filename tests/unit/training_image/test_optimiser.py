"""Our Adam is torch's, without torch._dynamo."""

import torch

from training_image.trainer.learning.optimiser import EagerAdam


def test_steps_are_those_of_torch_bit_for_bit() -> None:
    weights = []
    for optimiser_class in (torch.optim.Adam, EagerAdam):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
        optimiser = optimiser_class(network.parameters(), lr=1e-2, eps=1e-5, fused=True)
        for _ in range(20):
            optimiser.zero_grad()
            network(torch.randn(16, 4)).square().mean().backward()
            optimiser.step()
        weights.append([parameter.detach().clone() for parameter in network.parameters()])
    assert all(torch.equal(ours, theirs) for theirs, ours in zip(*weights, strict=True))


def test_its_state_is_saved_and_loaded() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimiser = EagerAdam([parameter], lr=0.1, fused=True)
    parameter.sum().backward()
    optimiser.step()
    other = EagerAdam([torch.nn.Parameter(torch.ones(3))], lr=0.1, fused=True)
    other.load_state_dict(optimiser.state_dict())
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], optimiser.state_dict()["state"][0]["exp_avg"])

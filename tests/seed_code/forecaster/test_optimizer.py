"""Our Adam and plateau rule against PyTorch's."""

import pytest
import torch
from torch import nn

from seed_code.forecaster.optimizer import Adam, Plateau


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))


@pytest.mark.parametrize("norm", [0.05, 10.0], ids=["clipped", "not clipped"])
def test_weights_follow_torchs_path(norm):
    ours, theirs = network(), network()
    optimizer = Adam(ours.parameters(), 0.01, 1e-3, norm)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, weight_decay=1e-3)
    for step in range(50):
        torch.manual_seed(step)
        inputs = torch.randn(16, 5)
        optimizer.step((ours(inputs) - inputs.sum(1, keepdim=True)).square().mean())
        reference.zero_grad()
        (theirs(inputs) - inputs.sum(1, keepdim=True)).square().mean().backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), norm)
        reference.step()
    for name, weight in ours.state_dict().items():
        torch.testing.assert_close(weight, theirs.state_dict()[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_rate_falls_when_torchs_does(sign):
    losses = [
        sign * 3.0 + drop for drop in (5, 4, 3, 3, 3.1, 2.9999, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1)
    ]
    model = network()
    optimizer = Adam(model.parameters(), 0.8, 0.0, 1.0)
    ours = Plateau(optimizer, 2)
    reference = torch.optim.SGD(network().parameters(), lr=0.8)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(reference, factor=0.5, patience=2)
    for loss in losses:
        ours.epoch(loss)
        theirs.step(loss)
        assert optimizer.rate == reference.param_groups[0]["lr"]
    assert optimizer.rate < 0.8


def test_the_average_forgets_where_training_began_and_smooths_where_it_is():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.tensor([100.0]))
    optimizer = Adam([weight], 0.5, 0.0, 1e9)
    seen = []
    for _ in range(3000):
        optimizer.step((weight - torch.randn(1)).square().sum())
        seen.append(weight.item())
    tail = torch.tensor(seen[-600:])
    average = optimizer.average()
    assert abs(average.item() - tail.mean().item()) < tail.std().item() / 4
    assert abs(average.item()) < tail.std().item() / 2
    optimizer.assign(average)
    assert weight.item() == average.item()

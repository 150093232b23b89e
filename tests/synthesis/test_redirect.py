"""Redirected rectifiers: their values never change, and only stopped gradients do."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import Conv2dNormActivation  # a user of in-place ReLU6

from conceptlab.synthesis.redirect import redirecting

FORMS = {
    "relu": functional.relu,
    "torch": torch.relu,
    "method": lambda x: x.relu(),
    "inplace": lambda x: functional.relu(x * 1, inplace=True),
    "underscore": lambda x: torch.relu_(x * 1),
    "method_": lambda x: (x * 1).relu_(),
    "module": nn.ReLU(),
    "module_": lambda x: nn.ReLU(inplace=True)(x * 1),
    "six": functional.relu6,
    "module six": nn.ReLU6(),
    "module six_": lambda x: nn.ReLU6(inplace=True)(x * 1),
    "hardtanh": lambda x: functional.hardtanh(x, 0.0, 6.0),
}


def gradient(function, x, weights, pictures=None):
    at = x.clone().requires_grad_()
    if pictures is None:
        out = function(at)
    else:
        with redirecting(torch.tensor(pictures)):
            out = function(at)
    (found,) = torch.autograd.grad((out * weights).sum(), at)
    return out.detach(), found


@pytest.mark.parametrize("name", FORMS)
def test_a_stopped_gradient_gets_through_where_it_raises(name):
    x = torch.tensor([[-1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]])
    weights = torch.tensor([[3.0, -1.0]] * 3)
    plain, _ = gradient(FORMS[name], x, weights)
    out, found = gradient(FORMS[name], x, weights, [True, True, False])
    assert torch.equal(out, plain)
    # of the first, what raises; of the second, which is not stopped, the plain; of the third none
    assert found.tolist() == [[3.0, 0.0], [0.0, -1.0], [0.0, 0.0]]


def test_what_is_rectified_in_place_is_so_for_whoever_reads_it():
    def function(x):
        x = x * 1
        functional.relu(x, inplace=True)  # its output is not used
        return x

    out, found = gradient(function, torch.tensor([[-1.0, -2.0]]), torch.ones(1, 2), [True])
    assert out.tolist() == [[0.0, 0.0]]
    assert found.tolist() == [[1.0, 1.0]]


def test_what_is_no_rectifier_is_left_alone():
    x, weights = torch.tensor([[-3.0, 3.0]]), torch.ones(1, 2)
    for function in (functional.hardtanh, torch.tanh, functional.leaky_relu):
        for one, other in zip(
            gradient(function, x, weights), gradient(function, x, weights, [True]), strict=True
        ):
            assert torch.equal(one, other)


def test_six_is_the_end_of_relu6():
    out, found = gradient(functional.relu6, torch.tensor([[7.0, 1.0]]), torch.ones(1, 2), [True])
    assert out.tolist() == [[6.0, 1.0]]
    assert found.tolist() == [[0.0, 1.0]]


def test_whole_networks_keep_their_outputs():
    torch.manual_seed(0)
    net = nn.Sequential(
        Conv2dNormActivation(3, 4, activation_layer=nn.ReLU6),
        Conv2dNormActivation(4, 4, activation_layer=nn.ReLU),
    ).eval()
    x = torch.randn(2, 3, 6, 6)
    with redirecting(torch.tensor([True, True])):
        assert torch.equal(net(x), net(x))
        redirected = net(x)
    assert torch.equal(redirected, net(x))

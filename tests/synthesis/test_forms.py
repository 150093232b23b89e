"""Parameters of images: literal transforms, inverses, and what lies within black and white."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter

from conceptlab.models.probed import Preprocessing
from conceptlab.numerics.geometry import Geometry
from conceptlab.synthesis.forms import COLOURS, form_of
from conceptlab.synthesis.settings import PARAMETERS

SEEN = Preprocessing(Geometry(8), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
CPU = torch.device("cpu")
MEAN, STD = (np.array(v)[:, None, None] for v in (SEEN.mean, SEEN.std))


def form(name, size=8, decay=1.0):
    return form_of(name, size, SEEN, CPU, decay)


def noise(name, size=8, factor=1.0, count=2):
    return factor * form(name, size).noise(np.random.default_rng(0).spawn(count))


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("decay", [0.0, 1.0, 1.5])
def test_fourier_is_a_sum_of_waves_of_mixed_colours(size, decay):
    values = noise("fourier", size, 50.0, 1)[0].double().numpy()
    mix = np.array(COLOURS) / np.linalg.norm(np.array(COLOURS), axis=0).max() / 4
    planes = np.zeros((3, size, size))
    y, x = np.mgrid[:size, :size]
    for u in range(size):
        for v in range(size // 2 + 1):
            row = (u if u <= size // 2 else u - size) / size
            scale = max(np.hypot(row, v / size), 1 / size) ** -decay / size
            twice = 1 if v == 0 or 2 * v == size else 2  # its mirror image is not stored
            wave = np.exp(2j * np.pi * (u * y + v * x) / size)
            for plane in range(3):
                number = complex(*values[plane, u, v])
                if twice == 1:  # only what gives a real picture counts
                    mirror = complex(*values[plane, -u % size, v])
                    number = (number + mirror.conjugate()) / 2
                planes[plane] += (twice * scale * number * wave).real
    colours = 1 / (1 + np.exp(-np.einsum("dc,cyx->dyx", mix, planes)))
    found = form("fourier", size, decay).inputs(torch.tensor(values, dtype=torch.float32)[None])
    assert_allclose(found[0].numpy() * STD + MEAN, colours, atol=2e-5)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_of_a_picture_give_it_back(name):
    own = form(name)
    picture = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    inputs = ((picture.numpy() - MEAN) / STD).astype(np.float32)
    found = own.inputs(own.values(torch.tensor(inputs)))
    assert_allclose(found, inputs, atol=1e-4)


@pytest.mark.parametrize("name", ["fourier", "pixels"])
def test_pictures_stay_between_black_and_white(name):
    wild = form(name).inputs(noise(name, factor=1e4)).numpy() * STD + MEAN
    assert wild.min() > -1e-6
    assert wild.max() < 1 + 1e-6
    assert wild.std() > 0.3  # and do reach them
    ends = torch.tensor((np.stack([np.zeros((3, 8, 8)), np.ones((3, 8, 8))]) - MEAN) / STD)
    back = form(name).inputs(form(name).values(ends.float())).numpy() * STD + MEAN
    assert_allclose(back, [np.full((3, 8, 8), v) for v in (0, 1)], atol=0.6 / 255)


def test_free_parameters_are_the_input_itself():
    values = noise("free", factor=1e4)
    assert torch.equal(form("free").inputs(values), values)


@pytest.mark.parametrize("name", PARAMETERS)
def test_noise_is_each_images_own(name):
    one, other = noise(name)
    assert not torch.equal(one, other)
    assert torch.equal(noise(name, count=1)[0], one)
    assert 0.005 < one.std() < 0.02


@pytest.mark.parametrize("name", ["free", "pixels"])
def test_blur_is_a_gaussian(name):
    values = noise(name, 16)
    found = form(name, 16).blurred(values, 1.2)
    wanted = gaussian_filter(values.double().numpy(), (0, 0, 1.2, 1.2), mode="wrap", truncate=8)
    assert_allclose(found, wanted, atol=2e-4 * float(values.abs().max()) + 1e-6)


def test_blur_of_coefficients_is_that_of_the_planes():
    values = noise("fourier", 16)
    blurred = form("fourier", 16).blurred(values, 1.2)
    planes, after = (torch.fft.irfft2(torch.view_as_complex(v)) for v in (values, blurred))
    wanted = gaussian_filter(planes.double().numpy(), (0, 0, 1.2, 1.2), mode="wrap", truncate=8)
    assert_allclose(after, wanted, atol=2e-4 * float(planes.abs().max()))

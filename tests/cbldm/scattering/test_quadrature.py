"""The end-corrected sum against integrals in closed form."""

import numpy as np
import pytest
from cbldm.scattering.quadrature import REACH, band_limited_weights, step_weights
from hypothesis import given
from hypothesis import strategies as st


@given(edge=st.floats(-3, 40))
def test_a_step_integrates_every_wave_of_the_band(edge: float) -> None:
    first, weights = step_weights(edge)
    assert first <= edge - REACH + 1 <= first + 1
    k = np.arange(first, first + len(weights))
    beta = np.linspace(0.02, np.pi / 2, 200)
    after = np.exp(1j * beta * (first + len(weights))) / (1 - np.exp(1j * beta))
    total = np.exp(1j * beta[:, None] * k) @ weights + after
    np.testing.assert_allclose(total, 1j / beta * np.exp(1j * beta * edge), atol=1e-12)


@pytest.mark.parametrize("qmin", [0.0, 0.03, 0.7, 3.1])
@pytest.mark.parametrize(("qmax", "qstep"), [(25.0, 0.03), (21.998245281, 0.0477), (4.0, 0.11)])
def test_the_weights_integrate_cosines_and_their_products(qmin: float, qmax: float, qstep: float) -> None:
    weights = band_limited_weights(qmin, qmax, qstep)
    q = qstep * np.arange(len(weights))
    wave = np.linspace(0.01, np.pi / 2 / qstep, 150)
    exact = (np.sin(wave * qmax) - np.sin(wave * qmin)) / wave
    np.testing.assert_allclose(qstep * np.cos(np.outer(wave, q)) @ weights, exact, atol=1e-12 * qmax)


def test_the_weights_cannot_be_spoiled() -> None:
    with pytest.raises(ValueError, match="read-only"):
        band_limited_weights(0.7, 25.0, 0.05)[0] = 1.0

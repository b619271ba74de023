"""The pairs that the network learns, by transport and by flow."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from gradient_flow_drifting.config import TrainConfig
from gradient_flow_drifting.data import SphereMixture, Toy
from gradient_flow_drifting.geometry import embed, unembed
from gradient_flow_drifting.metrics import mode_shares
from gradient_flow_drifting.models import GeneratorConfig
from gradient_flow_drifting.stretches import Drifting, ParticleFlow, Regression
from gradient_flow_drifting.train import Trainer

CONFIG = TrainConfig(
    generator=GeneratorConfig(width=32, depth=2),
    flow=ParticleFlow(particles=1000, pool=500, steps=60),
    regression=Regression(steps=5, pairs=4096),
    objective=Drifting(steps=1, batch=8, positives=8),
    frames=3,
)


def pairs_of(config: TrainConfig) -> tuple[Trainer, torch.Tensor, torch.Tensor]:
    """A trainer in the middle of its regression, latents and targets."""
    trainer = Trainer(config)
    for _ in range(config.flow.steps + 1):
        trainer.step()
    stretch: Any = trainer.stretches[1]
    return trainer, *stretch._pairs


def crossing(latents: torch.Tensor, targets: torch.Tensor) -> float:
    """The least of ⟨T(x) − T(x'), x − x'⟩, negative where ways cross."""
    x, y = latents[:1000], targets[:1000]
    return float(((x[:, None] - x[None]) * (y[:, None] - y[None])).sum(-1).min())


@pytest.mark.parametrize("data", [Toy("8gaussians"), SphereMixture()])
def test_transport_pairs_fresh_latents_with_the_modes_of_the_particles(data: Toy | SphereMixture) -> None:
    trainer, latents, targets = pairs_of(replace(CONFIG, data=data))
    assert latents.shape == targets.shape == (4096, data.dimension)
    modes = data.modes
    assert modes is not None
    shares = [mode_shares(cloud, modes, geometry=data.geometry) for cloud in (targets, trainer.state.particles)]
    assert float(shares[0].sum()) > 0.9
    assert torch.allclose(*shares, atol=0.03)
    if data.geometry == "sphere":
        assert torch.allclose(targets.norm(dim=1), torch.ones(4096), atol=1e-6)


def test_ways_cross_in_the_flow_and_not_in_the_transport() -> None:
    (_, *transport), (trainer, *flow) = (
        pairs_of(replace(CONFIG, regression=replace(CONFIG.regression, pairing=pairing)))  # type: ignore[arg-type]
        for pairing in ("transport", "flow")
    )
    assert flow[0] is trainer.state.latents
    assert flow[1] is trainer.state.particles
    assert crossing(*flow) < -0.05
    assert crossing(*transport) > -1e-3


def test_pairs_are_kept_in_checkpoints_while_they_are_used() -> None:
    trainer, latents, targets = pairs_of(CONFIG)
    states = [trainer.stretches[1].state_dict()]
    assert torch.equal(states[0]["latents"], latents)
    assert torch.equal(states[0]["targets"], targets)
    for _ in range(4):
        trainer.step()
    assert trainer.stretches[1].state_dict() == {}
    assert Trainer(CONFIG).stretches[1].state_dict() == {}
    flow = replace(CONFIG, regression=replace(CONFIG.regression, pairing="flow"))
    assert pairs_of(flow)[0].stretches[1].state_dict() == {}


@pytest.mark.parametrize(("geometry", "shape"), [("euclidean", (50, 2)), ("sphere", (50, 3)), ("torus", (50, 2))])
def test_what_is_embedded_comes_back(geometry: Any, shape: tuple[int, int]) -> None:
    points = unembed("sphere", torch.randn(shape)) if geometry == "sphere" else torch.randn(shape).clamp(-3, 3)
    torch.testing.assert_close(unembed(geometry, embed(geometry, points)), points)


def test_across_the_seam_of_a_torus_it_is_near() -> None:
    a, b = embed("torus", torch.tensor([[3.1, 0.0], [-3.1, 0.0]]))
    assert float((a - b).norm()) < 0.1
    middle = unembed("torus", ((a + b) / 2)[None])[0]
    assert float(middle[0].abs()) == pytest.approx(torch.pi, abs=1e-5)

"""The networks of the profile `paper`."""

import pytest
import torch
from cbldm.models.autoencoder import CurveAutoencoder, PerceptronPrior, PictureDecoder, PictureEncoder, folded, unfolded
from cbldm.models.convolution import PictureTransformer, ResidualBlock, normalised
from cbldm.models.unet import LatentUnet


def test_folding_is_undone() -> None:
    w = torch.randn(2, 6, 6)
    assert folded(w).shape == (2, 4, 3, 3)
    assert torch.equal(folded(w)[0, :, 1, 2], w[0, 2:4, 4:6].reshape(4))
    assert torch.equal(unfolded(folded(w)), w)


@pytest.mark.parametrize(("multiples", "side"), [((1,), 16), ((1, 2), 8), ((1, 2, 2, 4), 2)])
def test_the_latent_is_as_small_as_its_halvings_make_it(multiples: tuple[int, ...], side: int) -> None:
    shape = {"width": 4, "multiples": multiples, "blocks": 1, "channels": 1}
    found = PictureEncoder(**shape)(torch.rand(2, 32, 32))  # type: ignore[arg-type]
    assert found.mean.shape == found.log_variance.shape == (2, 1, side, side)
    assert PictureDecoder(**shape)(found.mean).shape == (2, 32, 32)  # type: ignore[arg-type]


def test_the_sizes_of_the_paper() -> None:
    """Latent 1 × 16 × 16 from 256 places; 3000–128–256–512 for the prior; a code of 250."""
    encoder = PictureEncoder(width=2, multiples=(1, 2, 4, 8), blocks=2, channels=1)
    assert encoder(torch.rand(1, 256, 256)).mean.shape == (1, 1, 16, 16)
    prior = PerceptronPrior(points=3000, widths=(128, 256, 512), shape=(1, 16, 16))
    assert sum(each.numel() for each in prior.parameters()) == 3001 * 128 + 129 * 256 + 257 * 512
    curve = CurveAutoencoder(points=3000, width=2, code=250)
    assert curve.encode(torch.rand(1, 3000)).mean.shape == (1, 250)
    assert curve.decode(torch.rand(1, 250)).shape == (1, 3000)


def test_widths_that_do_not_fit_are_told() -> None:
    with pytest.raises(ValueError, match=r"prior widths end with 500: the latent of 256 numbers needs 512"):
        PerceptronPrior(points=10, widths=(8, 500), shape=(1, 16, 16))
    with pytest.raises(ValueError, match=r"points = 30: give a multiple of 8"):
        CurveAutoencoder(points=30, width=2, code=4)


def test_attention_to_a_single_token_is_an_added_vector() -> None:
    """Whatever a place asks, it is answered the same; with two tokens it is not."""
    torch.manual_seed(0)
    block = PictureTransformer(8, condition=5, heads=2).eval()
    asked, one, two = torch.randn(3, 16, 8), torch.randn(3, 1, 5), torch.randn(3, 2, 5)
    same = block.beyond(asked, one, one, need_weights=False)[0]
    assert (same - same[:, :1]).abs().max() < 1e-6
    assert (same[0, 0] - same[1, 0]).abs().max() > 1e-3
    differ = block.beyond(asked, two, two, need_weights=False)[0]
    assert (differ - differ[:, :1]).abs().max() > 1e-3


def test_a_fresh_transformer_changes_nothing() -> None:
    block, x = PictureTransformer(8, condition=5, heads=2), torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x, torch.randn(2, 1, 5)), x)


def test_the_unet_sees_step_and_condition() -> None:
    torch.manual_seed(0)
    network = LatentUnet(channels=1, width=8, multiples=(1, 2, 2), blocks=2, condition=6, heads=2).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # what begins at zero sees nothing yet
    z, t, condition = torch.randn(2, 1, 8, 8), torch.tensor([3, 3]), torch.randn(2, 1, 6)
    found = network(z, t, condition)
    assert found.shape == z.shape
    assert not torch.allclose(network(z, t + 200, condition), found, atol=1e-6)
    assert not torch.allclose(network(z, t, condition + 1), found, atol=1e-6)
    assert torch.allclose(network(z[:1], t[:1], condition[:1]), found[:1], atol=1e-5)


@pytest.mark.parametrize(("channels", "groups"), [(128, 32), (64, 16), (8, 2), (4, 1), (6, 1), (1, 1)])
def test_groups_have_four_channels_at_least(channels: int, groups: int) -> None:
    assert normalised(channels).num_groups == groups


def test_a_block_without_a_vector_needs_none() -> None:
    assert ResidualBlock(4, 8)(torch.randn(1, 4, 6, 6)).shape == (1, 8, 6, 6)

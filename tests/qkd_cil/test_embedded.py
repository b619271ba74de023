"""The network that ships with the package, and its recipe."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from papertrio_shared.checkpoint import load_weights
from qkd_cil import GLYPH_VIT
from qkd_cil.embedded.glyphs import CHARACTERS, bend, draw_glyphs
from qkd_cil.embedded.pretrain import pretrain
from qkd_cil.models.backbone import EMBEDDED, Backbone


def test_the_weights_are_small_whole_and_those_of_the_fingerprint() -> None:
    assert EMBEDDED.stat().st_size < 2**20
    tensors, _ = load_weights(EMBEDDED)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert Backbone(GLYPH_VIT).fingerprint() == GLYPH_VIT.fingerprint
    with pytest.raises(ValueError, match="do not fit"):
        Backbone(replace(GLYPH_VIT, embed_dim=48))


def test_the_card_says_how_large_it_is() -> None:
    count = sum(tensor.numel() for tensor in load_weights(EMBEDDED)[0].values())
    card = EMBEDDED.with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    found = re.search(r"of (\d+) thousand numbers", card)
    assert found is not None
    assert int(found[1]) == count // 1000
    assert f"{len(CHARACTERS)} letters" in card


def test_no_digit_is_drawn() -> None:
    assert not any(character.isdigit() for character in CHARACTERS)
    assert len(set(CHARACTERS)) == len(CHARACTERS)
    assert not set(CHARACTERS) & set("ЗзЧч")


def test_every_character_is_drawn_in_every_style() -> None:
    pictures, labels = draw_glyphs()
    assert pictures.dtype == torch.uint8
    counts = torch.bincount(labels, minlength=len(CHARACTERS))
    assert int(counts.min()) >= 10
    assert bool((pictures.float().flatten(1).max(1).values > 200).all())


def test_bending_is_random_but_repeatable() -> None:
    pictures, _ = draw_glyphs()
    first, again, other = (bend(pictures[:50], 8, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first.shape == (50, 8, 8)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0 <= first.min() < first.max() <= 255


def test_the_recipe_writes_weights_that_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain(out=tmp_path / "short.safetensors", steps=3, batch_size=8)
    assert "of freshly bent glyphs told right" in capsys.readouterr().out
    config = replace(GLYPH_VIT, weights=str(tmp_path / "short.safetensors"), fingerprint="")
    assert Backbone(config)(torch.zeros(1, 3, 32, 32)).shape == (1, 96)

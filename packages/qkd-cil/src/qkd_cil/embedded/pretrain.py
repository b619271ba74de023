"""The recipe of the embedded network: `python -m qkd_cil.embedded.pretrain --out glyph_vit.safetensors`.

A small vision transformer learns to tell bent letters, Greek and Cyrillic ones and signs apart, 8 by 8 pixels as
scikit-learn's digits are, but never a digit. Some minutes on four cores.
"""

import time
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
import tyro
from papertrio_shared.checkpoint import save_weights
from papertrio_shared.progress import progress
from papertrio_shared.seed import generator, seed_everything
from torch import Tensor, nn

from qkd_cil.data.transforms import normalise, resize
from qkd_cil.embedded import GLYPH_VIT
from qkd_cil.embedded.glyphs import CHARACTERS, bend, draw_glyphs


def pretrain(
    *, out: Path = Path("glyph_vit.safetensors"), steps: int = 2500, batch_size: int = 128, learning_rate: float = 2e-3
) -> None:
    """Train the embedded network and write its weights in half precision.

    Args:
        out: The file to write.
        steps: Steps of AdamW, its learning rate on a cosine after a short rise.
        batch_size: Freshly bent glyphs of a step.
        learning_rate: At its highest.
    """
    seed_everything(0)
    vit = timm.create_model(
        GLYPH_VIT.name,
        num_classes=len(CHARACTERS),
        **{key: getattr(GLYPH_VIT, key) for key in ("img_size", "patch_size", "embed_dim", "depth", "num_heads")},
    )
    pictures, labels = draw_glyphs()
    random = generator(0, "glyphs")
    optimizer = torch.optim.AdamW(vit.parameters(), lr=learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.05)
    start = time.perf_counter()
    for _ in (bar := progress(range(steps), "pretrain")):
        rows = torch.randint(len(pictures), (batch_size,), generator=random)
        loss = F.cross_entropy(vit(_inputs(pictures[rows], random)), labels[rows], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(vit.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}")
    vit.eval()
    rows = torch.randint(len(pictures), (4096,), generator=random)
    with torch.no_grad():
        right = (vit(_inputs(pictures[rows], random)).argmax(1) == labels[rows]).float().mean()
    kept = {name: tensor.half() for name, tensor in vit.state_dict().items() if not name.startswith("head.")}
    save_weights(out, kept, {"model": "glyph_vit", "steps": steps, "batch_size": batch_size})
    print(f"{out}: {100 * right:.1f} % of freshly bent glyphs told right, {time.perf_counter() - start:.0f} s")


def _inputs(pictures: Tensor, random: torch.Generator) -> Tensor:
    small = bend(pictures, 8, random).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    return normalise(resize(small, GLYPH_VIT.img_size), (0.5,), (0.5,))


if __name__ == "__main__":
    tyro.cli(pretrain)

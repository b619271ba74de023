"""Ours against an older checkout of ours, call by call in turn, as a table and a figure.

`python -m benchmarks.gradient_flow_drifting.before_after ../older-checkout` writes `before_after.json` and
`before_after.png` into `benchmarks/results/gradient-flow-drifting/`.
"""

import argparse
import importlib.util
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from gradient_flow_drifting import kde_score
from matplotlib.figure import Figure

from benchmarks.registry import Rows
from benchmarks.run import RESULTS
from benchmarks.timing import compare, machine

KDE = Path("packages/gradient-flow-drifting/src/gradient_flow_drifting/ops/kde/__init__.py")
LARGE = [(2048, 2), (2048, 64), (2048, 256), (8192, 2), (8192, 256)]
BATCHES = [(100, 256), (40, 1280), (20, 5120)]


def older_kde_score(checkout: Path) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """`kde_score` of another checkout, under a name of its own.

    Raises:
        FileNotFoundError: If the folder holds no such package.
    """
    path = checkout / KDE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; name a checkout of this repository")
    spec = importlib.util.spec_from_file_location("older_kde", path, submodule_search_locations=[str(path.parent)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["older_kde"] = module
    spec.loader.exec_module(module)
    return module.kde_score


def rows(older: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> Rows:
    """Medians of both in seconds; an older one without batch axes works the problems one after the other."""
    found: Rows = []

    def pair(label: str, before: Callable[[], object], after: Callable[[], object], repeats: int) -> None:
        times = compare({"before": before, "after": after}, repeats=repeats, warmup=2)
        found.append({"what": label, "before": times["before"].median, "after": times["after"].median})
        print(label, round(times["before"].median / times["after"].median, 2), flush=True)

    def clouds(label: str, n: int, m: int, d: int, repeats: int) -> None:
        x, y, h = torch.randn(n, d), torch.randn(m, d), 0.3 * math.sqrt(d)
        for count, widths in (("", h), (", three bandwidths", (h / 2, h, 2 * h))):
            pair(
                f"{label}{count}",
                lambda widths=widths: older(x, y, bandwidth=widths),
                lambda widths=widths: kde_score(x, y, bandwidth=widths),
                repeats,
            )

    clouds("256 × 512, d = 2", 256, 512, 2, 300)
    for n, d in LARGE:
        clouds(f"{n}², d = {d}", n, n, d, 11 if n == 2048 else 3)
    for problems, d in BATCHES:
        x, y, h = torch.randn(problems, 64, d), torch.randn(problems, 160, d), 0.5 * math.sqrt(d)
        for count, widths in (("", h), (", three bandwidths", (h / 2, h, 2 * h))):
            pair(
                f"{problems} problems 64 × 160, d = {d}{count}",
                lambda x=x, y=y, widths=widths: [older(a, b, bandwidth=widths) for a, b in zip(x, y, strict=True)],
                lambda x=x, y=y, widths=widths: kde_score(x, y, bandwidth=widths),
                7,
            )
    return found


def picture(found: Rows, facts: dict[str, object]) -> Figure:
    """How many times faster each row has become."""
    labels = [str(row["what"]) for row in found]
    gains = [float(row["before"]) / float(row["after"]) for row in found]  # type: ignore[arg-type]
    figure = Figure(figsize=(7.5, 0.25 * len(found) + 1), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(labels, gains, color=["#4477aa" if "three" not in each else "#88ccee" for each in labels])
    axes.bar_label(bars, [f"{gain:.2f}" for gain in gains], padding=3, fontsize=8)
    axes.axvline(1, color="0.3", linewidth=0.8)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlim(0, 1.12 * max(gains))
    axes.set_xlabel(f"time before / time after, float32, threads: {facts['threads']}")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> int:
    """Parse the command line, time, and write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="folder of the older checkout")
    parser.add_argument("--threads", type=int, default=1, help="one is least disturbed by what else runs")
    asked = parser.parse_args()
    try:
        older = older_kde_score(asked.checkout)
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    torch.set_num_threads(asked.threads)
    found, facts = rows(older), machine()
    folder = RESULTS / "gradient-flow-drifting"
    folder.mkdir(parents=True, exist_ok=True)
    record = json.dumps({"machine": facts, "rows": found}, indent=1) + "\n"
    (folder / "before_after.json").write_text(record, encoding="utf-8")
    picture(found, facts).savefig(folder / "before_after.png", dpi=110)
    print(folder / "before_after.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

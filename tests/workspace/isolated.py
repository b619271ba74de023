"""Installs each package's wheel alone into a bare environment, imports it there and runs its demo.

Run by `make test-isolated`; needs only the standard library.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROBE = """
import importlib, importlib.util, sys
name, others = sys.argv[1], sys.argv[2:]
module = importlib.import_module(name)
assert module.__file__.startswith(sys.prefix), f"{name} was imported from {module.__file__}"
for other in others:
    assert importlib.util.find_spec(other) is None, f"{other} came along"
"""


def import_name(package: str) -> str:
    """The import name of a distribution."""
    return package.replace("-", "_")


def pins(lock: str) -> str:
    """The pins of a hashed lock without the hashes, which a locally built wheel cannot have."""
    return "\n".join(re.findall(r"^[A-Za-z0-9][^\\\n]*==[^\\\n]*", lock, flags=re.MULTILINE)) + "\n"


def install(installer: str, uv: str, environment: Path, wheel: Path, constraints: Path) -> None:
    """Make an environment and install one wheel with its dependencies, ours by `--find-links`."""
    python = environment / "bin" / "python"
    options = ["--find-links", str(wheel.parent), "-c", str(constraints), str(wheel)]
    if installer == "uv":
        call(uv, "venv", "--quiet", "--python", sys.executable, str(environment))
        fresh = ["--refresh-package", "papertrio-shared"]  # not the wheel of this name and version that uv has kept
        call(uv, "pip", "install", "--quiet", "--python", str(python), *fresh, *options)
    else:
        call(sys.executable, "-m", "venv", str(environment))
        call(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options)


def hold(package: str, others: list[str], installer: str, uv: str) -> None:
    """Install a package, see that it stands alone, and run its demo."""
    start = time.monotonic()
    wheel = next((ROOT / "dist").glob(f"{import_name(package)}-*.whl"))
    with tempfile.TemporaryDirectory(prefix="isolated-") as folder:
        environment = Path(folder) / "environment"
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(pins((ROOT / "requirements.lock").read_text()))
        install(installer, uv, environment, wheel, constraints)
        python = str(environment / "bin" / "python")
        call(python, "-c", PROBE, import_name(package), *map(import_name, others), cwd=folder)
        call(str(environment / "bin" / package), "demo", "--out", "demo", "--smoke", cwd=folder)
    print(f"{package}: stands alone ({time.monotonic() - start:.0f} s)", flush=True)


def call(*command: str, cwd: str | Path = ROOT) -> None:
    """Run a command without what ties this process to the workspace."""
    tied = {"PYTHONPATH", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
    environment = {name: value for name, value in os.environ.items() if name not in tied}
    subprocess.run(command, cwd=cwd, env=environment, check=True)


def main() -> int:
    """Hold every package named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="+")
    parser.add_argument("--uv", default="uv")
    parser.add_argument("--installer", choices=["uv", "pip"], default="uv")
    asked = parser.parse_args()
    every = [path.parent.name for path in sorted(ROOT.glob("packages/*/pyproject.toml"))]
    uv = str(ROOT / asked.uv) if asked.uv.startswith(".") else asked.uv
    for package in asked.packages:
        try:
            hold(package, [other for other in every if other != package], asked.installer, uv)
        except subprocess.CalledProcessError as error:
            print(f"error: {package} does not stand alone: {' '.join(error.cmd[:3])} … failed", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""What the rules of the workspace are read from: its packages, modules and tracked files."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("qkd-cil", "gradient-flow-drifting", "cbldm")
SOURCES = {
    "papertrio_shared": ROOT / "shared" / "src" / "papertrio_shared",
    **{name.replace("-", "_"): ROOT / "packages" / name / "src" / name.replace("-", "_") for name in PACKAGES},
}


@dataclass(frozen=True)
class Module:
    """One source file of a package."""

    package: str
    parts: tuple[str, ...]
    path: Path

    @property
    def imports(self) -> Iterator[tuple[str, ...]]:
        """Absolute names of what the file imports, relative imports resolved; type-checking imports included."""
        home = (self.package, *self.parts) if self.path.name == "__init__.py" else (self.package, *self.parts[:-1])
        for node in ast.walk(ast.parse(self.path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (tuple(alias.name.split(".")) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                start = home[: len(home) - node.level + 1] if node.level else ()
                stem = (*start, *(node.module.split(".") if node.module else ()))
                yield from ((*stem, alias.name) for alias in node.names)


def modules(package: str) -> list[Module]:
    """Every source file of a package."""
    source = SOURCES[package]
    found = []
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found.append(Module(package, parts[:-1] if parts[-1] == "__init__" else parts, path))
    return found


def tracked_files() -> list[Path]:
    """What git tracks, and what it would: files not ignored."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    """The text of a file; empty where it is binary."""
    content = path.read_bytes()
    return "" if b"\0" in content[:8192] else content.decode("utf-8", errors="replace")

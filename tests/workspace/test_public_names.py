"""Public names exist, are documented, annotated and shown by an example."""

import importlib
import inspect
from pathlib import Path

import pytest
from workspace.layout import ROOT, SOURCES

PACKAGES = [name for name in SOURCES if name != "papertrio_shared"]
NAMES = [(package, name) for package in PACKAGES for name in getattr(importlib.import_module(package), "__all__", [])]


@pytest.mark.parametrize("package", PACKAGES)
def test_all_lists_what_is_there_once_and_in_order(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__, f"{package} has no public names"
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert module.__doc__


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_a_public_name_is_documented_and_annotated(package: str, name: str) -> None:
    value = getattr(importlib.import_module(package), name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return
    text = inspect.getdoc(value) or ""
    assert text, f"{package}.{name} has no docstring"
    assert not text.startswith(f"{name}("), f"{package}.{name} has only the docstring that dataclass makes"
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        bare = [each.name for each in signature.parameters.values() if each.annotation is each.empty]
        assert bare == [], f"{package}.{name}: {bare} have no annotation"
        assert signature.return_annotation is not signature.empty, f"{package}.{name} has no return annotation"
        assert ">>>" in text, f"{package}.{name} has no example"
        if any(each.kind is not each.VAR_POSITIONAL for each in signature.parameters.values()):
            assert "Args:" in text, f"{package}.{name} does not describe its arguments"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_op_has_its_contract_reference_and_test(package: str) -> None:
    ops = SOURCES[package] / "ops"
    folders = [path for path in ops.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert folders, f"{package} has no op"
    for folder in folders:
        assert (folder / "reference.py").is_file(), f"{folder.name} has no reference"
        contract = folder / "__init__.py"
        assert len(contract.read_text(encoding="utf-8")) > 200, f"{folder.name} has no contract"
        assert list((ROOT / "tests" / package).rglob(f"test_{folder.name}*.py")), f"{folder.name} has no test"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/*/src/*/ops/*/*.py")), ids=lambda path: str(path.parent.name))
def test_a_gpu_op_is_imported_lazily(path: Path) -> None:
    if path.name == "_triton.py":
        return
    top = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(("import ", "from "))]
    assert not [line for line in top if "triton" in line], f"{path} imports Triton where it may be missing"

"""Imports run one way, and no package imports another."""

import pytest
from workspace.layout import SOURCES, Module, modules

# Rooms from the bottom to the top; a room may import its own and lower ones. What is not named stands in the middle:
# the methods. The order within the middle is free.
BOTTOM = ("ops", "models")
TOP = ("train", "evaluate", "evaluation", "recover", "series", "report", "compare", "paper", "demo", "app", "__main__")
ALL = [module for package in SOURCES for module in modules(package)]


def room(parts: tuple[str, ...]) -> int:
    """Height of the room that a module stands in."""
    name = parts[0] if parts else "__init__"
    if name in BOTTOM:
        return BOTTOM.index(name)
    return {"__init__": 4, "__main__": 5}.get(name, 3 if name in TOP else 2)


@pytest.mark.parametrize("module", ALL, ids=lambda each: f"{each.package}.{'.'.join(each.parts)}")
def test_imports_run_one_way(module: Module) -> None:
    known = {each.parts for each in modules(module.package)}
    for name in module.imports:
        if name[0] != module.package:
            continue
        target = name[1:] if name[1:] in known else name[1:-1]
        assert room(target) <= room(module.parts), f"{module.path.name} imports {'.'.join(name)}, which stands above it"
        if module.parts[:1] == ("ops",):
            own = module.parts[:2]
            assert target[:2] == own, f"{module.path} imports {'.'.join(name)}: an op imports nothing of the package"


@pytest.mark.parametrize("module", ALL, ids=lambda each: f"{each.package}.{'.'.join(each.parts)}")
def test_no_package_imports_another(module: Module) -> None:
    others = set(SOURCES) - {module.package, "papertrio_shared"}
    if module.package == "papertrio_shared":
        others = set(SOURCES) - {"papertrio_shared"}
    assert not {name[0] for name in module.imports} & others

"""What all tests share: the data folder, reproducible hypothesis, the count of tests left out for want of data."""

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded: waiting threads leave the cores alone

import pytest
import torch
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

ROOT = Path(__file__).parent.parent
DATA_SKIP = "no data folder: set PAPERTRIO_DATA"

# Shapes are checked at run time in tests alone, and on internal modules: on a public function this would answer
# before the function's own error does.
CHECKED = [
    "cbldm.ops.debye_sum.reference",
    "cbldm.ops.debye_sum._bins",
    "cbldm.ops.debye_sum._moments",
    "cbldm.ops.debye_sum._nufft",
    "gradient_flow_drifting.ops.kde.reference",
    "gradient_flow_drifting.ops.kde._attention",
    "gradient_flow_drifting.ops.kde._matmul",
    "qkd_cil.models.adapter",
    "qkd_cil.models.classifier",
    "qkd_cil.models.gate",
    "qkd_cil.ops.statevector.reference",
]
install_import_hook(CHECKED, "beartype.beartype")

settings.register_profile(
    "tests", derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist: the cores are shared by all of them
        torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(DATA_SKIP in str(report.longrepr) for report in skipped)
    terminalreporter.write_line(f"{count} tests left out for want of the data folder")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data, which is no part of the repository."""
    folder = Path(os.environ.get("PAPERTRIO_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(DATA_SKIP)
    return folder


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    """Each test starts from the same global random state, whatever ran before it."""
    torch.manual_seed(0)

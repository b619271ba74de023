"""The examples in the docstrings of gradient-flow-drifting."""

import pytest
from examples import module_names, run_examples


@pytest.mark.parametrize("module", module_names("gradient_flow_drifting"))
def test_examples_of_docstrings(module: str) -> None:
    run_examples(module)

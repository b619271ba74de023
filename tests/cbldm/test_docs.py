"""The examples in the docstrings of the package."""

import pytest
from examples import module_names, run_examples


@pytest.mark.parametrize("module", module_names("cbldm"))
def test_examples_of_docstrings(module: str) -> None:
    run_examples(module)

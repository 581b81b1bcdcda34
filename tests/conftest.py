"""What every test may ask for."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# BLAS threads only wait for each other at the few numbers of statsmodels and arch. Read when numpy loads, after this.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A loaded machine is slow, and slow is not wrong: no property test may fail for the time that it took. Whether a change
# is right must not hang on chance either: every run draws the same examples. `make test-slow` looks for new ones.
settings.register_profile("patient", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Locate the folder of real data that `BQ_TEST_DATA` names, or skip the test."""
    name = os.environ.get("BQ_TEST_DATA")
    if not name:
        pytest.skip("BQ_TEST_DATA does not name a folder of real data")
    path = Path(name)
    if not path.is_dir():
        pytest.skip(f"BQ_TEST_DATA names {name!r}, which is not a folder")
    return path

"""No request ever compiles: once its module is imported, a door finds all the code it needs."""

import numpy as np
import pytest
from numba.core import compiler

from tests.kernels import option_doors, series_doors

DOORS = (*option_doors.DOORS, *series_doors.DOORS)


@pytest.fixture(autouse=True)
def compiler_off(monkeypatch):
    """Let whatever reaches the compiler fail, by name."""

    def refuse(self):
        raise AssertionError(f"{self.state.func_id.func_qualname} is compiled in a request")

    monkeypatch.setattr(compiler.CompilerBase, "_compile_core", refuse)


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_a_door_needs_no_compiler(door):
    columns = door.columns()
    door.bits(columns)
    door.bits([c[:1] for c in columns])
    door.bits([c[::2] for c in columns])  # not contiguous


@pytest.mark.parametrize("door", option_doors.DOORS, ids=str)
def test_nor_for_other_types(door):
    columns = door.columns()
    readonly = [c.copy() for c in columns]
    for c in readonly:
        c.flags.writeable = False
    assert (door.bits(readonly) == door.bits(columns)).all()
    with np.errstate(over="ignore"):  # the largest prices become infinity
        single = [c.astype(np.float32) if c.dtype.kind == "f" else c for c in columns]
    door.bits(single)
    door.bits([c.astype(object) if c.ndim == 1 and c.dtype.kind == "f" else c for c in columns])

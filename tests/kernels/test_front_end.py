"""The shortcuts through Numba's front end give Numba's own answers."""

import contextlib
import io
import operator

import numba
import numpy as np
import pytest
from llvmlite import ir as llvm
from numba.core import event, ir, types
from numba.core.base import BaseContext
from numba.core.compiler import Flags, run_frontend
from numba.core.postproc import PostProcessor
from numba.core.registry import cpu_target
from numba.core.types.functions import BaseFunction

from kernels._front_end import quick

ARRAY = types.Array(types.float64, 2, "C")
OPERANDS = [
    (operator.add, (types.float64, types.int64)),
    (operator.truediv, (types.int64, types.int64)),
    (operator.lt, (types.uint64, types.uint64)),
    (operator.getitem, (ARRAY, types.UniTuple(types.int64, 2))),
    (operator.getitem, (ARRAY, types.int64)),
    (operator.setitem, (ARRAY, types.UniTuple(types.uint64, 2), types.float64)),
    (operator.rshift, (types.int64, types.IntegerLiteral(3))),
    (bool, (types.boolean,)),
]


def example(x, n):
    total = 0.0
    for i in range(n):
        for j in range(x.shape[1]):
            total += x[i, j] * (2.0 if x[i, j] > 0.0 else min(total, 1.0))
        x[i, 0] = total
    return total, n


def statements():
    return [s for block in run_frontend(example).blocks.values() for s in block.body]


def test_variables_of_a_statement():
    def listed():
        out = []
        for statement in statements():
            out.append([v.name for v in statement.list_vars()])
            if isinstance(statement, ir.Assign) and isinstance(statement.value, ir.Expr):
                out.append([v.name for v in statement.value.list_vars()])
        return out

    want = listed()
    assert sum(map(len, want)) > 60
    with quick():
        assert listed() == want


@pytest.mark.parametrize(("function", "operands"), OPERANDS, ids=str)
def test_types_of_calls(function, operands):
    context = cpu_target.typing_context
    want = context.resolve_function_type(function, operands, {})
    with quick():
        for _ in range(2):  # resolved, then remembered
            assert context.resolve_function_type(function, operands, {}) == want


def test_what_has_no_type_has_none():
    def attempt():
        with contextlib.suppress(numba.TypingError):
            return cpu_target.typing_context.resolve_function_type(operator.and_, (types.float64, ARRAY), {})

    assert attempt() is None
    with quick():
        assert attempt() is attempt() is None


def test_flags_are_equal_where_numba_says_so():
    some = [Flags(), Flags(), Flags(), Flags()]
    some[1].nrt = True
    some[2].nrt = True
    some[2].debuginfo = Flags().debuginfo  # set to what it is anyway
    some[3].error_model = "numpy"
    want = [[a == b for b in some] for a in some]
    hashes = [hash(a) for a in some]
    values = [a.values() for a in some]
    assert want[1][2]
    assert not want[0][1]
    with quick():
        assert [[a == b for b in some] for a in some] == want
        assert [hash(a) for a in some] == hashes
        assert [a.values() for a in some] == values
        assert some[0] != 1


@pytest.mark.parametrize("emit_dels", [False, True])
def test_variables_live_and_end_where_numba_says_so(emit_dels):
    def lives():
        found = run_frontend(example, emit_dels=emit_dels)
        said = found.variable_lifetime
        text = io.StringIO()
        found.dump(text)
        return said.livemap, said.usedefs, said.deadmaps, text.getvalue()

    want = lives()
    assert ("del " in want[-1]) is emit_dels
    with quick():
        assert lives() == want


def test_sizes_of_types():
    number, integer = llvm.DoubleType(), llvm.IntType(8)
    kinds = [number, integer, number.as_pointer(), llvm.LiteralStructType([integer, number]), llvm.ArrayType(number, 3)]
    want = [cpu_target.target_context.get_abi_sizeof(kind) for kind in kinds]
    assert want == [8, 1, 8, 16, 24]
    with quick():
        for _ in range(2):
            assert [cpu_target.target_context.get_abi_sizeof(kind) for kind in kinds] == want


def test_who_listens_hears_of_other_compilations():
    def heard():
        with event.install_recorder("numba:run_pass") as recorder:
            numba.njit(example).compile("Tuple((float64, int64))(float64[:, ::1], int64)")
        return len(recorder.buffer)

    with quick():
        assert heard() == 0
    assert heard() > 40


def test_numba_is_left_as_it_was():
    def replaced():
        return (
            BaseFunction.get_call_type,
            ir.Stmt.list_vars,
            Flags.__eq__,
            Flags.__hash__,
            PostProcessor.run,
            BaseContext.get_abi_sizeof,
            event.start_event,
            event.trigger_event,
        )

    before = replaced()
    with pytest.raises(ZeroDivisionError), quick():
        raise ZeroDivisionError
    assert before == replaced()
    assert numba.njit(example)(np.ones((2, 2)), 2) == example(np.ones((2, 2)), 2)

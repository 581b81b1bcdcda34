"""What Numba's front end works out anew for every expression, worked out once: half of a cold compilation.

Numba resolves the type of every `a * b` and `x[i]` by trying all the templates that were ever registered for the
operator, in order, most of which want other types than ours; compares compiler flags by reading thirty properties of
both sides; looks for new declarations, in thirty modules, before each of a kernel's hundred steps; and lists the
variables of a statement by walking through everything that it refers to. The answers are the same each time. It asks
LLVM for the size of a number by writing and parsing a module. And it finds out after each of a function's passes which
variables live where, and tells of each pass and each call of LLVM those who listen: nobody does.

Nothing here changes an answer, so nothing here changes machine code.
"""

import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final
from unittest.mock import patch

from numba.core import event, ir, types
from numba.core.base import BaseContext
from numba.core.postproc import PostProcessor, VariableLifetime
from numba.core.targetconfig import TargetConfig
from numba.core.transforms import canonicalize_cfg
from numba.core.types.functions import BaseFunction
from numba.core.typing import Context as TypingContext

_OPERATORS: Final = frozenset(
    {
        bool,
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.floordiv,
        operator.mod,
        operator.neg,
        operator.pos,
        operator.iadd,
        operator.isub,
        operator.imul,
        operator.itruediv,
        operator.and_,
        operator.or_,
        operator.xor,
        operator.invert,
        operator.lshift,
        operator.rshift,
        operator.iand,
        operator.ior,
        operator.lt,
        operator.le,
        operator.gt,
        operator.ge,
        operator.eq,
        operator.ne,
        operator.getitem,
        operator.setitem,
    }
)
"""Operators whose type follows from those of their operands alone, where these are `_PLAIN`."""
_types: Any = types  # some of its names are made when it is imported
_PLAIN: Final = (types.Number, types.Boolean, types.Array, _types.SliceType)

_resolved: Final[dict[tuple[Any, ...], Any]] = {}
_hashes: Final[dict[type, int]] = {}
_resolve = BaseFunction.get_call_type
_post_process = PostProcessor.run
_sizes: Final[dict[tuple[int, str], Any]] = {}
_abi_size = BaseContext.get_abi_sizeof


def _plain(given: Any) -> bool:
    if isinstance(given, _types.BaseTuple):
        return all(isinstance(part, _PLAIN) for part in given)
    return isinstance(given, _PLAIN)


def _get_call_type(self: Any, context: Any, args: Any, kws: Any) -> Any:
    """Resolve a call once for each operator and types of operands."""
    if kws or self.typing_key not in _OPERATORS or not all(map(_plain, args)):
        return _resolve(self, context, args, kws)
    key = (id(context), self, tuple(args))
    found = _resolved.get(key)
    if found is None:
        found = _resolved[key] = _resolve(self, context, args, kws)
    return found


def _list_vars(self: Any) -> list[Any]:
    """List the variables of a statement or of an expression's operands, as `ir.Inst` does."""
    found: list[Any] = []
    _collect((self._kws if isinstance(self, ir.Expr) else self.__dict__).values(), found)
    return found


def _collect(parts: Iterable[Any], found: list[Any]) -> None:
    for part in parts:
        if isinstance(part, ir.Var):
            found.append(part)
        elif isinstance(part, ir.Inst):
            found.extend(part.list_vars())
        elif isinstance(part, (list, tuple)):
            _collect(part, found)
        elif isinstance(part, dict):
            _collect(part.values(), found)


def _same(self: Any, other: object) -> Any:
    """Compare what is set first: flags that have the same options set are equal."""
    if not isinstance(other, TargetConfig):
        return NotImplemented
    return (type(self) is type(other) and self._values == other._values) or self.values() == other.values()


def _values(self: Any) -> dict[str, Any]:
    values = {name: option.default for name, option in self.options.items()}
    values.update(self._values)
    return values


def _hash(self: Any) -> int:
    kind = type(self)
    if kind not in _hashes:
        _hashes[kind] = hash(tuple(sorted(self.options)))  # of the names alone, as Numba's
    return _hashes[kind]


def _refresh_once(refresh: Callable[[Any], None]) -> Callable[[Any], None]:
    """Look through all of Numba's modules for declarations again only when something has been imported."""
    modules = 0

    def quick_refresh(self: Any) -> None:
        nonlocal modules
        if len(sys.modules) != modules:
            refresh(self)
            modules = len(sys.modules)
            return
        for registry in tuple(self._registries):  # what Numba's own implementations declare while they are compiled
            self.install_registry(registry)

    return quick_refresh


def _run(self: Any, emit_dels: bool = False, extend_lifetimes: bool = False) -> None:
    """Bring the control flow into its canonical form, and put off which variables live where until somebody asks.

    After each of a function's passes Numba works that out for whatever pass may come next, nine times in all; those
    who ask are object mode and generators, and the last pass, which inserts the ends of the variables' lives.
    """
    if emit_dels or self.func_ir.is_generator:
        _post_process(self, emit_dels, extend_lifetimes)
        return
    self.func_ir.blocks = canonicalize_cfg(self.func_ir.blocks)
    self.func_ir.variable_lifetime = VariableLifetime(self.func_ir.blocks)  # works it out when it is asked
    self.func_ir.generator_info = None


def _size_of(self: Any, kind: Any) -> Any:
    """Ask for the size of an LLVM type once for each type, where its text says all of it."""
    text = str(kind)
    if "%" in text:  # a structure with a name
        return _abi_size(self, kind)
    key = (id(self.target_data), text)
    if key not in _sizes:
        _sizes[key] = _abi_size(self, kind)
    return _sizes[key]


def _unheard(*_: object, **__: object) -> None:
    """Tell nobody of an event."""


def _unheard_within(*_: object, **__: object) -> AbstractContextManager[None]:
    """Tell nobody that an event begins and ends, and do not listen for it."""
    return nullcontext()


@contextmanager
def quick() -> Iterator[None]:
    """Let Numba compile one kernel with what is known already; the caller holds the compiler lock."""
    with (
        patch.object(BaseFunction, "get_call_type", _get_call_type),
        patch.object(ir.Stmt, "list_vars", _list_vars),
        patch.object(ir.Expr, "list_vars", _list_vars),
        patch.multiple(TargetConfig, __eq__=_same, __hash__=_hash, values=_values),
        patch.object(PostProcessor, "run", _run),
        patch.object(BaseContext, "get_abi_sizeof", _size_of),
        patch.multiple(
            event,
            start_event=_unheard,
            end_event=_unheard,
            trigger_event=_unheard_within,
            install_timer=_unheard_within,
        ),
        patch.object(BaseContext, "refresh", _refresh_once(BaseContext.refresh)),
        patch.object(TypingContext, "refresh", _refresh_once(TypingContext.refresh)),
    ):
        yield

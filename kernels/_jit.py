"""The one place where Numba is configured.

Rules of this file: every compiled function of the project goes through `scalar` or `kernel`, and the compiled code of a
module is stored under a name that changes whenever anything it is made of changes.

Numba's own disk cache does not notice an edit in another file (numba, docs/source/developer/caching.rst), keys a
user-provided folder on the absolute path of the source (so it misses after a move of the tree), and needs a writable
folder even to read. So the cache has its own locator: `kernels/.cache/<host>-<fingerprint>/`, where the fingerprint
hashes the sources of the module and of every kernel module that it imports, and the host part names the CPU and its
features.
An unreadable entry is a miss; an unwritable folder costs the saving, never the start.
"""

import hashlib
import logging
import os
import pickle
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba.core import caching
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys

from kernels._library import callable_apart, code_of, only_door

_HERE: Final = Path(__file__).resolve().parent
_log = logging.getLogger(__name__)
logging.getLogger("numba").setLevel(logging.WARNING)

F = TypeVar("F", bound=Callable[..., Any])

# `contract` lets LLVM fuse a*b+c and `nsz` lets it ignore the sign of zero; both keep NaN and infinity meaningful.
# fastmath=True would make every NaN test undefined.
FAST: Final = frozenset({"contract", "nsz"})


if "NUMBA_CPU_NAME" in os.environ and "NUMBA_CPU_FEATURES" not in os.environ:
    # Numba would add this machine's features to those of the CPU that was named: code with AVX-512 for "x86-64-v3".
    numba.config.CPU_FEATURES = ""


@cache
def host() -> str:
    """Name the CPU that code is compiled for: its LLVM name and a hash of its features."""
    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    return f"{name}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"


_IMPORT: Final = re.compile(
    r"^[ \t]*(?:from kernels(?:\.(\w+))? import (\([^)]*\)|.*)|import kernels\.(\w+))", re.MULTILINE
)


@cache
def imported(module: str) -> frozenset[str]:
    """Find the kernel modules that a kernel module imports directly.

    By the text of its import statements, wherever they stand: syntax trees of all take half a second of a start.
    """
    names: set[str] = set()
    for submodule, listed, plain in _IMPORT.findall((_HERE / f"{module}.py").read_text(encoding="utf-8")):
        names.update([submodule or plain] if submodule or plain else re.findall(r"\w+", listed))
    return frozenset(name for name in names if (_HERE / f"{name}.py").exists())


@cache
def fingerprint(module: str) -> str:
    """Hash the sources that the compiled code of one kernel module is made of (hex, 12 digits)."""
    todo, seen = [module, "_jit"], set[str]()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(imported(name))
    digest = hashlib.sha256(f"numba {numba.__version__}".encode())
    for name in sorted(seen):
        digest.update(name.encode() + b"\0" + (_HERE / f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


def cache_of(module: str) -> Path:
    """Name the folder in which the compiled code of a module is stored on this host."""
    return _HERE / ".cache" / f"{host()}-{fingerprint(module)}"


class _Locator(caching._CacheLocator):
    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file
        self._line = py_func.__code__.co_firstlineno
        self._module = Path(py_file).stem
        self._stamp = fingerprint(self._module)

    def get_cache_path(self) -> str:
        return str(cache_of(self._module))

    def get_source_stamp(self) -> str:
        return self._stamp

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator":
        return cls(py_func, py_file)


class _CacheImpl(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)

    def reduce(self, cres: Any) -> tuple[Any, ...]:
        """Give what is stored of a kernel, without the environments of inlined functions that its code does not read.

        Loading one imports the module of its function: Numba's array mathematics, and SciPy for the sake of those.
        """
        *parts, environments = cres._reduce()
        code = str(code_of(cres)._final_module)
        return *parts, tuple(env for env in environments if code.count(f"@{env.env_name}") > 1)  # once: its declaration


class _Cache(caching.FunctionCache):
    _impl_class = _CacheImpl

    def load_overload(self, sig: object, target_context: object) -> Any:
        # Not Numba's own, which looks through all that it can compile first: compiled code needs none of it but the
        # functions that count references to arrays, and a start without the rest is a second shorter.
        try:
            rtsys.initialize(target_context)
            return self._load_overload(sig, target_context)
        except Exception as error:  # a truncated or foreign file: compile again
            _log.warning("compiled cache: %s unreadable (%s), compiling again", self._name, error)
            return None

    def save_overload(self, sig: object, data: object) -> None:
        try:
            try:
                super().save_overload(sig, data)
            except (EOFError, ValueError, LookupError, pickle.UnpicklingError):  # a damaged index: begin another
                self.flush()
                super().save_overload(sig, data)
        except OSError as error:
            _log.warning("compiled cache: cannot write %s (%s)", self.cache_path, error.strerror)


def scalar(function: F) -> F:
    """Compile the arithmetic of one option or one observation; LLVM inlines it into the kernels that call it.

    No fast-math at all: the elementary functions need `(x + MAGIC) - MAGIC` and compensated terms to survive.
    """
    return _part(function, forceinline=True)


def helper(function: F) -> F:
    """Compile a step shared by several kernels (a linear solve, one likelihood); called, not necessarily inlined."""
    return _part(function, fastmath=set(FAST))


def _part(function: F, **options: Any) -> F:
    compile_lazily = numba.njit(nogil=True, error_model="numpy", **options)
    dispatcher = compile_lazily(function)
    callable_apart(dispatcher, cache(lambda: compile_lazily(function)))
    return cast(F, dispatcher)


def kernel(signature: str, *, fast: frozenset[str] = FAST) -> Callable[[F], F]:
    """Compile a loop over a whole batch, on import, for exactly these types.

    Parameters
    ----------
    signature : str
        Numba signature, `"void(float64[::1], ...)"`. Other types raise TypeError: no request ever compiles.
    fast : frozenset of str
        LLVM fast-math flags. Never `nnan` or `ninf`: NaN means "missing" here. An empty set means none.
    """

    def compile_(function: F) -> F:
        dispatcher = numba.njit(nogil=True, error_model="numpy", fastmath=set(fast) or False)(function)
        if os.environ.get("BQ_KERNEL_CACHE") != "off":  # off: the vectorisation test reads fresh machine code
            dispatcher._cache = _Cache(function)
        with only_door(function):
            dispatcher.compile(signature)
        dispatcher.disable_compile()
        compiled.append(dispatcher)
        return cast(F, dispatcher)

    return compile_


compiled: Final[list[Any]] = []
"""Every kernel that has been imported, for the warm-up report and the vectorisation test."""


def cache_misses() -> int:
    """Count the kernels that were compiled in this process instead of loaded from the cache."""
    return sum(sum(k.stats.cache_misses.values()) for k in compiled)

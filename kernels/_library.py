"""How the pieces of a kernel become machine code: linked first, then optimised once.

Numba optimises every compiled function and makes machine code of it, before it links it into its callers, where the
same code is optimised again, once a level. A kernel calls steps that call steps, all of which nobody else calls, so
most of the compile time went there. And a step then exists several times under one name, in code of its own and inside
each kernel; which of them a kernel called depended on whether it had been compiled in this process or loaded from the
cache, and two that were optimised apart need not round alike.

So here a function without a door to Python stays what Numba's front end made of it, until a kernel's library links it
in; there everything but the kernel itself becomes private, and all is optimised together.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, Final

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from kernels._front_end import quick

code_of: Final = attrgetter("library")
"""Gives the library of a compile result."""
_WRAPPER = "_ZN7cpython"  # how Numba mangles the wrapper that takes Python objects


class _NeverRun:
    """What a part sees of the code generator: its environment has no address, because it has no machine code."""

    def set_env(self, name: str, env: object) -> None:
        pass


class KernelLibrary(JITCodeLibrary):
    """Code of a kernel, or of a part that waits to be linked into one."""

    _is_part = False

    @property
    def codegen(self) -> Any:
        """The code generator; none for a part."""
        return _NeverRun() if self._is_part else self._codegen

    def finalize(self) -> None:
        """Link everything that is called; where there is a door to Python, optimise it and make machine code."""
        own = [f.name for f in self._final_module.functions if not f.is_declaration]
        self._is_part = not any(name.startswith(_WRAPPER) for name in own)
        self._own = frozenset(own)
        super().finalize()

    def _optimize_functions(self, module: Any) -> None:
        """Simplify what is defined; Numba makes passes for every declaration as well, and there are a hundred."""
        module.data_layout = self._codegen._data_layout
        passes, builder = self._codegen._function_pass_manager()
        for function in module.functions:
            if not function.is_declaration:
                passes.run(function, builder)

    def _optimize_final_module(self) -> None:
        if self._is_part:
            return
        for function in self._final_module.functions:
            if not function.is_declaration and function.name not in self._own:
                function.linkage = "internal"
        super()._optimize_final_module()

    def _finalize_final_module(self) -> None:
        if self._is_part:
            self._finalize_dynamic_globals()
            self._finalized = True
        else:
            super()._finalize_final_module()

    def serialize_using_object_code(self) -> tuple[str, str, tuple[bytes, bytes]]:
        """Give what is stored: machine code, and in place of Numba's bitcode the names that are defined in it.

        Nothing is ever linked against a kernel, and reading the bitcode of all of them takes as long as their code.
        """
        self._ensure_finalized()
        module = self._final_module
        defined = [v.name for part in (module.functions, module.global_variables) for v in part if not v.is_declaration]
        return self.name, "object", (self._get_compiled_object(), "\n".join(defined).encode())

    @classmethod
    def _unserialize(cls, codegen: Any, state: tuple[str, str, tuple[bytes, bytes]]) -> "KernelLibrary":
        name, _, (machine_code, defined) = state
        self: KernelLibrary = codegen.create_library(name)
        self.enable_object_caching()
        self._set_compiled_object(machine_code)
        self._is_part = False
        self._finalize_final_module()
        codegen._engine._defined_symbols.update(defined.decode().split("\n"))
        return self


@contextmanager
def only_door(function: Callable[..., Any]) -> Iterator[None]:
    """Let Numba compile `function` with a door to Python and all that it calls without; no other thread compiles then.

    The garbage collector rests meanwhile: the compiler makes millions of objects, and hardly any garbage in cycles.
    """
    context = cpu_target.target_context
    generator = context.codegen()
    make_wrapper = context.create_cpython_wrapper
    name = (function.__module__, function.__qualname__)

    def wrapper(library: Any, description: Any, *rest: Any, **options: Any) -> None:
        if (description.modname, description.qualname) == name:
            make_wrapper(library, description, *rest, **options)

    with global_compiler_lock:
        usual, collecting = generator._library_class, gc.isenabled()
        generator._library_class = KernelLibrary
        context.create_cpython_wrapper = wrapper
        context.create_cfunc_wrapper = lambda *_: None
        gc.disable()
        try:
            with quick():
                yield
        finally:
            generator._library_class = usual
            del context.create_cpython_wrapper, context.create_cfunc_wrapper
            if collecting:
                gc.enable()


def callable_apart(dispatcher: Any, compile_alone: Callable[[], Any]) -> None:
    """Give a part a twin with a door, compiled when Python calls the part itself, as tests do."""

    def add_overload(result: Any) -> None:
        if getattr(code_of(result), "_is_part", False):  # for callers in compiled code only
            dispatcher.overloads[tuple(result.signature.args)] = result
        else:
            type(dispatcher).add_overload(dispatcher, result)

    dispatcher.add_overload = add_overload
    dispatcher._compile_for_args = lambda *args: compile_alone()._compile_for_args(*args)

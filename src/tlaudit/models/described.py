"""Values, functions and classes said unmistakably: whatever is told alike does the same.

A function is told by its code as it lies in memory, not by its name or its file, and by all that it holds on to or
reaches through global names. Libraries that have a version are told by that, as long as nobody has changed them.
"""

from __future__ import annotations

import enum
import functools
import inspect
import os
import sys
import sysconfig
import types
from collections import deque
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tlaudit.models.bytecode import imported_by, names_in, said

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Parts = Iterator[bytes | memoryview]

_VERSIONED = {"numpy", "timm", "torch", "torchvision"}
"""Packages whose version says what is in them, where they are installed as that; of all others the source is read."""
INSTALLED = {"site-packages", "dist-packages"}
"""Names of the folders that packages are installed in."""
_STDLIB = tuple({sysconfig.get_paths()[which] + os.sep for which in ("stdlib", "platstdlib")})
_EMPTY = object()
_PLAIN = (
    *(type(None), type(...), type(NotImplemented), bool, int, float, complex, str, bytes, bytearray, range),
    *(torch.dtype, torch.device, torch.memory_format),
)
_TENSORS = (torch.Tensor, nn.Parameter, nn.Buffer)
_IN_C = (
    *(types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodWrapperType, types.MethodDescriptorType),
    *(types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType),
)
_CACHED = type(functools.lru_cache(len))
_OF_NO_NUMBER = {"_thread", "abc", "contextvars", "logging", "pathlib", "re", "threading", "types", "typing", "weakref"}
"""Packages of Python whose objects give a network no numbers: loggers, patterns, locks."""
_HOLDERS = (dict, list, tuple, set, frozenset, functools.partial, FunctionType, MethodType, SimpleNamespace, type)
_SAYS_NOTHING = {
    *("__doc__", "__module__", "__qualname__", "__dict__", "__weakref__", "__annotations__", "__annotate__"),
    *("__annotations_cache__", "__parameters__", "__orig_bases__", "__abstractmethods__", "_abc_impl", "__slots__"),
    *("__dataclass_params__", "__dataclass_fields__", "__match_args__", "__static_attributes__", "__firstlineno__"),
}
"""What a class holds that says nothing of what it does, or says it twice."""
_OF_BEGINNINGS = {"__init__", "__setstate__", "___has_generation_tag_patch"}
"""How a library's objects begin, which is behind a network that is there; torch.compile puts others in their place."""
_COPIES_ITSELF = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")
_DEEPEST = 12
_MADE_BY_PYTHON = 1 << 9
"""Flag of classes that can be changed, Py_TPFLAGS_HEAPTYPE."""


class UnknowableError(Exception):
    """Something cannot be told by what it is made of."""


class Description:
    """What is said of one thing and of all that it leads to, each function and class once.

    Attributes:
        places: Names of the modules that classes and functions come from.
    """

    def __init__(self) -> None:
        self.places: set[str] = set()
        self._met: dict[int, int] = {}
        # Held, so that no other object takes the number of one that was met.
        self._waiting: deque[Any] = deque()
        self._told: list[Any] = []
        self._kinds: dict[str, bool] = {}
        self._files: dict[str, bool] = {}

    def trusted(self, place: str) -> bool:
        """Whether a module belongs to a library that its version tells."""
        package = package_of(place)
        if package not in self._kinds:
            file = getattr(sys.modules.get(package), "__file__", None) or ""
            installed = bool(INSTALLED & set(Path(file).parts))
            if package in sys.stdlib_module_names or package == "builtins":
                # A user's own file may be called like a module of Python.
                self._kinds[package] = not file or (file.startswith(_STDLIB) and not installed)
            else:
                # The digest of our own source stands beside each identity.
                self._kinds[package] = package == "tlaudit" or (package in _VERSIONED and installed)
        return self._kinds[package]

    def own(self, place: str) -> bool:
        """Whether a module is a user's own, neither a library's nor installed."""
        file = getattr(sys.modules.get(place), "__file__", None) or ""
        return not self.trusted(place) and not INSTALLED & set(Path(file).parts)

    def value(self, value: Any, depth: int = _DEEPEST) -> Parts:
        """Say a value; functions and classes in it are said by `rest`.

        Raises:
            UnknowableError: If there is something in it that cannot be told.
        """
        if depth == 0:
            raise UnknowableError
        below = functools.partial(self.value, depth=depth - 1)
        if type(value) in _PLAIN:
            yield f"{type(value).__name__}:{value!r};".encode(errors="surrogatepass")
        elif isinstance(value, torch.Tensor):
            yield from self.tensor(value)
        elif isinstance(value, np.ndarray | np.generic):
            yield from _array(np.asarray(value))
        elif isinstance(value, type):
            yield self._later(value)
        elif isinstance(value, enum.Enum):
            yield from (self._later(type(value)), f".{value.name};".encode())
        elif isinstance(value, dict | list | tuple | set | frozenset):
            yield from self._container(value, depth)
        elif isinstance(value, functools.partial | functools.partialmethod):
            yield f"{type(value).__name__}:".encode()
            yield from below((value.func, value.args, value.keywords))
        elif isinstance(value, classmethod | staticmethod):
            yield f"{type(value).__name__}:".encode()
            yield from below(value.__func__)
        elif isinstance(value, property | functools.cached_property):
            kept = (value.fget, value.fset, value.fdel) if isinstance(value, property) else value.func
            yield f"{type(value).__name__}:".encode()
            yield from below(kept)
        elif isinstance(value, (FunctionType, MethodType, *_IN_C)):
            yield from self._routine(value, depth)
        elif isinstance(value, _CACHED):
            yield from below(value.__wrapped__)
        else:
            yield from self._object(value, depth)

    def tensor(self, tensor: torch.Tensor) -> Parts:
        """Say a tensor: its numbers, and how they lie in memory, on which the way they are summed depends."""
        if type(tensor) not in _TENSORS or tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
            raise UnknowableError
        yield f"{tensor.dtype}{tuple(tensor.shape)}{tensor.stride()}:".encode()
        flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data

    def rest(self) -> Parts:
        """Say the functions and classes that have been met, and all that they lead to.

        Raises:
            UnknowableError: If there is something that cannot be told.
        """
        while self._waiting:
            thing = self._waiting.popleft()
            self._told.append(thing)
            yield f"\n#{self._met[id(thing)]} ".encode()
            yield from self._class(thing) if isinstance(thing, type) else self._function(thing)

    def slots(self, value: object) -> Parts:
        """Say what an object holds beside its dictionary."""
        for kind in type(value).__mro__:
            for name, member in sorted(vars(kind).items()) if "__slots__" in vars(kind) else ():
                if inspect.ismemberdescriptor(member):
                    held = getattr(value, member.__name__, _EMPTY)
                    yield f"{name}=".encode()
                    yield from (b"empty;",) if held is _EMPTY else self.value(held)

    def _later(self, thing: Any) -> bytes:
        """Name a function or class by the place at which it was met, and say it when it is its turn."""
        if id(thing) not in self._met:
            self._met[id(thing)] = len(self._met)
            self._waiting.append(thing)
        return f"{thing.__module__}.{thing.__qualname__}#{self._met[id(thing)]};".encode()

    def _container(self, value: Any, depth: int) -> Parts:
        below = functools.partial(self.value, depth=depth - 1)
        kind = type(value)
        if kind not in {dict, list, tuple, set, frozenset}:
            yield self._later(kind)
            yield from below([vars(value) if hasattr(value, "__dict__") else {}])
            yield from below(getattr(value, "default_factory", None))
        yield f"{kind.__name__}({len(value)}):".encode()
        if isinstance(value, set | frozenset):
            # Their order is another one in each process.
            yield from sorted(b"".join(below(part)) for part in value)
            return
        for part in list(value.items()) if isinstance(value, dict) else value:
            yield from below(part)

    def _object(self, value: Any, depth: int) -> Parts:
        """Say an object that is nothing but its class and what is stored in it."""
        kind = type(value)
        if kind is object or isinstance(value, nn.Module | ModuleType):
            raise UnknowableError
        if isinstance(value, SimpleNamespace):
            state: Any = vars(value)
        elif is_dataclass(value):
            state = [{one.name: getattr(value, one.name) for one in fields(value)}, getattr(value, "__dict__", {})]
        elif any(name in vars(one) for one in kind.__mro__[:-1] for name in _COPIES_ITSELF):
            raise UnknowableError
        else:
            try:
                # Python refuses where a part written in C may hold more than can be seen.
                state = object.__reduce_ex__(value, 2)[2:]
            except TypeError:
                raise UnknowableError from None
        yield self._later(kind)
        yield from self.value(state, depth - 1)

    def _routine(self, value: Any, depth: int) -> Parts:
        if isinstance(value, FunctionType):
            yield self._later(value)
            return
        owner = getattr(value, "__self__", None)
        if isinstance(value, MethodType):
            yield from self.value((value.__func__, owner), depth - 1)
            return
        if isinstance(owner, type):
            yield self._later(owner)
        elif owner is not None and not inspect.ismodule(owner):
            raise UnknowableError
        place = getattr(value, "__module__", None) or getattr(getattr(value, "__objclass__", None), "__module__", None)
        self.places.add(place or "builtins")
        yield f"{place}.{value.__qualname__};".encode()

    def _function(self, function: FunctionType) -> Parts:
        """Say a function: its code, all it holds on to and, of a user's own, what its global names stand for."""
        place = function.__globals__.get("__name__") or ""
        self.places |= {place, function.__module__ or place}
        if self.trusted(place):
            yield from self._standing(function)
            kept = {name: held for name, held in vars(function).items() if name == "__wrapped__"}
        else:
            yield from said(function.__code__)
            kept = vars(function)
        yield from self.value((function.__defaults__, function.__kwdefaults__, kept))
        for cell in function.__closure__ or ():
            try:
                held = cell.cell_contents
            except ValueError:
                yield b"empty;"
            else:
                yield from self.value(held)
        if self.own(place):
            yield from self._reached(function)

    def unchanged(self, function: FunctionType) -> Parts:
        """Say a function of a library by where it stands there, and so each one that it is wrapped around.

        Raises:
            UnknowableError: If it comes from elsewhere.
        """
        layer: Any = function
        while isinstance(layer, FunctionType):
            yield from self._standing(layer)
            layer = vars(layer).get("__wrapped__")

    def _standing(self, function: FunctionType) -> Parts:
        code = function.__code__
        yield f"{function.__qualname__}:{code.co_firstlineno}:{code.co_name};".encode()
        if code.co_filename == "<string>":
            # Python writes some methods itself, as of dataclasses.
            yield from said(code)
        elif not self._is_of_a_library(code.co_filename):
            raise UnknowableError

    def _is_of_a_library(self, file: str) -> bool:
        if file not in self._files:
            ours = file.startswith(self._folders)
            self._files[file] = ours or (file.startswith(_STDLIB) and not INSTALLED & set(Path(file).parts))
        return self._files[file]

    @functools.cached_property
    def _folders(self) -> tuple[str, ...]:
        """Beginnings of the names of files whose functions are those of a library that is told by its version."""
        trusted = [name for name in (*sorted(_VERSIONED), "tlaudit") if name in sys.modules and self.trusted(name)]
        files = [getattr(sys.modules[name], "__file__", None) for name in trusted]
        return ("<frozen ", *(f"{Path(file).parent}{os.sep}" for file in files if file))

    def _class(self, kind: type) -> Parts:
        """Say a class: its bases, its methods and what else it holds."""
        yield f"{kind.__module__}.{kind.__qualname__}<".encode()
        self.places.add(kind.__module__)
        if not kind.__flags__ & _MADE_BY_PYTHON:
            return
        trusted = self.trusted(kind.__module__)
        if type(kind) is not type:
            yield self._later(type(kind))
        for base in kind.__bases__:
            yield self._later(base)
        for name, value in sorted(vars(kind).items()):
            if name in _SAYS_NOTHING or (trusted and name in _OF_BEGINNINGS):
                continue
            yield f"{name}=".encode()
            if inspect.isdatadescriptor(value) and not isinstance(value, property) and trusted:
                continue
            if trusted:
                yield from self._of_a_library(value)
            elif inspect.ismemberdescriptor(value) or inspect.isgetsetdescriptor(value):
                yield b"slot;"
            else:
                yield from self._leniently(value)

    def _of_a_library(self, value: Any) -> Parts:
        """Say what a class of a library holds, of its functions only which they are."""
        held = [value]
        if isinstance(value, classmethod | staticmethod):
            held = [value.__func__]
        elif isinstance(value, property):
            held = [value.fget, value.fset, value.fdel]
        for one in held:
            if isinstance(one, FunctionType):
                yield from self.unchanged(one)
            elif not isinstance(one, (type, *_IN_C)):
                yield from self._leniently(one, library=True)

    def _leniently(self, value: Any, *, library: bool = False) -> Parts:
        """Say what stands beside a network, and pass over what gives no number; a library may hold what it likes."""
        try:
            parts = list(self.value(value))
        except UnknowableError:
            kind = type(value)
            if kind is not object and package_of(kind.__module__) not in _OF_NO_NUMBER:
                if not library or isinstance(value, (nn.Module, torch.Tensor, *_HOLDERS)):
                    raise
                if not self.trusted(kind.__module__):
                    raise
            parts = [f"{type(value).__module__}.{type(value).__qualname__};".encode()]
        yield from parts

    def _reached(self, function: FunctionType) -> Parts:
        """Say what the global names in a function stand for, and what it imports when it runs."""
        names = sorted(names_in(function.__code__))
        for name in names:
            if name in function.__globals__:
                yield f"{name}=".encode()
                yield from self._bound(function.__globals__[name], names, _DEEPEST)
        for place in sorted(set(imported_by(function.__code__, function.__globals__.get("__package__") or ""))):
            if not self.trusted(place):
                # Of what has not been imported yet nothing can be said.
                if place not in sys.modules:
                    raise UnknowableError
                yield from self._bound(sys.modules[place], names, _DEEPEST)

    def _bound(self, value: Any, names: Iterable[str], depth: int) -> Parts:
        """Say what a global name stands for; of a user's own module what of it goes by one of the names beside it."""
        if not isinstance(value, ModuleType):
            yield from self._leniently(value)
            return
        place = value.__name__
        yield f"module:{place};".encode()
        if isinstance(getattr(value, "__file__", None), str):
            self.places.add(place)
        if self.own(place) and depth:
            for name in names:
                if name in vars(value):
                    yield f"{name}=".encode()
                    yield from self._bound(vars(value)[name], names, depth - 1)


def package_of(place: str | None) -> str:
    """Name the package that a module lies in."""
    return (place or "").partition(".")[0]


def _array(array: np.ndarray[Any, Any]) -> Parts:
    if array.dtype.hasobject:
        raise UnknowableError
    yield f"{array.dtype.str}{array.shape}:".encode()
    yield np.ascontiguousarray(array).tobytes()

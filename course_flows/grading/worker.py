"""What runs inside the lock: holds the student's code and answers the grader's requests.

Nothing here is trusted by the grader: the student's code shares this process and may change all of it.
"""

from __future__ import annotations

import builtins
import math
import os
import random
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_flows.grading.notebooks import submission_sources
from course_flows.grading.protocol import (
    PREFIX,
    Bundle,
    Failure,
    Message,
    Opaque,
    Ref,
    Reply,
    Request,
    decode,
    encode,
    sizes_of_prefix,
)
from course_flows.grading.values import Packer, Unpacker

__all__ = ["serve"]


class MissingNameError(Exception):
    """The notebook does not define what the grader asks for."""


class Workspace:
    """The namespace of a notebook, the objects the grader holds handles of, and what can be asked of them."""

    def __init__(self) -> None:
        module = types.ModuleType("__main__")
        module.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = module
        self.namespace = module.__dict__
        self.objects: dict[int, Any] = {}
        self.last_object = 0

    def keep(self, value: Any) -> Ref:
        """Store an object and return its number."""
        self.last_object += 1
        self.objects[self.last_object] = value
        return Ref(self.last_object)

    def resolve(self, target: Any) -> Callable[..., Any]:
        """Return what a request's target names: a name of the notebook, or an object that can be called."""
        if isinstance(target, str):
            if target not in self.namespace:
                raise MissingNameError(f"the notebook does not define {target}")
            return self.namespace[target]
        return target

    def run_cell(self, name: str, source: str) -> None:
        """Execute one cell of the notebook."""
        exec(compile(source, f"<cell {name}>", "exec", dont_inherit=True), self.namespace)

    def define(self, source: str, name: str) -> Any:
        """Execute a helper of the suite in a namespace of its own and return what it calls ``name``."""
        namespace: dict[str, Any] = {"__name__": "suite_helper", "torch": torch, "math": math}
        exec(compile(source, "<suite helper>", "exec", dont_inherit=True), namespace)
        return namespace[name]

    def read_notebook(self, data: Tensor) -> Any:
        """Return the exercise and the solution cells that a submitted notebook holds."""
        return submission_sources(data.numpy().tobytes())

    def reset(self) -> None:
        """Forget every object that the grader held a handle of."""
        self.objects.clear()

    def parameters(self, module: torch.nn.Module) -> dict[str, Tensor]:
        """Return the parameters of a module by name."""
        return dict(module.named_parameters())

    def set_parameters(self, module: torch.nn.Module, new: dict[str, Tensor]) -> None:
        """Give a module's parameters new values; names and shapes must agree."""
        old = dict(module.named_parameters())
        if set(old) != set(new):
            raise ValueError(f"the parameters are called {sorted(old)}, not {sorted(new)}")
        with torch.no_grad():
            for name, value in new.items():
                if old[name].shape != value.shape:
                    raise ValueError(f"parameter {name} has shape {tuple(old[name].shape)}, not {tuple(value.shape)}")
                old[name].copy_(value)

    def state_dict(self, module: torch.nn.Module) -> dict[str, Tensor]:
        """Return a module's state dictionary."""
        return dict(module.state_dict())

    def load_state_dict(self, module: torch.nn.Module, state: dict[str, Tensor]) -> None:
        """Load a module's state dictionary."""
        module.load_state_dict(state)

    def gradients(
        self, module: torch.nn.Module, method: str, output: int | None, args: list[Any], kwargs: dict[str, Any]
    ) -> dict[str, Tensor | None]:
        """Return the gradient of the sum of a method's output for every parameter."""
        names = dict(module.named_parameters())
        total = _sum(getattr(module, method)(*args, **kwargs), output)
        if not total.requires_grad:
            return dict.fromkeys(names)
        found = torch.autograd.grad(total, list(names.values()), allow_unused=True)
        return dict(zip(names, found))

    def input_gradient(
        self, target: Any, wrt: int, output: int | None, args: list[Any], kwargs: dict[str, Any]
    ) -> Tensor | None:
        """Return the gradient of the sum of a call's output for one of its arguments."""
        args[wrt] = args[wrt].detach().clone().requires_grad_(True)
        total = _sum(self.resolve(target)(*args, **kwargs), output)
        if not total.requires_grad:
            return None
        return torch.autograd.grad(total, args[wrt], allow_unused=True)[0]

    def answer(self, request: Request, views: list[memoryview]) -> tuple[Any, bool]:
        """Do what a request asks; return the result and whether it may hold objects to keep."""
        unpacker = Unpacker(views, self.objects.__getitem__)
        target = unpacker.unpack(request.target)
        args = [unpacker.unpack(value) for value in request.args]
        kwargs = unpacker.unpack(request.kwargs)
        torch.default_generator.manual_seed(request.seed)
        np.random.seed(request.seed % 2**32)  # noqa: NPY002  (student code may draw from it)
        random.seed(request.seed)
        torch.set_grad_enabled(True)  # whatever an earlier call left behind
        if request.action == "call":
            return self.resolve(target)(*args, **kwargs), True
        method = getattr(self, request.action)
        return method(*args, **kwargs), request.action == "define"


def _sum(result: Any, output: int | None) -> Tensor:
    if output is not None:
        result = result[output]
    if isinstance(result, (tuple, list)):
        return torch.stack([part.sum() for part in result]).sum()
    return result.sum()


def serve(read_fd: int, write_fd: int, reply_bytes: int) -> None:
    """Answer requests until the grader closes its end."""
    workspace = Workspace()
    while True:
        prefix = _read(read_fd, PREFIX.size)
        if prefix is None:
            return
        header_bytes, body_bytes = sizes_of_prefix(prefix)
        header, body = _read(read_fd, header_bytes), _read(read_fd, body_bytes)
        if header is None or body is None:
            return
        request, views = decode(header, body)
        if not isinstance(request, Request):
            return
        frame = _respond(workspace, request, views)
        if len(frame) > reply_bytes:
            text = f"the result takes {len(frame)} bytes, at most {reply_bytes} are allowed"
            frame = encode(Failure(request.call, "student", text))
        _write(write_fd, frame)


def _respond(workspace: Workspace, request: Request, views: list[memoryview]) -> bytes:
    try:
        result, may_keep = workspace.answer(request, views)
        packer = Packer(lambda value: Opaque(_type_name(value)))
        layout = request.layout if may_keep else None
        value = _pack_by_layout(workspace, packer, result, layout)
        message: Message = Reply(request.call, value)
        return encode(message, packer.bodies)
    except MissingNameError as error:
        return encode(Failure(request.call, "missing", str(error)))
    except BaseException as error:
        return encode(Failure(request.call, "student", _describe(error)))


def _pack_by_layout(workspace: Workspace, packer: Packer, result: Any, layout: Any) -> Any:
    if layout is True:
        return None if result is None else workspace.keep(result)
    if isinstance(layout, Bundle) and isinstance(result, (tuple, list)):
        parts = list(tuple.__iter__(result) if isinstance(result, tuple) else list.__iter__(result))
        if len(parts) == len(layout.items):
            return Bundle([_pack_by_layout(workspace, packer, *pair) for pair in zip(parts, layout.items)])
    return packer.pack(result)


def _type_name(value: Any) -> str:
    return type(value).__name__[:80]


def _describe(error: BaseException) -> str:
    """Say what was raised and in which line of which cell, without trusting the exception."""
    try:
        text = str(error)[:600]
    except BaseException:
        text = ""
    name = _type_name(error)
    if isinstance(error, SyntaxError):
        return f"{name} in line {error.lineno}: {error.msg}"[:800]
    where = ""
    frame = error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if file.startswith("<cell "):
            where = f" (line {frame.tb_lineno} of the cell {file[6:-1]})"
        frame = frame.tb_next
    return f"{name}: {text}{where}" if text else f"{name}{where}"


def _read(fd: int, size: int) -> bytearray | None:
    data = bytearray(size)
    view = memoryview(data)
    done = 0
    while done < size:
        count = os.readv(fd, [view[done:]])
        if count == 0:
            return None
        done += count
    return data


def _write(fd: int, frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        view = view[os.write(fd, view) :]

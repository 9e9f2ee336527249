"""The student's notebook as hidden suites see it: functions to call and handles of objects that stay in the worker."""

from __future__ import annotations

import hashlib
from typing import Any, NoReturn

from torch import Tensor

from course_flows.grading import specs
from course_flows.grading.protocol import Opaque
from course_flows.grading.session import Reference, RefusedError, Session, StudentError
from course_flows.grading.text import one_line

__all__ = ["Handle", "Student"]


class Student:
    """What the notebook defined. ``student.NAME(*args, returns=SPEC, seed=None, **kwargs)`` calls it.

    Arguments may be None, bool, int, float, str, tensors, handles and lists, tuples or dictionaries of these.
    Each call sets torch's, numpy's and Python's random state from ``seed``, or from the test and the call's number.
    """

    def __init__(self, session: Session, name: str, seed: int) -> None:
        self._session = session
        self._name = name
        self._seed = seed
        self._calls = 0

    def __getattr__(self, name: str) -> _Caller:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Caller(self, name, name)

    def define(self, source: str, name: str) -> Handle:
        """Run trusted helper source in the worker, with torch and math, and return a handle of its ``name``."""
        result = self._request("define", None, [source, name], {}, None, layout=True)
        if not isinstance(result, Handle):
            raise StudentError("the helper of the suite could not be defined")
        return result

    def parameters(self, module: Handle) -> dict[str, Tensor]:
        """Return the parameters of a module by name."""
        return _tensors(self._request("parameters", None, [module], {}, None), "the parameters", optional=False)

    def set_parameters(self, module: Handle, new: dict[str, Tensor]) -> None:
        """Give the parameters of a module new values; names and shapes must agree."""
        self._request("set_parameters", None, [module, new], {}, None)

    def state_dict(self, module: Handle) -> dict[str, Tensor]:
        """Return the state dictionary of a module."""
        return _tensors(self._request("state_dict", None, [module], {}, None), "the state dictionary", optional=False)

    def load_state_dict(self, module: Handle, state: dict[str, Tensor]) -> None:
        """Load the state dictionary of a module."""
        self._request("load_state_dict", None, [module, state], {}, None)

    def gradients(
        self, module: Handle, method: str, *args: Any, output: int | None = None, seed: int | None = None, **kwargs: Any
    ) -> dict[str, Tensor | None]:
        """Return, for every parameter, the gradient of the sum of a method's output (of one output, if selected).

        A parameter on which the output does not depend has None.
        """
        found = self._request("gradients", None, [module, method, output, list(args), kwargs], {}, seed)
        return _tensors(found, "the gradients", optional=True)

    def input_gradient(
        self,
        target: str | BoundMethod | Handle,
        *args: Any,
        wrt: int = 0,
        output: int | None = None,
        returns: specs.Spec,
        seed: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the gradient of the sum of a call's output (of one output, if selected) for argument ``wrt``."""
        found = self._request("input_gradient", None, [target, wrt, output, list(args), kwargs], {}, seed)
        return self._checked(found, returns, "the gradient")

    def _request(
        self,
        action: str,
        target: Any,
        args: list[Any],
        kwargs: dict[str, Any],
        seed: int | None,
        layout: Any = None,
    ) -> Any:
        self._calls += 1
        if seed is None:
            digest = hashlib.sha256(f"{self._seed}:{self._name}:{self._calls}".encode()).digest()
            seed = int.from_bytes(digest[:7], "big")
        return self._handles(self._session.request(action, target, args, kwargs, seed, layout))

    def _call(self, target: Any, what: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if "returns" not in kwargs:
            raise TypeError(f"the call of {what} declares no return: pass returns=tensor(...), scalar(), handle() …")
        returns, seed = kwargs.pop("returns"), kwargs.pop("seed", None)
        result = self._request("call", target, list(args), kwargs, seed, specs.layout(returns))
        return self._checked(result, returns, f"the result of {what}")

    def _checked(self, value: Any, spec: specs.Spec, what: str) -> Any:
        try:
            return specs.check(value, spec, Handle, what)
        except ValueError as error:
            raise RefusedError(one_line(str(error))) from None

    def _handles(self, value: Any) -> Any:
        if isinstance(value, Reference):
            return Handle(self, value)
        if isinstance(value, (list, tuple)):
            return type(value)(self._handles(item) for item in value)
        if isinstance(value, dict):
            return {one_line(key, 120): self._handles(item) for key, item in value.items()}
        return value


class _Caller:
    """A function of the notebook or a method of an object, waiting to be called."""

    def __init__(self, student: Student, target: Any, what: str) -> None:
        self._student = student
        self._target = target
        self._what = what

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._student._call(self._target, self._what, args, kwargs)


class BoundMethod:
    """A method of an object in the worker, to be passed as an argument."""

    def __init__(self, owner: Handle, name: str) -> None:
        self._owner = owner
        self._name = name

    def course_flows_wire(self) -> tuple[Reference, str]:
        """Return the address of the object and the method's name."""
        return self._owner.course_flows_wire()[0], self._name


class Handle:
    """An object that stays in the worker. Its methods can be called; nothing about it can be believed.

    Truth, comparison, iteration, length and conversion raise: an object could answer them with lies.
    """

    def __init__(self, student: Student, reference: Reference) -> None:
        self._student = student
        self._reference = reference

    def __getattr__(self, name: str) -> _Caller:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Caller(self._student, self.bound(name), name)

    def course_flows_wire(self) -> tuple[Reference, None]:
        """Return the address of the object."""
        return self._reference, None

    def bound(self, method: str) -> BoundMethod:
        """Return a method of the object, to be passed as an argument of a call."""
        return BoundMethod(self, method)

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("a handle has no truth, number, length or items: call a method and declare what it returns")

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __iter__ = __len__ = __float__ = __int__ = __index__ = __contains__ = __getitem__ = _refuse
    __hash__ = None  # type: ignore[assignment]  # as Python says it: not hashable


def _tensors(found: Any, what: str, optional: bool) -> dict[str, Any]:
    if type(found) is not dict:
        raise RefusedError(f"{what} must be a dictionary of tensors, found {specs.describe(found)}")
    for name, value in found.items():
        if not (type(value) is Tensor or (optional and value is None)):
            shown = specs.describe(value) if isinstance(value, Opaque) else type(value).__name__
            raise RefusedError(one_line(f"{what} must be tensors, found {shown} for {name}"))
    return Named(found, what)


class Named(dict[str, Any]):
    """A dictionary by name that says in a sentence which name is missing."""

    def __init__(self, found: dict[str, Any], what: str) -> None:
        super().__init__(found)
        self._what = what

    def __missing__(self, name: str) -> NoReturn:
        known = ", ".join(self) or "none"
        raise RefusedError(one_line(f"{self._what} have no entry {name}; there are: {known}"))

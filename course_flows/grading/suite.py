"""What hidden suites import. A suite runs in the trusted process and never holds the student's code.

    @property_of("affine-density", "A decreasing map has a density too.", hint_link="ch-change-of-variables")
    def test_decreasing_map(student, rng):
        x = torch.randn(7, dtype=torch.float64, generator=rng)
        found = student.affine_log_density(x, -2.0, 0.5, returns=tensor(7))
        assert_close(found, expected, 1e-10)

A failing check shows the student the sentence of its property and the text of `PropertyError` (the helpers raise it),
of `StudentError` or of a plain ``assert condition, "a sentence"``: write no inputs and no solutions into them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from course_flows.grading.properties import (
    PropertyError,
    assert_close,
    finite_difference_jacobian,
    finite_difference_log_det,
    same_distribution,
    shuffled,
    total_mass,
)
from course_flows.grading.remote import Handle, Student
from course_flows.grading.session import StudentError
from course_flows.grading.specs import boolean, handle, integer, scalar, tensor

__all__ = [
    "Handle",
    "Property",
    "PropertyError",
    "Student",
    "StudentError",
    "assert_close",
    "boolean",
    "finite_difference_jacobian",
    "finite_difference_log_det",
    "handle",
    "integer",
    "property_of",
    "same_distribution",
    "scalar",
    "shuffled",
    "tensor",
    "total_mass",
]

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Property:
    """The task a hidden test belongs to, and the sentence that a student reads when it fails."""

    task: str
    sentence: str
    hint_link: str | None


def property_of(task: str, sentence: str, *, hint_link: str | None = None) -> Callable[[Function], Function]:
    """Mark a hidden test as checking a property of a task.

    ``sentence`` says in words what holds for a right answer; ``hint_link`` is the label of a place in the book.
    """

    def mark(function: Function) -> Function:
        function.course_flows_property = Property(task, sentence, hint_link)  # type: ignore[attr-defined]  # read by the plugin
        return function

    return mark

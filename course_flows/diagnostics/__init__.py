"""The flow doctor: measures every layer of a flow at given points and says in sentences what is wrong."""

from course_flows.diagnostics.doctor import diagnose
from course_flows.diagnostics.report import Diagnosis, LayerReport
from course_flows.diagnostics.walk import Visit, walk

__all__ = ["Diagnosis", "LayerReport", "Visit", "diagnose", "walk"]

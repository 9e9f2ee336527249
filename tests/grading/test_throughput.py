"""The recorded measurement of the grader's speed: complete, and within what is promised."""

from __future__ import annotations

import json

from measure_throughput import JOBS, RESULT, SUBMISSIONS


def test_the_recorded_throughput() -> None:
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    assert (found["submissions"], found["jobs"], found["visible_stage"]) == (SUBMISSIONS, JOBS, False)
    assert found["isolation"] in ("namespaces", "landlock")
    assert found["alone_seconds_warm"] < 10
    assert found["class_seconds_per_submission"] < found["alone_seconds_with_start"]
    assert 0 < found["with_full_points"] < found["submissions"]

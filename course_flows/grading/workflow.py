"""A GitHub Actions workflow for an instructor's private repository, printed by ``course-flows workflow``.

The jobs that run student code have no secrets, no token of theirs is kept in the checkout, and all they can do is to
leave artifacts. A job of its own, which runs no student code, puts the shards together and publishes.
"""

from __future__ import annotations

__all__ = ["workflow_text"]

TEMPLATE = """\
# Grades the folder submissions/ of this private repository. Written by `course-flows workflow`.
# The repository holds the course (solutions/, tests/hidden/, tests/answers/, book/) beside submissions/.
name: grade

on:
  workflow_dispatch:
    inputs:
      deadline:
        description: "Deadline, like 2026-03-01T12:00+01:00 (empty: none)"
        default: ""
        type: string

# Nothing that the jobs do not ask for; no job asks to write.
permissions: {}

jobs:
  grade:
    # This job runs student code: it sees no secrets and has no right to write anything.
    runs-on: ubuntu-24.04
    permissions:
      contents: read
    timeout-minutes: 120
    strategy:
      fail-fast: false
      matrix:
        shard: [@SHARDS@]
    steps:
      - uses: actions/checkout@v4
        with:
          persist-credentials: false
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - name: Install the sandbox and the grader
        run: |
          sudo apt-get update
          sudo apt-get install --yes bubblewrap libseccomp2
          python -m venv "$RUNNER_TEMP/grader"
          locked() { "$RUNNER_TEMP/grader/bin/pip" install --require-hashes --no-deps --only-binary :all: "$@"; }
          locked --index-url https://download.pytorch.org/whl/cpu --requirement requirements-cpu.lock
          locked --requirement requirements-grader.lock
          "$RUNNER_TEMP/grader/bin/pip" install --no-deps --no-build-isolation --editable .
      - name: Say which isolation there is, stop where there is none
        run: '"$RUNNER_TEMP/grader/bin/course-flows" isolation'
      - name: Grade
        env:
          DEADLINE: ${{ inputs.deadline }}
          SHARD: ${{ matrix.shard }}
        run: |
          "$RUNNER_TEMP/grader/bin/course-flows" grade submissions --course . --report results \\
            --shard "$SHARD/@COUNT@" ${DEADLINE:+--deadline "$DEADLINE"}
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: shard-${{ matrix.shard }}
          path: results
          include-hidden-files: false
          if-no-files-found: error
          retention-days: 14

  publish:
    # This job runs no student code. To send results elsewhere, add a step here and its secret to this job alone.
    needs: grade
    runs-on: ubuntu-24.04
    permissions:
      contents: read
    timeout-minutes: 20
    steps:
      - uses: actions/checkout@v4
        with:
          persist-credentials: false
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - name: Install the grader
        run: |
          python -m venv "$RUNNER_TEMP/grader"
          locked() { "$RUNNER_TEMP/grader/bin/pip" install --require-hashes --no-deps --only-binary :all: "$@"; }
          locked --index-url https://download.pytorch.org/whl/cpu --requirement requirements-cpu.lock
          locked --requirement requirements-grader.lock
          "$RUNNER_TEMP/grader/bin/pip" install --no-deps --no-build-isolation --editable .
      - uses: actions/download-artifact@v4
        with:
          pattern: shard-*
          path: shards
      - name: Put the shards together
        run: |
          "$RUNNER_TEMP/grader/bin/course-flows" merge shards/* --report class
          cat class/summary.md >> "$GITHUB_STEP_SUMMARY"
      - uses: actions/upload-artifact@v4
        with:
          name: class
          path: class
          if-no-files-found: error
          retention-days: 90
"""


def workflow_text(shards: int = 1) -> str:
    """Return the text of the workflow with so many grading jobs.

    Raises ValueError for less than one job or more than 64.
    """
    if not 1 <= shards <= 64:
        raise ValueError(f"A workflow has 1 to 64 grading jobs, found {shards}.")
    numbers = ", ".join(str(number) for number in range(1, shards + 1))
    return TEMPLATE.replace("@SHARDS@", numbers).replace("@COUNT@", str(shards))

"""Whether the installed package works at all: python tests/smoke.py, with nothing installed beside the package.

It evaluates a flow, samples it, and trains one for a few steps by the command line. On systems where the whole suite
does not run, continuous integration runs this.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import torch

import course_flows
from course_flows.models import nice

PROGRAM = Path(sysconfig.get_path("scripts")) / "course-flows"
TRAINING = ("--preset", "nice-digits", "--steps", "20", "--device", "cpu", "--samples", "4")


def run(*words: str) -> str:
    """Run the installed command and return what it printed."""
    done = subprocess.run([str(PROGRAM), *words], capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, f"course-flows {words[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def check_a_flow() -> None:
    """The density of samples is finite, and the inverse leads back."""
    torch.manual_seed(0)
    flow = nice((6,), hidden=(16,))
    x = flow.sample((5,))
    assert x.shape == (5, 6)
    assert torch.isfinite(flow.log_prob(x)).all()
    z, logdet = flow.transform(x)
    back, inverse_logdet = flow.transform.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)
    torch.testing.assert_close(inverse_logdet, -logdet)


def check_the_command() -> None:
    """It tells its version, trains, evaluates and samples."""
    assert run("--version").strip().endswith("0.1.0")
    assert "Train a flow" in run("train", "--help")
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "nice")
        run("train", "--out", out, *TRAINING)
        assert "bits" in run("evaluate", out, "--split", "test", "--device", "cpu")
        sheet = Path(folder) / "samples.png"
        run("sample", out, "-n", "4", "--out", str(sheet), "--device", "cpu")
        assert sheet.stat().st_size > 0


if __name__ == "__main__":
    check_a_flow()
    check_the_command()
    sys.stdout.write(f"course_flows in {Path(course_flows.__file__).parent}, torch {torch.__version__}: works\n")

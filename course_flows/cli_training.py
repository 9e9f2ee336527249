"""The commands of ``course-flows`` that train flows. What they need is imported when they run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

__all__ = ["COMMANDS"]

A_PATH = click.Path(path_type=Path)
RUN = click.argument("run", type=A_PATH)
DATA_DIR = click.option("--data-dir", type=A_PATH, help="Folder of the data files. [default: COURSE_FLOWS_DATA]")
DEVICE = click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
WHICH = click.option("--checkpoint", "which", type=click.Choice(["best", "last"]), default="best", show_default=True)


@click.command()
@click.option("--out", "folder", type=A_PATH, required=True, help="Folder of the run.")
@click.option("--resume", is_flag=True, help="Go on with the run in that folder; start it where there is none yet.")
@click.option("--preset", help="Model, data and training of a paper, or of a laptop, like nice-digits.")
@click.option("--model", help="Instead of a preset: nice, real-nvp, real-nvp-flat, glow, made, maf or iaf.")
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="An option of the model, like hidden=64,64.")
@click.option(
    "--data", help="digits, mnist, fashion-mnist, cifar10, bsds300, two-moons and other toy sets, or a table."
)
@DATA_DIR
@click.option("--subset", type=int, help="Train on the first so many images or rows only.")
@click.option("--validation", type=int, help="So many of the last training images are for validation.")
@click.option(
    "--drop-missing", is_flag=True, default=None, help="Leave out rows of a table with a missing value (NaN)."
)
@click.option("--epochs", type=float, help="Length of the whole run.")
@click.option("--steps", type=int, help="Length of the whole run, in place of epochs.")
@click.option("--max-seconds", type=float, help="End the run when it has trained for so long, all its parts together.")
@click.option(
    "--patience",
    type=int,
    help="End the run after so many validations in a row that were no better than the best; 0 for never. [default: 0]",
)
@click.option("--batch-size", type=int)
@click.option("--lr", type=float, help="Largest learning rate.")
@click.option("--schedule", help="constant, or cosine: down to zero at the last step. [default: constant]")
@click.option("--warmup", type=int, help="Steps over which the learning rate rises. [default: 0]")
@click.option("--optimizer", help="adam or adamw. [default: adam]")
@click.option("--weight-decay", type=float)
@click.option("--clip", type=float, help="Largest norm of the gradient; 0 for no clipping. [default: 0]")
@click.option(
    "--ema", type=float, help="Decay of a moving average of the weights, which is then used; 0 for none. [default: 0]"
)
@click.option("--seed", type=int, help="Of weights, order and noise. [default: 0]")
@DEVICE
@click.option("--precision", help="float32, or bf16 for the networks inside the flow. [default: float32]")
@click.option("--eval-every", type=int, help="Steps between validations. [default: a twentieth of the run, up to 1000]")
@click.option("--checkpoint-every", type=int, help="Steps between checkpoints. [default: the same]")
@click.option("--log-every", type=int, help="Steps between records of the log. [default: 50]")
@click.option(
    "--samples", type=int, help="Images on the sheet of each checkpoint (tables: no sheet); 0 for none. [default: 64]"
)
def train(folder: Path, resume: bool, device: str, data_dir: Path | None, **settings: Any) -> None:
    """Train a flow by maximum likelihood; log, checkpoints and sample sheets go to the folder of the run.

    What is not given comes from the preset, and what the preset leaves open from the defaults below.

    A table is iris, wine, breast_cancer or diabetes, or the stem of an .npz file (array x) or a .csv file (a line of
    column names, lines of numbers) in the folder of data. It is split and standardized by a fixed rule, see
    course_flows.data.split_table.

    Ctrl-C and SIGTERM save first (exit status 130 and 143); --resume goes on where the run stopped, on a CPU with the
    same bits as without the stop. Exit status 3: the likelihood was NaN or infinite.
    """
    from course_flows.training import commands

    given = {name: value for name, value in settings.items() if value is not None and value != ()}
    sys.exit(commands.train(folder, given, resume=resume, device=device, data_dir=data_dir))


@click.command()
@RUN
@click.option("--split", type=click.Choice(["test", "validation", "train"]), default="test", show_default=True)
@click.option("--samples", type=int, default=1, show_default=True, help="Noise samples an image; more are tighter.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise.")
@WHICH
@DEVICE
@DATA_DIR
def evaluate(run: Path, split: str, **options: Any) -> None:
    """Print the log-likelihood and the bits per dimension of a RUN; write them to evaluation-SPLIT.json in it.

    For a table: nats of its standardized rows, and nats in the units of the table.
    """
    from course_flows.training import commands

    sys.exit(commands.evaluate(run, split, **options))


@click.command()
@RUN
@click.option("-n", "--count", type=int, default=64, show_default=True, help="How many.")
@click.option("--out", "target", type=A_PATH, required=True, help="The PNG file to write; of a table: CSV or npz.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Factor of the latent.")
@click.option("--seed", type=int, default=0, show_default=True)
@WHICH
@DEVICE
def sample(run: Path, target: Path, count: int, **options: Any) -> None:
    """Draw a sheet of samples of a RUN; of a run on a table, rows in the units of the table."""
    from course_flows.training import commands

    sys.exit(commands.sample(run, target, count, **options))


@click.command()
@RUN
@click.option("--out", "target", type=A_PATH, required=True, help="The JSON file to write, with a PNG beside it.")
@click.option(
    "--reference",
    "references",
    type=(str, float, str),
    multiple=True,
    metavar="METRIC VALUE SOURCE",
    help="A published number to stand beside, such as test_bits_per_dim 1.06 'Grathwohl et al. (2019), table 2'.",
)
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Of the samples.")
def record(run: Path, target: Path, references: tuple[tuple[str, float, str], ...], temperature: float) -> None:
    """Record an evaluated RUN for the book: what was run where, its numbers, its curve, a sheet of samples."""
    from course_flows.training import commands

    sys.exit(commands.record(run, target, references, temperature=temperature))


COMMANDS = (train, evaluate, sample, record)

"""What this book adds to Sphinx: checked equations, a cache that knows the package, alt text, no remote scripts."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from fingerprint import book_key, code_key, notebook_key
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

CHECK_LINE = re.compile(
    r"^\[(?P<label>[\w-]+)\] largest error (?P<error>\S+), tolerance (?P<tolerance>\S+): (?P<verdict>\w+)$",
    re.MULTILINE,
)
IDENTITY = "eq-"


@dataclass(frozen=True)
class Check:
    """One line that `course_flows.checks.check_identity` printed in an executed cell."""

    label: str
    error: str
    tolerance: str
    verdict: str


# Equation checks


def pages_in_order(env: BuildEnvironment, page: str) -> list[str]:
    """Return the pages of the book below and including `page`, in the order of the table of contents."""
    below = [name for child in env.toctree_includes.get(page, []) for name in pages_in_order(env, child)]
    return [page, *below]


class EquationChecksPlaceholder(nodes.General, nodes.Element):
    """Stands where the directive `{equation-checks}` was, until all pages are read."""


class EquationChecksDirective(SphinxDirective):
    """`{equation-checks}`: a table of every executed equation check of the book."""

    def run(self) -> list[nodes.Node]:
        """Leave a placeholder and remember the page, which is then written anew in every build."""
        pages_with_table(self.env).add(self.env.docname)
        return [EquationChecksPlaceholder()]


def checks_of_book(env: BuildEnvironment) -> dict[str, list[Check]]:
    """Return the checks found so far, by page."""
    if not hasattr(env, "course_book_checks"):
        env.course_book_checks = {}
    return env.course_book_checks


def pages_with_table(env: BuildEnvironment) -> set[str]:
    """Return the pages that hold the table of checks."""
    if not hasattr(env, "course_book_tables"):
        env.course_book_tables = set()
    return env.course_book_tables


def collect_checks(app: Sphinx, doctree: nodes.document) -> None:
    """Note the check lines among the cell outputs of the page that was just read."""
    found = [
        Check(**match.groupdict())
        for block in doctree.findall(nodes.literal_block)
        if "stream" in block["classes"]
        for match in CHECK_LINE.finditer(block.astext())
    ]
    checks_of_book(app.env)[app.env.docname] = found


def forget_page(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Drop what is known of a page that is read again or gone."""
    checks_of_book(env).pop(docname, None)
    pages_with_table(env).discard(docname)


def require_checks(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn, and so fail the build, where a stated identity has no check or a check has no equation."""
    equations = {label: page for label, (page, _) in env.get_domain("math").equations.items()}
    checks = checks_of_book(env)
    for label, page in sorted(equations.items()):
        if label.startswith(IDENTITY) and label not in {check.label for check in checks.get(page, [])}:
            logger.warning(
                "the identity %r is stated here without an executed check: add check_identity(%r, …)",
                label,
                label,
                location=page,
            )
    for page, found in sorted(checks.items()):
        for check in found:
            if check.label not in equations:
                logger.warning("a cell checks %r, but no equation has this label", check.label, location=page)


class FillEquationChecks(SphinxPostTransform):
    """Replaces the placeholder by tables; runs before Sphinx resolves references, so the links are checked too."""

    default_priority = 4

    def run(self, **kwargs: Any) -> None:
        """Fill each placeholder of this page: for every page with checks its title and a table."""
        checks = checks_of_book(self.env)
        pages = [page for page in pages_in_order(self.env, self.config.root_doc) if checks.get(page)]
        for placeholder in list(self.document.findall(EquationChecksPlaceholder)):
            filled: list[nodes.Node] = []
            for page in pages:
                title = nodes.inline("", self.env.titles[page].astext())
                filled.append(nodes.rubric("", "", self.reference("std", "doc", f"/{page}", title)))
                filled.append(self.table(sorted(checks[page], key=self.place_of_equation)))
            placeholder.replace_self(filled)

    def place_of_equation(self, check: Check) -> int:
        """Return where the checked equation stands among all equations of the book."""
        labels = list(self.env.get_domain("math").equations)
        return labels.index(check.label) if check.label in labels else len(labels)

    def table(self, checks: list[Check]) -> nodes.table:
        """Return a table with one row a check."""
        head = ["Equation", "Label", "Largest error", "Tolerance", "Result"]
        group = nodes.tgroup(cols=len(head))
        group += [nodes.colspec(colwidth=1) for _ in head]
        group += nodes.thead("", self.row([nodes.Text(title) for title in head]))
        group += nodes.tbody("", *(self.row(self.cells(check)) for check in checks))
        return nodes.table("", group, classes=["equation-checks"])

    def cells(self, check: Check) -> list[nodes.Node]:
        """Return what the row of a check shows."""
        return [
            self.reference("math", "eq", check.label, nodes.inline("", check.label)),
            nodes.literal("", check.label),
            nodes.Text(check.error),
            nodes.Text(check.tolerance),
            nodes.Text(check.verdict),
        ]

    def reference(self, domain: str, kind: str, target: str, content: nodes.Node) -> addnodes.pending_xref:
        """Return a reference that Sphinx resolves, and complains about if it cannot."""
        return addnodes.pending_xref(
            "",
            content,
            refdomain=domain,
            reftype=kind,
            reftarget=target,
            refdoc=self.env.docname,
            refexplicit=kind == "doc",
            refwarn=True,
        )

    @staticmethod
    def row(cells: list[nodes.Node]) -> nodes.row:
        """Return a table row with one paragraph a cell."""
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


# The execution cache


def cache_for_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Point the execution cache of the page about to be read at a folder named by what its outputs depend on."""
    env = app.env
    key = page_key(env, docname)
    if key is None:
        return
    if not hasattr(env, "course_book_keys"):
        env.course_book_keys = {}
    env.course_book_keys[docname] = key
    folder = Path(app.outdir).parent / ".jupyter_cache" / f"{docname.replace('/', '-')}-{key}"
    env.mystnb_config = env.mystnb_config.copy(execution_cache_path=str(folder))


def page_key(env: BuildEnvironment, docname: str) -> str | None:
    """Return the key of a notebook page, or None for a page without code."""
    path = Path(env.doc2path(docname))
    return notebook_key(Path(env.srcdir), path) if path.suffix == ".ipynb" and path.is_file() else None


def outdated_pages(app: Sphinx, env: BuildEnvironment, *_: set[str]) -> list[str]:
    """Name the notebook pages whose outputs depend on something that changed since they were read."""
    known = getattr(env, "course_book_keys", {})
    return [page for page in known if page in env.found_docs and known[page] != page_key(env, page)]


# Pages


def require_alt_text(app: Sphinx, doctree: nodes.document) -> None:
    """Warn, and so fail the build, where an image says nothing to a reader who cannot see it."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            logger.warning("an image without alt text: %s", image.get("uri", ""), location=image)


def drop_thebe(app: Sphinx, config: Any) -> None:
    """Disconnect sphinx-thebe: the book is read from disk, and its script names a remote host and logs errors."""
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if getattr(listener.handler, "__module__", "").split(".")[0] == "sphinx_thebe":
                app.disconnect(listener.id)
    app.registry.css_files[:] = [entry for entry in app.registry.css_files if entry[0] != "sphinx-thebe.css"]


def say_version(app: Sphinx, config: Any) -> None:
    """Put a line with the commit that the book was built from at the foot of every page."""
    command = ["git", "-C", str(app.srcdir), "describe", "--always", "--dirty=, with local changes", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return
    config.html_theme_options["extra_footer"] = f"<p>Built from commit {commit}.</p>"


def finish(app: Sphinx, error: Exception | None) -> None:
    """Record what a clean build was made from; after warnings forget the pages, so that they are read again.

    Sphinx keeps pages that were read with warnings, and the next build would pass in silence.
    """
    stamp = Path(app.outdir).parent / "book.key"
    stamp.unlink(missing_ok=True)
    if error is None and not app._warncount:
        stamp.write_text(book_key(Path(app.srcdir)), encoding="utf-8")
    else:
        Path(app.doctreedir, "environment.pickle").unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    # A value that changes with this folder's code: Sphinx then reads every page anew.
    app.add_config_value("course_book_code", code_key(), "env")
    app.add_node(EquationChecksPlaceholder)
    app.add_directive("equation-checks", EquationChecksDirective)
    app.add_post_transform(FillEquationChecks)
    app.connect("config-inited", drop_thebe)
    app.connect("config-inited", say_version)
    app.connect("env-purge-doc", forget_page)
    app.connect("env-get-outdated", outdated_pages)
    app.connect("source-read", cache_for_page)
    app.connect("doctree-read", collect_checks)
    app.connect("doctree-read", require_alt_text)
    app.connect("env-updated", lambda app, env: sorted(pages_with_table(env)))
    app.connect("env-check-consistency", require_checks)
    app.connect("build-finished", finish)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False, "parallel_write_safe": True}

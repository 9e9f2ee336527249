"""HTML pages without scripts or outside files: the frame that every page shares, and the student's report."""

from __future__ import annotations

from html import escape
from typing import Any

__all__ = ["UNSAFE", "frame", "is_address", "student_page"]

STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --ground: #ffffff; --soft: #f3f4f6; --line: #8a919b;
  --good: #0a6b3d; --bad: #a8200d; --bar: #0b62a8; --link: #0b5394; }
@media (prefers-color-scheme: dark) { :root { --text: #e7eaee; --ground: #15181c; --soft: #22272e; --line: #7d8793;
  --good: #6fd8a0; --bad: #ff9a8a; --bar: #6db3f2; --link: #8cc4ff; } }
body { margin: 0; background: var(--ground); color: var(--text); font: 1.05rem/1.55 system-ui, sans-serif; }
main { max-width: 52rem; margin: 0 auto; padding: 1.5rem 1.2rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
a { color: var(--link); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin-bottom: 1.5rem; }
caption, figcaption { text-align: left; padding: .4rem 0; } figure { margin: 0 0 1.5rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: normal; }
.long { overflow-wrap: anywhere; min-width: 6rem; } .sentence { min-width: 14rem; } .short { white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.note { background: var(--soft); border-left: .3rem solid var(--line); padding: .6rem .9rem; }
.passed { color: var(--good); font-weight: 600; } .failed, .missing { color: var(--bad); font-weight: 600; }
.alert { border: .2rem solid var(--bad); padding: .6rem .9rem; font-weight: 600; }
svg { width: 100%; min-width: 38rem; height: auto; } svg text { fill: var(--text); font: 13px system-ui, sans-serif; }
svg rect { fill: var(--bar); } svg line { stroke: var(--line); }
""".strip()
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STATUS = {"passed": "passed", "failed": "not passed", "missing": "cell missing"}
UNSAFE = "The code ran without isolation: nobody should believe these results."


def frame(title: str, body: str) -> str:
    """Return a whole page around a body; the title is escaped, the body is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def student_page(report: dict[str, Any]) -> str:
    """Return the page that a student reads; every text is escaped."""
    score = f"{report['points']:g} of {report['max_points']:g} points"
    lines = [f"<h1>{escape(report['exercise'])}: {score}</h1>"]
    if report["isolation"] == "none":
        lines.append(f'<p class="alert">{UNSAFE}</p>')
    lines.append(f"<p>Notebook: {escape(report['notebook'])}</p>")
    lines += ["<table>", "<caption>Your points, task by task</caption>"]
    head = '<th scope="col">Task</th><th scope="col">Result</th><th scope="col" class="number">Points</th>'
    lines.append(f"<thead><tr>{head}</tr></thead>")
    lines.append("<tbody>")
    for number, task in enumerate(report["tasks"], 1):
        lines.append(
            f'<tr><th scope="row"><a href="#task-{number}">{escape(task["title"])}</a></th>'
            f'<td class="short {task["status"]}">{STATUS[task["status"]]}</td>'
            f'<td class="short number">{task["points"]:g} of {task["max_points"]:g}</td></tr>'
        )
    lines += ["</tbody>", "</table>"]
    for number, task in enumerate(report["tasks"], 1):
        lines += _task(number, task)
    lines.append(
        "<p>A task has its points when every hidden check of it passes. The checks in the notebook grant no points. "
        f"Isolation of the code: {escape(report['isolation'])}.</p>"
    )
    return frame(f"{report['exercise']}: {score}", "\n".join(lines) + "\n")


def _task(number: int, task: dict[str, Any]) -> list[str]:
    lines = [f'<section aria-labelledby="task-{number}">', f'<h2 id="task-{number}">{escape(task["title"])}</h2>']
    points = f"{task['points']:g} of {task['max_points']:g} points"
    lines.append(
        f'<p><span class="{task["status"]}">{STATUS[task["status"]]}</span>, {points}. '
        f"Checks in the notebook: {escape(task['visible'])}. Name of the task: {escape(task['id'])}.</p>"
    )
    count = len(task["mistakes"])
    lines += [f'<p class="note">{escape(sentence)}</p>' for sentence in task["feedback"][:count]]
    if task["feedback"][count:]:
        lines += ["<ul>", *(f"<li>{escape(sentence)}</li>" for sentence in task["feedback"][count:]), "</ul>"]
    for link in task["links"]:
        title = escape(link["title"])
        place = f'<a href="{escape(link["url"])}">{title}</a>' if is_address(link["url"]) else f"{title}, in the book"
        lines.append(f"<p>Read again: {place}</p>")
    return [*lines, "</section>"]


def is_address(url: str) -> bool:
    """Tell whether a link leads somewhere from anywhere, not only beside the built book."""
    return url.startswith(("https://", "http://"))

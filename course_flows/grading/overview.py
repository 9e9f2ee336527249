"""The instructor's page about a class: points as a histogram, the hardest tasks, the known mistakes, every student."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from course_flows.grading.figures import histogram
from course_flows.grading.page import UNSAFE, frame

__all__ = ["overview_page"]

WIDTH, HEIGHT, MARGIN = 720, 220, 30
SENTENCE = 40  # a longer text needs a wide column


def overview_page(
    batch: dict[str, Any],
    entries: Sequence[dict[str, Any]],
    counted: Sequence[dict[str, Any]],
    figures: Sequence[dict[str, Any]],
) -> str:
    """Return the page; it names students and is for instructors only."""
    lines = ["<h1>The class</h1>"]
    if any(entry["isolation"] == "none" for entry in entries):
        lines.append(f'<p class="alert">{UNSAFE}</p>')
    when = batch["deadline"].replace("T", " ").replace("+00:00", " UTC")
    deadline = f" Deadline: {escape(when)}." if when else ""
    lines.append(f"<p>{len(entries)} of {len(batch['submissions'])} submissions have results.{deadline}</p>")
    for number, exercise in enumerate(figures, 1):
        lines += _exercise(number, exercise)
    lines += _students(counted)
    lines += _problems(entries)
    if batch["ignored"]:
        lines += ["<h2>Files that are no submissions</h2>", "<ul>"]
        lines += [*(f"<li>{escape(name)}</li>" for name in batch["ignored"]), "</ul>"]
    return frame("The class", "\n".join(lines) + "\n")


def _exercise(number: int, exercise: dict[str, Any]) -> list[str]:
    students = exercise["students"]
    lines = [f"<h2>{escape(exercise['exercise'])}</h2>"]
    lines.append(
        f"<p>{students} students; on average {exercise['mean']:.1f} of {exercise['max_points']:g} points, "
        f"median {exercise['median']:g}.</p>"
    )
    lines += _bars(number, histogram(exercise["points"], exercise["max_points"]))
    tasks = [
        (task["title"], f"{students - task['passed']} of {students}", f"{100 * (1 - task['passed'] / students):.0f} %")
        for task in exercise["tasks"]
    ]
    lines += _table("Tasks, the one that most students failed first", ("Task", "Failed by", "Share"), tasks)
    mistakes = [(m["task"], m["name"].replace("_", " "), m["hint"], str(m["students"])) for m in exercise["mistakes"]]
    if mistakes:
        lines += _table("Known mistakes", ("Task", "Mistake", "Hint that was given", "Students"), mistakes)
    else:
        lines.append("<p>No answer looked like a known mistake.</p>")
    return lines


def _bars(number: int, bars: Sequence[tuple[str, int]]) -> list[str]:
    """Return the histogram as SVG; its description says every number."""
    words = "How many students have how many points"
    top = max(1, *(count for _, count in bars))
    step = (WIDTH - 2 * MARGIN) / len(bars)
    said = "; ".join(f"{label} points: {count}" for label, count in bars if count)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-labelledby="bars-{number}-title bars-{number}-text">',
        f'<title id="bars-{number}-title">{words}</title>',
        f'<desc id="bars-{number}-text">{escape(said)}</desc>',
    ]
    floor = HEIGHT - MARGIN
    for index, (label, count) in enumerate(bars):
        left, height = MARGIN + index * step, (floor - MARGIN) * count / top
        middle = left + step / 2
        if count:
            parts.append(
                f'<rect x="{left + step * 0.1:.1f}" y="{floor - height:.1f}" width="{step * 0.8:.1f}" '
                f'height="{height:.1f}"/>'
            )
            parts.append(f'<text x="{middle:.1f}" y="{floor - height - 5:.1f}" text-anchor="middle">{count}</text>')
        parts.append(f'<text x="{middle:.1f}" y="{floor + 18}" text-anchor="middle">{escape(label)}</text>')
    parts.append(f'<line x1="{MARGIN}" y1="{floor}" x2="{WIDTH - MARGIN}" y2="{floor}"/>')
    return ["<figure>", f"<figcaption>{words}</figcaption>", *_scrolled(words, [*parts, "</svg>"]), "</figure>"]


def _scrolled(name: str, lines: Sequence[str]) -> list[str]:
    """Return what may be too wide for a small screen in a frame that can be scrolled, with the keyboard too."""
    return [f'<div class="scroll" role="group" aria-label="{escape(name)}" tabindex="0">', *lines, "</div>"]


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["<table>", f"<caption>{escape(caption)}</caption>"]
    lines.append("<thead><tr>" + "".join(f'<th scope="col">{escape(name)}</th>' for name in head) + "</tr></thead>")
    lines.append("<tbody>")
    for first, *rest in rows:
        cells = "".join(_cell(text) for text in rest)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return _scrolled(caption, [*lines, "</tbody>", "</table>"])


def _cell(text: str) -> str:
    kind = ' class="sentence"' if len(text) > SENTENCE else ""
    return f"<td{kind}>{escape(text)}</td>"


def _students(counted: Sequence[dict[str, Any]]) -> list[str]:
    caption = "The submission of each student that counts"
    lines = ["<table>", f"<caption>{caption}</caption>"]
    names = ("Student", "Exercise", "Points", "Note", "File")
    lines.append("<thead><tr>" + "".join(f'<th scope="col">{name}</th>' for name in names) + "</tr></thead>")
    lines.append("<tbody>")
    for entry in counted:
        is_graded = entry["status"] == "graded"
        file = escape(entry["file"])
        if is_graded:
            file = f'<a href="submissions/{entry["key"]}/report.html">{file}</a>'
        points = f"{entry['points']:g} of {entry['max_points']:g}" if is_graded else "none"
        note = ", ".join(["late"] * entry["late"] + [entry["status"]] * (not is_graded))
        lines.append(
            f'<tr><th scope="row" class="long">{escape(entry["student"])}</th>'
            f'<td class="long">{escape(entry["exercise"])}</td><td class="short">{points}</td><td>{note}</td>'
            f'<td class="long">{file}</td></tr>'
        )
    return ["<h2>Students</h2>", *_scrolled(caption, [*lines, "</tbody>", "</table>"])]


def _problems(entries: Sequence[dict[str, Any]]) -> list[str]:
    lines = [f"<li>{escape(e['file'])} ({e['status']}): {escape(e['problem'])}</li>" for e in entries if e["problem"]]
    lines += [f"<li>{escape(e['file'])}, the hidden test {escape(f)}</li>" for e in entries for f in e["faults"]]
    return ["<h2>To look at</h2>", "<ul>", *lines, "</ul>"] if lines else []

"""Text of a student's made safe to show: one line, no control characters, capped."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["for_markdown", "one_line"]

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# What Markdown would act upon; a mention and an address of mail are seen in the shown text, so they get word joiners.
_ACTIVE = re.compile(
    r"""(?P<kept>     (?<=[^\W_]) _+ (?=[^\W_]) | (?<=\s) \* (?=\s) )
      | (?P<tag>      < (?=[A-Za-z/!?]) )
      | (?P<entity>   & (?=\#?\w+;) )
      | (?P<mention>  @ (?=\w) | \# (?=\d) )
      | (?P<mark>     \\ (?=[!-/:-@[-`{-~]|$) | [`~$*_]
                    | \[ (?=[\[^]) | \] (?=[(\[:])               # links, definitions, footnotes
                    | (?<=:) / (?=/) | (?<=[Ww]{3}) \.           # addresses
                    | ^[-+] (?=[-\s]|$) | ^\# (?=[\#\s]|$) | ^[>[] )  # what begins a block
    """,
    re.VERBOSE,
)
_REPLACED = {"kept": "{}", "tag": "&lt;", "entity": "&amp;", "mention": "\u2060{}\u2060", "mark": "\\{}"}


def one_line(text: str, limit: int = 300) -> str:
    """Return ``text`` as one line of printable characters, at most ``limit`` of them.

    What CI systems take for commands (``::…::`` and ``##[…]``) is broken up.

    >>> one_line("a\\x1b[31m\\n::error::b")
    'a [31m : :error: :b'
    """
    clean = "".join(" " if unicodedata.category(letter) in _HIDDEN else letter for letter in text[: 4 * limit])
    clean = " ".join(re.sub(r":(?=:)|#(?=#)", r"\g<0> ", clean).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def for_markdown(text: str, in_table: bool = False) -> str:
    """Return one line of text with that escaped, and only that, which Markdown, HTML or GitHub would act upon.

    Brackets alone make no link, an underscore inside a word no emphasis, and a bar counts in tables only.

    >>> for_markdown("<b>*x*, [1, 2], log|a| of a_b")
    '&lt;b>\\\\*x\\\\*, [1, 2], log|a| of a_b'
    """
    escaped = _ACTIVE.sub(lambda found: _REPLACED[found.lastgroup or ""].format(found[0]), text)
    escaped = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", escaped)
    return escaped.replace("|", "\\|") if in_table else escaped

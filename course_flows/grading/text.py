"""Text of a student's made safe to show: one line, no control characters, capped."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["for_markdown", "one_line"]

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def one_line(text: str, limit: int = 300) -> str:
    """Return ``text`` as one line of printable characters, at most ``limit`` of them.

    What CI systems take for commands (``::…::`` and ``##[…]``) is broken up.

    >>> one_line("a\\x1b[31m\\n::error::b")
    'a [31m : :error: :b'
    """
    clean = "".join(" " if unicodedata.category(letter) in _HIDDEN else letter for letter in text[: 4 * limit])
    clean = " ".join(re.sub(r":(?=:)|#(?=#)", r"\g<0> ", clean).split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def for_markdown(text: str) -> str:
    """Return one line of text with everything escaped that Markdown or HTML would act upon.

    >>> for_markdown("<b>*x*")
    '&lt;b&gt;\\\\*x\\\\*'
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = "".join("\\" + letter if letter in "\\`*_[]()#|!~$" else letter for letter in text)
    return re.sub(r"(?<=:)/(?=/)|(?<=www)\.", r"\\\g<0>", text, flags=re.IGNORECASE)

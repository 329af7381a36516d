"""Text between double quotes, for files that people and programs read."""

from __future__ import annotations

_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    r"""Write a string between double quotes, so that TOML and YAML read back the same.

    What does not print is written as its number: control characters, which neither may hold as they are, and those
    that turn a line around or end it.

    Args:
        text: Any text that UTF-8 can hold.

    Returns:
        One line, quotes included.

    Example:
        >>> print(quoted('a "b"\n'))
        "a \"b\"\n"
    """
    return f'"{"".join(_escaped(character) for character in text)}"'


def spelt(text: str) -> str:
    r"""Write a text in one line: what breaks a line is a space, what else does not print its number.

    Example:
        >>> print(spelt('a\nb\x7f'))
        a b\u007f
    """
    return "".join(c if c.isprintable() else _number(c) for c in " ".join(text.split()))


def shown(text: str, most: int | None = None) -> str:
    r"""Write a text of anybody's so that it stands in one line of a message and does nothing else there.

    Args:
        text: Any text, surrogates included.
        most: Characters that are kept; None for all.

    Example:
        >>> print(shown('a\n\x1b[31m  b'), shown("abcdef", 3))
        a\u000a\u001b[31m  b abc…
    """
    cut = most is not None and len(text) > most
    return "".join(c if c.isprintable() else _number(c) for c in text[:most]) + ("…" if cut else "")


def briefly(value: object, most: int) -> str:
    """Write a value of anybody's as Python would, or its beginning.

    Args:
        value: Plain values, however large or deep.
        most: Characters that are kept.
    """
    try:
        return shown(repr(value), most)
    except ValueError:
        return "a number of very many digits"
    except RecursionError:
        return "something nested very deeply"


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    return character if character.isprintable() else _number(character)


def _number(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

"""What a client sent, as text that is safe in a log line, a span or a terminal."""

from __future__ import annotations


def visible(value: bytes, limit: int) -> str:
    """Decode ``value``; escape what is not printable, and cut it after ``limit`` bytes.

    Not printable are the controls (C0, DEL, C1), line and paragraph separators,
    format characters such as the bidirectional ones, and bytes that are not UTF-8.
    """
    if len(value) > limit:
        value = value[:limit] + b"..."
    text = value.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

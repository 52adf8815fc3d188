"""HTTP/1.1's grammar, as strict as RFC 9110 and 9112 allow a proxy to be.

What does not match is refused; nothing is repaired. One pass over the head both
checks every byte and takes the fields apart, so there is no second parser to
disagree with. Line ends are CRLF and nothing else.
"""

from __future__ import annotations

import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""RFC 9110, 5.6.2."""

VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]*+"
"""field-content with obs-text; no NUL, CR, LF or other control but tab (5.5)."""

REQUEST_LINE = re.compile(rb"(" + TOKEN + rb"{1,64}) ([!-~]+) HTTP/1\.([01])\r\n")
"""RFC 9112, 3: single spaces. The length of a method is capped as Envoy's tests do."""

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (" + VALUE + rb"))?\r\n")
"""RFC 9112, 4; a missing blank behind the status is common and harmless."""

FIELD = re.compile(rb"(?<=\r\n)(" + TOKEN + rb"+):[ \t]*+(" + VALUE + rb")\r\n")
"""One field line; every CRLF of the block must end one, or the block is refused.

What its repeats have taken they never give back (``*+``): a line of blanks that does not
end well would be tried once for each pair of them.
"""

FIELDS = re.compile(rb"(?:" + TOKEN + rb"+: " + VALUE + rb"\r\n)*")
"""A block as we write it; what a filter edited is checked against it."""

BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n)(?!\Z)")

STARTS_LINE = re.compile(TOKEN + rb"{1,64}(?: [ -~]*)?\r?\Z")
"""What the first line may be so far."""

VERSION = re.compile(rb"[!-~]+ [!-~]+ HTTP/([0-9]\.[0-9])\r\n")

HOST = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?\])(?::[0-9]{1,5})?"
)
"""uri-host [":" port] (RFC 9110, 7.2) without the comma no host has."""

BAD_TARGET = re.compile(rb"#|%(?![0-9A-Fa-f]{2})|%00")
"""A fragment is the client's own (9112, 3.2); a malformed or NUL escape splits parsers."""

ABSOLUTE = re.compile(rb"https?://([^/?#]*)([/?][!-~]*)?", re.IGNORECASE)

AUTHORITY_PORT = re.compile(HOST.pattern.removesuffix(rb"?"))
"""CONNECT's target: a host, and a port (RFC 9110, 9.3.6)."""

DECIMAL = re.compile(rb"[0-9]{1,18}")
"""Content-Length; 18 digits are 888 PiB and fit an int64."""

CODINGS = re.compile(TOKEN + rb"+(?:[ \t]*,[ \t]*" + TOKEN + rb"+)*")

CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;" + VALUE + rb")?\r\n")
"""A chunk's size and extension (RFC 9112, 7.1)."""

STARTS_CHUNK_LINE = re.compile(
    rb"[0-9A-Fa-f]{1,15}(?:[ \t]*;" + VALUE + rb"|[ \t]*)\r?"
)
"""What a chunk's line may be so far."""

MAX_CHUNK_LINE = 1024
"""AWS's signed chunks need 90 bytes; an endless extension is an attack."""

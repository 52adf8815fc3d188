"""Codecs: bytes to messages and back. They do no I/O and know no trio."""

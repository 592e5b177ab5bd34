"""MIME without I/O: structure, header fields, addresses, words, dates and transfer encodings of untrusted octets.

Nothing in this package raises on any octets, and everything is linear in them.
"""

from .headers import HeaderBlock
from .structure import DEFAULT, MimeLimits, Part, parse

__all__ = ["DEFAULT", "HeaderBlock", "MimeLimits", "Part", "parse"]

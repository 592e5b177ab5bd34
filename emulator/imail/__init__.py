"""IMAIL: pure conversion between MIME octets and property messages (MS-OXCMAIL). No locks, no tasks, no I/O.

Inbound conversion finds the MIME structure; properties, recipients and attachments are found in it when they are asked
for. Outbound conversion of an unmodified message gives back its original octets; for the rest it generates MIME.
"""

from .inbound import DEFAULT_LIMITS, ConversionLimits, inbound, inbound_stages
from .outbound import outbound

__all__ = ["DEFAULT_LIMITS", "ConversionLimits", "inbound", "inbound_stages", "outbound"]

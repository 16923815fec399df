"""Which rule about messages was broken, by the words in which that was said (contract D.5). Pure.

Metrics have the rule's number; the words are for logs and for the client.
"""

from __future__ import annotations

from collections.abc import Mapping

OTHER = "0"
_RULES: Mapping[str, tuple[str, ...]] = {
    "1": ("Content-Length and Transfer-Encoding",),
    "2": ("different Content-Lengths",),
    "3": ("bad Content-Length",),
    "4": (
        "Transfer-Encoding in HTTP/1.0", "chunked must be the last coding", "unknown transfer",
    ),
    "5": ("NUL in the head", "bad header value", "bad trailer"),
    "6": ("no end of line after a chunk", "chunk line too long", "bad chunk size"),
    "7": ("one Host", "bad Host", "bad target", "target and Host differ"),
    "8": ("request line too long", "headers too long", "too many headers"),
    "9": ("bad method", "bad header name", "CONNECT is not offered"),
    "10": ("bad request line", "bad version", "version not supported", "the head was cut",
           "the body was cut", "nobody asked for another",
           "the connection ended before", "another protocol, which"),
    "12": ("Connection names",),
    "13": ("bad scheme", "bad path", "authority and host", "a Content-Length without",
           "bad pseudo-header", "a header of one connection", "bad status", "bad protocol",
           "HTTP/2 does not switch", "the other side takes no", "empty authority"),
    "14": ("bad GOAWAY", "headers go on", "too many ", "streams go on to be opened"),
    "15": ("a header name with an underscore",),
    "slow": ("the body came too slowly",),
}  # fmt: skip
_FOUND = [(text, rule) for rule, texts in _RULES.items() for text in texts]
#: All that can stand in the label.
RULES = (*_RULES, OTHER)


def rule_of(text: str) -> str:
    """The number of the rule; "0" where the codec of HTTP/2 said it in its own words."""
    return next((rule for begins, rule in _FOUND if text.startswith(begins)), OTHER)

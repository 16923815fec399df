"""What a caller of the server port may ask for, by the certificate that it showed."""

from __future__ import annotations

import enum


class Standing(enum.Enum):
    """What a caller of the server port may ask for."""

    ALL = "all"
    ONLY_A_CERTIFICATE = "only a certificate"
    NOTHING = "nothing"

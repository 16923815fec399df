"""Several proxies' metrics as one text."""

from __future__ import annotations

from proxy.telemetry.merging import merged

OWN = '# TYPE a counter\na{service="gw"} 1\n# TYPE b gauge\nb{service="gw"} 2\n'
DB = '# TYPE a counter\na{service="db"} 3\n# TYPE c gauge\nc{service="db"} 4\n'


def test_each_family_stands_in_one_place() -> None:
    assert merged(OWN, {"db": DB}) == (
        '# TYPE a counter\na{service="gw"} 1\na{service="db"} 3\n'
        '# TYPE b gauge\nb{service="gw"} 2\n'
        '# TYPE c gauge\nc{service="db"} 4\n'
    )
    assert merged(OWN, {}) == OWN

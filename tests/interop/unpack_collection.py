"""Unpacks one collection of Ansible's wheel: `unpack_collection.py FOLDER NAMESPACE/NAME`.

The wheel holds a hundred collections in 40,000 files; the tests need one.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path


def unpack(folder: Path, collection: str) -> None:
    """Put the collection beside the one wheel in ``folder``, as ``ansible_collections/...``."""
    (wheel,) = folder.glob("ansible-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        wanted = f"ansible_collections/{collection}/"
        names = [name for name in archive.namelist() if name.startswith(wanted)]
        archive.extractall(
            folder, [name for name in names if not name.startswith(f"{wanted}tests")]
        )


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), sys.argv[2])

"""Checks an archive in a process of its own, and cuts it into what is proposed to the log.

Run as ``python -m raftstore.archive_check IN OUT UNPACKED_MAX`` with two open file descriptors. The
archive is read whole, loaded into a state, and that state's invariants are checked, so that what
gets into the log can be applied by every server. Written to OUT: the parts (staging.py), each with
its length in front. Printed: one line of JSON, ``{"Error": ...}`` or what there is.

A process of its own, because this is seconds of work in Python that the agent's loop cannot spare,
and because whatever a strange file does to it, the agent lives on.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

from raftstore.archive import ArchiveLimits, ArchiveReader
from raftstore.config import StateLimits
from raftstore.errors import DecodeError
from raftstore.state import StateMachine
from raftstore.state.snapshots import Loading, smaller
from raftstore.state.staging import LENGTH, parts

#: The chunks that are staged: each is loaded in one go, beside everything else on the loop.
CHUNK_ROWS_MAX = 64
CHUNK_BYTES = 16 * 1024


def check(source: IO[bytes], out: IO[bytes], limits: ArchiveLimits) -> dict[str, Any]:
    """Read all of it. Raises DecodeError; what was written is then worth nothing."""
    reader = ArchiveReader(source, limits)
    state = StateMachine(StateLimits())
    loading = Loading(state, renumber_to=1)
    digest, count = hashlib.sha256(), 0

    def loaded() -> Iterator[bytes]:
        for whole in reader.chunks():
            for chunk in smaller(whole, rows_max=CHUNK_ROWS_MAX, bytes_max=CHUNK_BYTES):
                loading.feed_bytes(chunk)
                yield chunk

    for raw, packed in parts(loaded()):
        digest.update(raw)
        out.write(LENGTH.pack(len(packed)) + packed)
        count += 1
    loading.finish()
    try:
        state.check()
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        raise DecodeError(f"the snapshot contradicts itself: {error}") from None
    out.flush()
    return {
        "Index": reader.meta.index,
        "ClusterID": reader.meta.cluster_id,
        "Parts": count,
        "SHA256": digest.hexdigest(),
    }


def main() -> int:
    """Read the arguments, check, print."""
    source_fd, out_fd, unpacked_max = map(int, sys.argv[1:4])
    try:
        with os.fdopen(source_fd, "rb") as source, os.fdopen(out_fd, "wb") as out:
            found = check(source, out, ArchiveLimits(unpacked_bytes_max=unpacked_max))
    except (DecodeError, OSError) as error:
        print(json.dumps({"Error": str(error)}))
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

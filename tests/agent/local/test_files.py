"""Files survive restarts; torn and foreign content is skipped and left where it is."""

from __future__ import annotations

import hashlib
import json
import os
import stat

import pytest

from agent.local.files import Changes, Files
from agent.local.services import LocalCheck, LocalService
from agent.local.stored import KeptState, Loaded
from raftstore.records import Check, CheckId, Service, ServiceId, ServiceName
from tests.agent.local.parts import HOST, ttl, until

SERVICE = LocalService(
    record=Service(node=HOST, id=ServiceId("w/eb"), name=ServiceName("web"), meta={})
)
CHECK = LocalCheck(record=Check(node=HOST, id=CheckId("c"), name="c"), definition=ttl("c"))
STATE = KeptState(check_id=CheckId("c"), status="passing", output="o", expires_at=99.0)


@pytest.fixture
async def files(tmp_path):
    files = Files(str(tmp_path))
    yield files
    await files.close()


async def reopened(tmp_path) -> Loaded:
    files = Files(str(tmp_path))
    try:
        return await files.load(HOST)
    finally:
        await files.close()


async def test_what_is_kept_is_there_after_a_restart(files, tmp_path) -> None:
    await files.load(HOST)
    await files.apply(Changes(services=(SERVICE,), checks=(CHECK,)))
    files.keep_state(STATE)
    await files.close()
    assert await reopened(tmp_path) == Loaded((SERVICE,), (CHECK,), (STATE,))


async def test_what_is_removed_is_gone_with_its_state(files, tmp_path) -> None:
    await files.apply(Changes(services=(SERVICE,), checks=(CHECK,)))
    files.keep_state(STATE)
    await files.apply(Changes(gone_services=(SERVICE.record.id,), gone_checks=(CheckId("c"),)))
    await files.apply(Changes(gone_checks=(CheckId("c"),)))  # absent is fine
    await files.close()
    assert await reopened(tmp_path) == Loaded()


async def test_nobody_else_may_read_them(files, tmp_path) -> None:
    await files.apply(Changes(services=(SERVICE,), checks=(CHECK,)))
    for folder, _, names in os.walk(tmp_path / "services"):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        for name in names:
            mode = stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
            assert mode == 0o600


async def test_an_unchanged_registration_is_not_written_again(files, tmp_path) -> None:
    await files.apply(Changes(services=(SERVICE,)))
    (path,) = (tmp_path / "services").iterdir()
    before = path.stat().st_ino
    await files.apply(Changes(services=(SERVICE,)))
    assert path.stat().st_ino == before  # a write makes a new file and renames it


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"{", b"[]", b'{"Service":{"ID":5}}', b"\xff\xfe", b"[" * 100_000],
    ids=["empty", "zeros", "torn", "list", "wrong type", "no text", "deep"],
)
async def test_what_cannot_be_read_is_skipped_and_stays(files, tmp_path, content) -> None:
    await files.apply(Changes(services=(SERVICE,), checks=(CHECK,)))
    for folder in ("services", "checks", "checks/state"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / ("0" * 64)).write_bytes(content)
    assert await reopened(tmp_path) == Loaded((SERVICE,), (CHECK,), ())
    assert (tmp_path / "services" / ("0" * 64)).read_bytes() == content


async def test_a_file_cut_at_any_byte_never_stops_the_start(files, tmp_path) -> None:
    await files.apply(Changes(services=(SERVICE,)))
    (path,) = (tmp_path / "services").iterdir()
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert (await files.load(HOST)).services == ()
    path.write_bytes(whole)
    assert (await files.load(HOST)).services == (SERVICE,)


async def test_leftovers_of_a_crash_are_ignored(files, tmp_path) -> None:
    await files.apply(Changes(services=(SERVICE,)))
    (path,) = (tmp_path / "services").iterdir()
    path.rename(path.with_name(path.name + ".tmp"))
    assert (await reopened(tmp_path)).services == ()


async def test_of_many_states_the_newest_is_kept(files, tmp_path) -> None:
    for number in range(200):
        files.keep_state(
            KeptState(check_id=CheckId("c"), status="passing", output=str(number), expires_at=1.0)
        )
        if number % 50 == 0:
            await until(lambda: True)
    await files.close()
    (state,) = (await reopened(tmp_path)).states
    assert state.output == "199"


async def test_a_disk_that_refuses_is_an_error_of_the_caller(files, tmp_path) -> None:
    (tmp_path / "services").write_text("in the way")
    with pytest.raises(OSError):
        await files.apply(Changes(services=(SERVICE,)))


async def test_without_a_directory_nothing_is_kept() -> None:
    files = Files("")
    await files.apply(Changes(services=(SERVICE,)))
    files.keep_state(STATE)
    assert await files.load(HOST) == Loaded()
    await files.close()


def test_the_file_holds_what_the_contract_says(tmp_path) -> None:
    # Written with the blocking half of the class: the same bytes, without a loop.
    Files(str(tmp_path))._apply(Changes(services=(SERVICE,)))
    path = tmp_path / "services" / hashlib.sha256(b"w/eb").hexdigest()
    data = json.loads(path.read_text())
    assert data["Source"] == "remote" and data["Service"]["ID"] == "w/eb"
    assert "LocallyRegisteredAsSidecar" not in data

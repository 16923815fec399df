"""What stands where Consul has its web interface."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.schema import WebUi
from agent.http import web_ui
from tests.agent.http.rig import Client, Rig, make_config


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "ui"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<p>index")
    (root / "assets" / "app.js").write_text("run()")
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret")
    return root


async def test_a_directory_of_the_operator_is_shown(files: Path) -> None:
    rig = await Rig(make_config(ui=WebUi(on=True, path="/my/ui/", directory=str(files)))).start()
    try:
        async with Client(rig.port) as client:
            got = await client.get("/")
            assert (got.status, got.headers["location"]) == (301, "/my/ui/")
            got = await client.get("/my/ui/assets/app.js")
            assert (got.text, got.headers["content-type"]) == ("run()", "text/javascript")
            for path in ("/my/ui/", "/my/ui/dc1/services", "/my/ui/link", "/my/ui/assets"):
                assert (await client.get(path)).text == "<p>index"
            for path in ("/ui/", "/my/other", "/my/ui/%2e%2e/secret"):
                assert (await client.get(path)).status in {301, 404}
            head = await client.ask("HEAD", "/my/ui/")
            assert (head.status, head.body) == (200, b"")
            assert (await client.ask("PUT", "/my/ui/")).status == 404
    finally:
        await rig.stop()


async def test_a_large_file_and_a_missing_directory_are_none(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_ui, "FILE_BYTES_MAX", 7)
    assert (await web_ui.answer(WebUi(on=True, directory=str(files)), "")).status == 404
    assert (await web_ui.answer(WebUi(on=True, directory="/nowhere"), "x")).status == 404


@given(st.lists(st.sampled_from(["..", ".", "secret", "link", "", "assets", "\x00"]), max_size=6))
async def test_nothing_outside_is_given_out(parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as where:
        root = Path(where) / "ui"
        root.mkdir()
        (Path(where) / "secret").write_text("secret")
        (root / "link").symlink_to(Path(where) / "secret")
        reply = await web_ui.answer(WebUi(on=True, directory=str(root)), "/".join(parts))
        assert b"secret" not in reply.body

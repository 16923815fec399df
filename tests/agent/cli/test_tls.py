"""`tls`: files, their names and modes; what is there is kept; nothing is half made."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography import x509

from agent.cli import main, tls


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words: str) -> int:
    return main.run("lictor", words.split())


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_are_numbered_and_only_the_key_is_private(folder: Path) -> None:
    before = os.umask(0)
    try:
        assert run("tls ca create") == 0
        for number in range(2):
            assert run("tls cert create -server -dc=eu") == 0
            assert (folder / f"eu-server-consul-{number}.pem").exists()
    finally:
        os.umask(before)
    for name in files(folder):
        mode = stat.S_IMODE((folder / name).stat().st_mode)
        assert mode == (0o600 if name.endswith("-key.pem") else 0o644), name


def test_serial_numbers_differ(folder: Path) -> None:
    run("tls ca create")
    for _ in range(3):
        run("tls cert create -client")
    pems = [(folder / f"dc1-client-consul-{n}.pem").read_bytes() for n in range(3)]
    serials = {x509.load_pem_x509_certificate(pem).serial_number for pem in pems}
    assert len(serials) == 3 and all(0 < each < 1 << 159 for each in serials)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("tls cert create", "Please provide either -server, -client, or -cli"),
        ("tls cert create -server -cli", "Please provide either -server, -client, or -cli"),
        ("tls cert create -client -node=a", "-node requires -server"),
        ("tls cert create -client -additional-ipaddress=1.2.3", '"1.2.3" is not a valid IP'),
        ("tls cert create -client -ca=none.pem", "reading CA: open none.pem: No such file"),
        ("tls cert create -client -days=0", "-days must be between"),
        ("tls cert create -client -dc=../x", 'datacenter "../x" is not'),
        ("tls ca create -domain=a/b", 'domain "a/b" is not'),
        ("tls ca create -domain=x -days=-1", "-days must be between"),
    ],
)
def test_what_cannot_be_made_leaves_no_file(
    folder: Path, capsys: pytest.CaptureFixture[str], words: str, text: str
) -> None:
    run("tls ca create")
    before = files(folder)
    capsys.readouterr()
    assert run(words) == 1
    assert text in capsys.readouterr().err
    assert files(folder) == before


def test_a_key_without_a_certificate_is_never_overwritten(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "consul-agent-ca-key.pem").write_text("precious")
    assert run("tls ca create") == 1
    assert capsys.readouterr().err == "consul-agent-ca-key.pem already exists.\n"
    assert (folder / "consul-agent-ca-key.pem").read_text() == "precious"


def test_both_files_are_made_or_none(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Somebody makes the certificate's file after we have looked.
    (folder / "consul-agent-ca.pem").write_text("theirs")
    monkeypatch.setattr(tls.os.path, "lexists", lambda name: False)
    assert run("tls ca create") == 1
    assert "writing consul-agent-ca.pem: File exists" in capsys.readouterr().err
    assert files(folder) == ["consul-agent-ca.pem"]
    assert (folder / "consul-agent-ca.pem").read_text() == "theirs"

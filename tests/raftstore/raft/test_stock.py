"""The installed engine is the known one, and it cannot unpickle."""

import pysyncobj.syncobj
import pytest

from raftstore.raft import stock
from raftstore.raft.stock import EngineMismatch


def test_nothing_can_be_pickled_or_unpickled():  # hazards S1, S3
    for module in (pysyncobj.syncobj, pysyncobj.serializer, pysyncobj.tcp_connection):
        with pytest.raises(RuntimeError, match="pickle"):
            module.pickle.loads(b"")
    with pytest.raises(RuntimeError, match="pickle"):
        pysyncobj.journal.loads(b"")


def test_another_version_or_source_of_the_engine_is_refused(monkeypatch):
    monkeypatch.setattr(stock.pysyncobj.version, "VERSION", "0.3.18")
    with pytest.raises(EngineMismatch, match=r"0\.3\.18"):
        stock.check_engine()
    monkeypatch.undo()
    monkeypatch.setattr(pysyncobj.syncobj.SyncObj, "_onTick", lambda self, wait: None)
    with pytest.raises(EngineMismatch, match="differs"):
        stock.check_engine()
    monkeypatch.setenv(stock.UNCHECKED_ENV, "1")
    with pytest.warns(UserWarning, match="differs"):
        stock.check_engine()


def test_a_file_that_differs_is_looked_at_method_by_method(monkeypatch):
    assert stock.is_released_file()
    monkeypatch.setattr(stock, "FILE_SHA256", "0" * 64)
    assert not stock.is_released_file()
    stock.check_engine()  # a comment elsewhere in the file does no harm
    monkeypatch.setattr(stock, "SOURCES_SHA256", "0" * 64)
    with pytest.raises(EngineMismatch, match="differs"):
        stock.check_engine()

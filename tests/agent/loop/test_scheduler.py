"""The kernel's accounts grow while a thread stands in line, and end with their thread."""

from __future__ import annotations

import os
import threading

import pytest

from agent.loop.scheduler import SchedulerAccounts

if not os.path.exists("/proc/self/schedstat"):
    pytest.skip("this kernel keeps no accounts", allow_module_level=True)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_each_thread_has_its_account_while_it_lives() -> None:
    accounts, ended = SchedulerAccounts(), threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    assert {str(thread.native_id), str(threading.get_native_id())} <= accounts.queued().keys()
    ended.set()
    thread.join()
    assert str(thread.native_id) not in accounts.queued()
    accounts.close()


def test_no_account_falls() -> None:
    accounts = SchedulerAccounts()
    before = accounts.queued()
    after = accounts.queued()
    assert all(after[thread] >= queued for thread, queued in before.items() if thread in after)
    accounts.close()


def test_files_are_kept_open_once_and_let_go() -> None:
    accounts, before = SchedulerAccounts(), open_files()
    threads = len(accounts.queued())
    accounts.queued()
    assert open_files() <= before + threads + 1
    accounts.close()
    assert open_files() <= before + 1

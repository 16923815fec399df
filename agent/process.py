"""The process around an agent: data directory lock, pid file, what is printed, exit status."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import uvloop

from agent import logs
from agent.config.schema import AgentConfig
from agent.errors import AgentError, ConfigError
from agent.gossip_keys import take_keys
from agent.listening import Sockets
from agent.local.identity import claim_data_dir, load_node_id, read_host_id
from agent.log_files import LogFile
from agent.loop.timed import TimedLoop
from agent.program import Program, folders
from agent.reloading import Source
from agent.runtime import Agent

#: mallopt(3).
_M_ARENA_MAX = -8


def run_agent(
    config: AgentConfig,
    source: Source,
    *,
    banner: Callable[[AgentConfig], str],
) -> int:
    """Run an agent until it is told to end; gives the process's exit status.

    ``source`` gives the configuration anew from files and flags (SIGHUP). Errors that the user can
    mend are printed as ``==> text`` and end with 1.
    """
    logs.configure(config.log_level, as_json=config.log_json)
    _one_arena()
    lock: int | None = None
    try:
        if config.log_file.path:
            logs.also_into(LogFile(config.log_file), as_json=config.log_json)
        if config.data_dir:
            lock = claim_data_dir(config.data_dir)
        host_id = "" if config.disable_host_node_id else read_host_id()
        node_id = load_node_id(config.data_dir, config.node_id, host_id=host_id)
        config = replace(config, node_id=node_id)
        config = take_keys(config)
        if config.pid_file:
            _write_pid_file(config.pid_file)
    except ConfigError as error:
        print(f"==> {error}", file=sys.stderr)
        return 1
    print(banner(config), flush=True)
    sockets = Sockets(os.environ)
    program = Program(folders())
    program.on_guard()
    agent = Agent(config, source, sockets, program)
    try:
        make_loop = TimedLoop if config.enable_debug else uvloop.new_event_loop
        with asyncio.Runner(loop_factory=make_loop) as runner:
            status = runner.run(agent.run())
    except (AgentError, OSError) as error:
        words = (isinstance(error, OSError) and error.strerror) or str(error)
        print(f'==> Error starting agent: error="{words}"', file=sys.stderr)
        return 1
    finally:
        if config.pid_file:
            with contextlib.suppress(OSError):
                Path(config.pid_file).unlink()
        if lock is not None:
            os.close(lock)
    if agent.restarting:
        _execute_anew(sockets)
    return status


def _one_arena() -> None:
    """Have threads take memory from one heap.

    Who holds the interpreter is alone there anyway, and heaps of their own leave 1 to 2 MB behind.
    Where the C library has no such switch it stays as it is.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _execute_anew(sockets: Sockets) -> None:
    """The same command line in this process; it does not come back. Raises OSError."""
    sockets.hand_on(os.environ)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  (our own words)


def _write_pid_file(path: str) -> None:
    try:
        Path(path).write_text(str(os.getpid()))
    except OSError as error:
        raise ConfigError(f"pid_file cannot be written: {error}") from None

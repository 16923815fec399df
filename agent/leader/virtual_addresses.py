"""Has the cluster give services of the mesh, and those behind terminating gateways, virtual
addresses, from the first leader on."""

from __future__ import annotations

from agent.backend import Backend
from raftstore.dns_queries import GetVirtualAddress
from raftstore.records import ServiceName
from raftstore.state.virtual_addresses import SWITCH
from raftstore.virtual_commands import EnableVirtualAddresses


async def ensure_virtual_addresses(backend: Backend) -> None:
    """Switch them on, if nobody has. Raises what ``Backend.change`` raises."""
    switch = await backend.ask(GetVirtualAddress(ServiceName(SWITCH)))
    if switch.value is None or not switch.value.linked:
        await backend.change(EnableVirtualAddresses(linked=True))

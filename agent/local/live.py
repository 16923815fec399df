"""What is registered on this host, in force: state, running checks, aliases and their story.

Owns no file and tells no server: agent.py decides when a registration takes effect, and keeps and
announces it. Each method here changes state, runner, aliases and history together, so that none of
them knows a check the others do not.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping

from agent.backend import Backend
from agent.certificates import TlsConfig
from agent.config.schema import AgentConfig
from agent.definitions import CheckDefinition
from agent.durations import format_s
from agent.local.central import CentralDefaults
from agent.local.checks.alias import Aliases
from agent.local.checks.elsewhere import Elsewhere
from agent.local.checks.history import CheckHistory, Transition
from agent.local.checks.moments import Moments
from agent.local.checks.output import head, limit_of
from agent.local.checks.probes import Probes
from agent.local.checks.runner import CheckRunner, Report
from agent.local.exposing import ExposePorts, Exposing
from agent.local.node import sidecar_address
from agent.local.proxied import Proxied
from agent.local.registration import Registration
from agent.local.services import LocalCheck, LocalState
from agent.local.stored import KeptEntry
from raftstore.records import PASSING, Check, CheckId, Json, ServiceId

#: Kinds of checks that dial what they check.
DIALLED = frozenset({"http", "tcp", "grpc", "h2ping"})

log = logging.getLogger("lictor.agent.local")


class Live:
    """Services and checks in force."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        on_change: Callable[[], None],
        rng: random.Random,
        clock: Callable[[], float],
        unix_clock: Callable[[], float],
        backend: Backend,
        on_status: Callable[[Check], None] = lambda _: None,
        token_of: Callable[[ServiceId], str] = lambda _: "",
        keep_entry: Callable[[KeptEntry], None] = lambda _: None,
    ) -> None:
        """``on_status`` is told what a probe or a TTL that ran out made of a check,
        ``keep_entry`` what a server said of a config entry. ``token_of`` tells with whose rights
        servers are asked."""
        self._on_status = on_status
        self._on_change = on_change
        self._now = clock
        self._unix_now = unix_clock
        self._output_max = config.check_output_max_size
        self._discard_output = config.discard_check_output
        self.state = LocalState(check_update_interval_s=config.check_update_interval_s, rng=rng)
        self.runner = CheckRunner(
            self._reported,
            concurrent_max=config.limits.checks_concurrent_max,
            programs_max=config.limits.check_programs_max,
            probes=Probes(_tls_of(config)),
            output_max=config.check_output_max_size,
            rng=rng,
            on_stall=self._stalled,
        )
        self.moments = Moments()
        self.central = CentralDefaults(
            backend, rng=rng, token_of=token_of, on_change=self._entries_changed, keep=keep_entry
        )
        self.central.switch(config.enable_central_service_config)
        ports = ExposePorts(config.port_expose_min, config.port_expose_max, sidecar_address(config))
        self.proxied = Proxied(self.state, Exposing(ports), self.central)
        self._elsewhere = Elsewhere(backend, self._alias_seen, rng)
        self._node = config.node_name.lower()
        self._aliases = Aliases()
        self._history = CheckHistory()

    def configure(self, config: AgentConfig) -> None:
        """Take over settings that may change while running."""
        self._output_max = self.runner.output_max = config.check_output_max_size
        self._discard_output = config.discard_check_output
        self.state.check_update_interval_s = config.check_update_interval_s
        self.runner.probes.configure(_tls_of(config))

    def tokens_changed(self) -> None:
        """Ask for config entries with the tokens that stand in now; known ones hold meanwhile."""
        for service in self.state.services.values():
            self.central.put(service.record)

    async def stop(self) -> None:
        """End all probes, timers and questions."""
        await self.runner.stop()
        await self._elsewhere.close()
        await self.central.close()

    def apply(self, registration: Registration, ttl_left_s: Mapping[CheckId, float]) -> None:
        """Register services and checks; ``ttl_left_s`` is what kept TTL checks have left."""
        for warning in registration.warnings:
            log.warning("%s", warning)
        now = self._now()
        for service in registration.services:
            if not self.state.register(service):
                self.state.renew(service.record.id, self._unix_now())
            self.proxied.registered(service.record)
        for check in registration.checks:
            check_id, definition = check.record.id, check.definition
            known = self.state.checks.get(check_id)
            if not self.state.put_check(check, now):
                self.state.renew_check(check_id, self._unix_now())
            self._follow(definition, known)
            # An unchanged probe goes on: registered again and again, it would else never run.
            if known is None or known.definition != definition or definition.kind == "ttl":
                asked = self.proxied.asked(definition)
                self.runner.put(asked, ttl_left_s=ttl_left_s.get(check_id, 0.0))
        touched = {check.record.service_id for check in registration.checks}
        touched |= {service.record.id for service in registration.services}
        self._follow_proxies(touched)
        self._follow_aliases(touched, [check.record.id for check in registration.checks])

    def _follow_proxies(self, touched: Iterable[ServiceId]) -> None:
        """Checks of these services may go through another port than before, or through none."""
        owners = dict.fromkeys(map(self.proxied.owner_of, touched))
        for check_id in self.proxied.follow(owners):
            self._ask_otherwise(check_id)

    def _ask_otherwise(self, check_id: CheckId) -> None:
        check = self.state.checks.get(check_id)
        if check is not None:
            self.runner.put(self.proxied.asked(check.definition))

    def _entries_changed(self, proxies: tuple[ServiceId, ...]) -> None:
        """Config entries say something else of these proxies."""
        self._follow_proxies(proxies)
        self._on_change()

    def _follow(self, check: CheckDefinition, known: LocalCheck | None) -> None:
        """An alias check follows its target, here or on another node."""
        self._aliases.remove(check.id)
        if check.kind != "alias":
            self._elsewhere.remove(check.id)
        elif check.alias_node.lower() in {"", self._node}:
            self._elsewhere.remove(check.id)
            self._aliases.add(check)
        elif known is None or known.definition != check:
            self._elsewhere.put(check)

    def drop_service(self, service_id: ServiceId) -> None:
        """Remove a service with its checks."""
        owner = self.proxied.owner_of(service_id)
        for check_id in self.state.deregister(service_id) or ():
            self._forget_check(check_id)
        self.proxied.removed(service_id)
        self._follow_proxies([owner])
        self._follow_aliases([service_id])

    def drop_check(self, check_id: CheckId) -> None:
        """Remove a check."""
        check = self.state.checks.get(check_id)
        if check is None:
            return
        self.state.remove_check(check_id)
        self._forget_check(check_id)
        self._follow_proxies([check.record.service_id])
        self._follow_aliases([check.record.service_id])

    def _forget_check(self, check_id: CheckId) -> None:
        self.runner.remove(check_id)
        self._aliases.remove(check_id)
        self._elsewhere.remove(check_id)
        self._history.forget(check_id)

    def update_ttl(self, check_id: CheckId, status: str, output: str) -> Check:
        """A TTL check reports; gives its record as it is now."""
        check = self.state.checks[check_id]
        limit = limit_of(check.definition.output_max_size, self._output_max)
        self.runner.refresh_ttl(check_id)
        self.set_status(check_id, status, head(output, limit), cause="update by request")
        return self.state.checks[check_id].record

    def hasten(self, service_id: ServiceId) -> None:
        """What listens for a service has changed: dial it at once, and soon again until it answers.

        Scripts keep their interval: what they cost is the operator's reckoning.
        """
        for check in self.state.checks_of(service_id):
            if check.definition.kind in DIALLED:
                self.runner.hasten(check.record.id)

    def explain(self, check_id: CheckId) -> Json:
        """Why a check has its status: its last results, newest last; None for an unknown id."""
        check = self.state.checks.get(check_id)
        if check is None:
            return None
        return {
            "CheckID": check_id,
            "Status": check.record.status,
            "Type": check.record.type,
            "InSync": check_id not in self.state.unsynced_checks,
            "OutputHeldBack": self.state.is_held(check_id),
            "Source": check.source,
            "Rules": _rules(self.proxied.asked(check.definition)),
            "Transitions": self._history.explain(
                check_id, lambda since, until: self.moments.around(since, until, check_id)
            ),
        }

    def _reported(self, report: Report) -> None:
        """A probe ended or a TTL ran out."""
        check = self.state.checks.get(report.check_id)
        if check is None:
            return
        output = report.output
        if check.definition.kind == "ttl" and check.record.output:
            output = f"{output} (last output before timeout follows): {check.record.output}"
        if report.status is None:
            self._note(report.check_id, check.record.status, check.record.status, output, report)
            return
        self.set_status(
            report.check_id,
            report.status,
            output,
            cause=report.cause,
            duration_s=report.duration_s,
            waited_s=report.waited_s,
        )
        record = self.state.checks[report.check_id].record
        if record.status != check.record.status:
            self._on_status(record)

    def _stalled(self, stalled_s: float) -> None:
        text = f"this process stood still for {stalled_s:.1f} s"
        self.moments.befell(self._unix_now(), text, stalled_s)

    def _alias_seen(self, check_id: CheckId, status: str, output: str) -> None:
        """Another node's checks were looked at."""
        check = self.state.checks.get(check_id)
        if check is not None and (check.record.status, check.record.output) != (status, output):
            shown = head(output, self._output_max)
            self.set_status(check_id, status, shown, cause="alias of another node's checks")

    def set_status(
        self,
        check_id: CheckId,
        status: str,
        output: str,
        *,
        cause: str,
        duration_s: float = 0.0,
        waited_s: float = 0.0,
    ) -> None:
        """The status of a check is known anew."""
        if self._discard_output:
            output = ""
        before = self.state.checks[check_id].record
        changed = self.state.update_check(check_id, status, output, self._now())
        self._history.note(
            check_id,
            Transition(
                at=self._unix_now(),
                before=before.status,
                after=status,
                output=output,
                cause=cause,
                duration_s=duration_s,
                waited_s=waited_s,
            ),
        )
        if not changed:
            return
        if before.status != status:
            self.moments.changed(self._unix_now(), check_id, before.status, status)
            level = logging.INFO if status == PASSING else logging.WARNING
            log.log(
                level,
                "check is now %s check=%s was=%s cause=%s",
                status,
                check_id,
                before.status,
                cause,
            )
        self._follow_aliases([before.service_id])
        self._on_change()

    def _note(
        self, check_id: CheckId, before: str, after: str, output: str, report: Report
    ) -> None:
        """A result that thresholds keep from counting is part of the story all the same."""
        self._history.note(
            check_id,
            Transition(
                at=self._unix_now(),
                before=before,
                after=after,
                output=f"{report.seen}: {output}",
                cause=report.cause,
                duration_s=report.duration_s,
                waited_s=report.waited_s,
            ),
        )

    def _follow_aliases(self, changed: Iterable[ServiceId], own: Iterable[CheckId] = ()) -> None:
        for check_id, status, output in self._aliases.follow(self.state, changed, own):
            before = self.state.checks[check_id].record.status
            shown = head(output, self._output_max)
            self.state.update_check(check_id, status, shown, self._now())
            if before != status:
                self.moments.changed(self._unix_now(), check_id, before, status)
            self._history.note(
                check_id,
                Transition(
                    at=self._unix_now(),
                    before=before,
                    after=status,
                    output=shown,
                    cause="alias of another service's checks",
                ),
            )


def _tls_of(config: AgentConfig) -> TlsConfig | None:
    """The agent's own files, where checks are to use them."""
    return config.tls if config.enable_agent_tls_for_checks else None


def _rules(check: CheckDefinition) -> Json:
    """What decides when and how a check is run, as plain data; what was not given is left out."""
    rules: dict[str, Json] = {
        "Asks": check.http or check.grpc,
        "Interval": format_s(check.interval_s) if check.interval_s else "",
        "Timeout": format_s(check.timeout_s) if check.timeout_s else "",
        "TTL": format_s(check.ttl_s) if check.ttl_s else "",
        "SuccessBeforePassing": check.success_before_passing,
        "FailuresBeforeWarning": check.failures_before_warning,
        "FailuresBeforeCritical": check.failures_before_critical,
    }
    return {name: value for name, value in rules.items() if value}

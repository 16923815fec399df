"""Keys of what this agent looks after, and their bounds: services, checks, watches."""

from __future__ import annotations

from agent.config.definition_keys import CHECK_FIELDS, SERVICE_FIELDS, Shape
from agent.config.keys.rows import BOOL, DURATION, INT, OPAQUES, Key, now

LOCAL: tuple[Key, ...] = (
    now("services", Shape(SERVICE_FIELDS, form="many"), "services", live=True),
    now("service", Shape(SERVICE_FIELDS), live=True),
    now("checks", Shape(CHECK_FIELDS, form="many"), "checks", live=True),
    now("check", Shape(CHECK_FIELDS), live=True),
    now("enable_script_checks", BOOL, "enable_script_checks", live=True),
    now("enable_local_script_checks", BOOL, "enable_local_script_checks", live=True),
    now("check_update_interval", DURATION, "check_update_interval_s", live=True),
    now("check_output_max_size", INT, "check_output_max_size", positive=True, live=True),
    now("discard_check_output", BOOL, "discard_check_output", live=True),
    now("enable_agent_tls_for_checks", BOOL, "enable_agent_tls_for_checks", live=True),
    now("limits.checks_concurrent_max", INT, "limits.checks_concurrent_max", positive=True),
    now("limits.check_programs_max", INT, "limits.check_programs_max", positive=True),
    now("limits.services_max", INT, "limits.services_max", positive=True),
    now("limits.checks_max", INT, "limits.checks_max", positive=True),
    now("enable_central_service_config", BOOL, "enable_central_service_config"),
    now("watches", OPAQUES, live=True),
)

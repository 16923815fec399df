"""`raft recover`: what the survivors of a lost quorum hold, and going on from one of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

if TYPE_CHECKING:
    from raftstore.recovery import RecoveryPlan, Survivor


def _recover(call: Call) -> int:
    from agent.errors import ConfigError
    from agent.local.identity import claim_data_dir
    from raftstore.recovery import RecoveryRefused

    flags = call.flags
    if flags["plan"] == flags["apply"]:
        return call.fail("Say either -plan or -apply")
    folders = list(dict.fromkeys(os.path.abspath(path) for path in flags["data-dir"]))
    if not folders:
        return call.fail("At least one -data-dir is needed: those of all servers that are left")
    missing = [path for path in folders if not os.path.isdir(path)]
    if missing:
        return call.fail(f"Error: {missing[0]} is no directory")
    locks: list[int] = []
    try:
        locks += [claim_data_dir(path) for path in folders]
        made = _plan(folders, flags.text("seed"))
        if flags["plan"]:
            call.say(
                json.dumps(shown(made), indent="  ")
                if flags.text("format") == "json"
                else plan_text(made)
            )
            return 0
        return _apply(call, made)
    except (ConfigError, RecoveryRefused) as error:
        return call.fail(f"Error: {error}")
    except OSError as error:
        return call.fail(f"Error: {error}")
    finally:
        for lock in locks:
            os.close(lock)


def _plan(folders: list[str], seed: str) -> RecoveryPlan:
    from raftstore import recover, recovery

    survivors = [recover.read_survivor(path) for path in folders]
    made = recovery.plan(survivors, seed=seed)
    paths = {one.node_id: one.path for one in survivors}
    losses = tuple(recover.describe(loss, paths[loss.node_id]) for loss in made.losses)
    return replace(made, losses=losses)


def _apply(call: Call, made: RecoveryPlan) -> int:
    from raftstore import recover, recovery

    if made.needless and not call.flags["force"]:
        return call.fail(
            f"Error: {made.quorum} of the {len(made.voters)} voters are here, which is a quorum: "
            "start them, there is nothing to recover. -force does it all the same."
        )
    if call.flags.text("confirm") != made.seed:
        return call.fail(
            f"Error: look at -plan first. Then confirm that the cluster goes on from {made.seed}, "
            f"and that what only others hold is given up: -confirm={made.seed}"
        )
    seed = next(one for one in made.survivors if one.node_id == made.seed)
    copy = recover.back_up(seed.path)
    recover.rewrite(seed.path, recovery.seed_config(seed))
    call.say(f"{seed.path}: goes on alone in cluster {made.new_cluster_id}; a copy is in {copy}")
    for one in made.survivors:
        if one is not seed:
            moved = recover.set_aside(one.path)
            call.say(f"{one.path}: joins as a new server; its data is in {moved}")
    call.say(f"Start {made.seed} first. The others join it with -retry-join.")
    return 0


def shown(made: RecoveryPlan) -> Mapping[str, Any]:
    """The plan as data."""
    found = asdict(made)
    for one in found["survivors"]:
        config = one.pop("config")
        one["servers"] = {
            node_id: {"role": member["role"], "address": member["address"]}
            for node_id, member in config["members"].items()
        }
    return found


def plan_text(made: RecoveryPlan) -> str:
    """The plan for people."""
    lines = [f"Cluster {made.cluster_id}: {len(made.voters)} voters, quorum {made.quorum}"]
    for one in made.survivors:
        lines += _survivor(one)
    lines += [f"Missing: {node_id}" for node_id in made.missing]
    lines.append("")
    if made.needless:
        lines.append("There is a quorum: start these servers. Nothing has to be recovered.")
    lines.append(f"Seed: {made.seed} (the best log)" if not made.notes else f"Seed: {made.seed}")
    lines += [f"Note: {note}" for note in made.notes]
    for loss in made.losses:
        lines.append(f"Given up: {loss.count} entries of {loss.node_id} from index {loss.first} on")
        lines += [f"   {entry}" for entry in loss.shown]
        if loss.count > len(loss.shown):
            lines.append(f"   ... and {loss.count - len(loss.shown)} more")
    if made.acknowledged_at_risk:
        lines.append(
            "Writes that were acknowledged and reached none of these servers are lost, too: the "
            "missing ones were enough to acknowledge them."
        )
    else:
        lines.append("No acknowledged write is lost: each reached one of these servers.")
    lines += [
        "",
        f"-apply makes {made.seed} the only server of a new cluster {made.new_cluster_id}.",
        "Make sure that the missing servers stay off until their data is deleted.",
    ]
    return "\n".join(lines)


def _survivor(one: Survivor) -> list[str]:
    snapshot = "none" if one.snapshot is None else f"index {one.snapshot[0]} term {one.snapshot[1]}"
    lines = [
        f"Survivor {one.node_id}",
        f"   data dir       {one.path}",
        f"   term           {one.term}" + (f" (voted for {one.vote})" if one.vote else ""),
        f"   log            index {one.first_index + 1} to {one.last_index}, "
        f"last term {one.last_term}",
        f"   committed      at least to {one.commit_index}",
        f"   snapshot       {snapshot}",
        f"   configuration  of index {one.config_index}:",
    ]
    for node_id, member in sorted(one.config.members.items()):
        votes = "voter" if node_id in one.config.voters else "non-voter"
        lines.append(f"      {node_id} {member.address} {votes}")
    return lines


COMMANDS = {
    ("raft", "recover"): Command(
        usage="raft recover (-plan | -apply) -data-dir=<dir>... [options]",
        help="For servers that are stopped, when a majority is gone for good. -plan reads what the"
        "\nothers hold and says from which one to go on, and what is lost. -apply does it.",
        run=_recover,
        http=False,
        flags=(
            Flag("plan", "Show; changes nothing.", Kind.BOOL),
            Flag("apply", "Make the seed a cluster of one; needs -confirm.", Kind.BOOL),
            Flag("confirm", "The seed's node id, as -plan shows it."),
            Flag("data-dir", "Data directory of a survivor; may be repeated.", Kind.LIST),
            Flag("seed", "Node id of the survivor to go on from; the best log by default."),
            Flag("force", "Also where there is a quorum.", Kind.BOOL),
            Flag("format", "pretty or json.", default="pretty"),
        ),
    ),
}

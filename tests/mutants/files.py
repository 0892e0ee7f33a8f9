"""The files of which mutants are made, each with the tests that have to notice them."""

from __future__ import annotations

from typing import Final

__all__ = ["BESIDE_C", "FILES"]

_SUPERVISION: Final = (
    "tests/supervisors/test_pure.py",
    "tests/supervisors/test_backoff.py",
    "tests/supervisors/test_accounts.py",
    "tests/supervisors/test_a_start_stop.py",
    "tests/supervisors/test_b_calls.py",
    "tests/supervisors/test_c_restarts.py",
    "tests/supervisors/test_d_auto_shutdown.py",
    "tests/supervisors/test_stopping.py",
    "tests/supervisors/test_hosts.py",
    "tests/supervisors/test_case_variants.py",
    "tests/supervisors/test_calls_while_restarting.py",
    "tests/supervisors/test_machine.py",
)
_BALANCING: Final = (
    "tests/routing/test_router.py",
    "tests/routing/test_dispatch.py",
    "tests/routing/test_choosing.py",
    "tests/routing/test_policy.py",
    "tests/routing/test_lag.py",
    "tests/routing/test_fairness.py",
)
_BYTES: Final = ("tests/transport/test_frames.py", "tests/transport/test_channel.py")
_RINGS: Final = (
    "tests/transport/test_rings.py",
    "tests/transport/test_hostile_rings.py",
    "tests/transport/test_spin.py",
)
_CODEC: Final = ("tests/transport/test_codec.py", "tests/transport/test_twins.py")
_PROGRAMS: Final = ("tests/programs/test_lives.py", "tests/programs/test_spawn.py")
_REMOTING: Final = (
    "tests/remoting/test_credit.py",
    "tests/contracts/test_bounds.py",
    "tests/contracts/test_calls.py",
    "tests/contracts/test_ends.py",
    "tests/remoting/test_direct_links.py",
)

FILES: Final[dict[str, tuple[str, ...]]] = {
    # -- supervisors ----------------------------------------------------------------------
    "supervisors/_backoff.py": (
        "tests/supervisors/test_backoff.py",
        "tests/supervisors/test_pure.py",
    ),
    "supervisors/_strategy.py": ("tests/supervisors/test_pure.py", *_SUPERVISION),
    "supervisors/_restart_limits.py": ("tests/supervisors/test_accounts.py", *_SUPERVISION),
    "supervisors/_shutdown.py": _SUPERVISION,
    "supervisors/_child_record.py": _SUPERVISION,
    "supervisors/_child_table.py": _SUPERVISION,
    "supervisors/_static_children.py": _SUPERVISION,
    "supervisors/_dynamic_children.py": _SUPERVISION,
    # -- the router -----------------------------------------------------------------------
    "actors/routing/balancer/dispatch.py": _BALANCING,
    "actors/routing/balancer/records.py": _BALANCING,
    "actors/routing/balancer/acceptor.py": ("tests/routing/test_accepting.py", *_BALANCING),
    "actors/routing/balancer/peek.py": ("tests/routing/test_peek.py", *_BALANCING),
    "actors/routing/balancer/router.py": ("tests/routing/test_accepting.py", *_BALANCING),
    "actors/routing/serving/send_watch.py": (
        "tests/routing/test_send_watch.py",
        "tests/routing/test_slow_readers.py",
    ),
    "actors/routing/policy/lag.py": ("tests/routing/test_lag.py",),
    "actors/routing/policy/rendezvous.py": ("tests/routing/test_policy.py",),
    # -- transport ------------------------------------------------------------------------
    "transport/wire/frames.py": _BYTES,
    "transport/wire/batches.py": _BYTES,
    "transport/wire/bulk.py": ("tests/transport/test_big_messages.py",),
    "transport/wire/outbox.py": ("tests/transport/test_big_messages.py", *_BYTES),
    "transport/wire/received_fds.py": ("tests/transport/test_descriptors.py", *_BYTES),
    "transport/attachments/mode.py": (
        "tests/transport/test_payload.py",
        "tests/transport/test_attachments.py",
    ),
    "transport/attachments/transaction.py": ("tests/transport/test_attachments.py",),
    "transport/memory/free_list.py": (
        "tests/transport/test_segments.py",
        "tests/transport/test_segments_model.py",
    ),
    "transport/memory/leases_by_peer.py": (
        "tests/transport/test_segments.py",
        "tests/transport/test_attachments.py",
    ),
    "transport/codec/snapshot.py": (
        "tests/transport/test_snapshot.py",
        "tests/transport/test_arrays.py",
        "tests/transport/test_thread_channel.py",
    ),
    "transport/channels/socket_channel.py": _BYTES,
    "transport/channels/thread_channel.py": ("tests/transport/test_thread_channel.py",),
    "transport/channels/spin.py": ("tests/transport/test_spin.py",),
    "transport/channels/inbound_ring.py": ("tests/transport/test_inbound_ring.py", *_RINGS),
    "transport/channels/outbound_ring.py": ("tests/transport/test_outbound_ring.py", *_RINGS),
    "transport/channels/rings.py": _RINGS,
    "transport/channels/thread_copy.py": (
        "tests/transport/test_thread_channel.py",
        "tests/transport/test_snapshot.py",
        "tests/nodes/test_thread_nodes.py",
        "tests/messaging/test_message_trace.py",
    ),
    "transport/codec/held_snapshot.py": (
        "tests/messaging/test_sender_turns.py",
        "tests/contracts/test_moving.py",
        "tests/contracts/test_topics.py",
        "tests/contracts/test_constructors.py",
    ),
    "transport/codec/plain_value.py": _CODEC,
    "transport/types/twins.py": ("tests/transport/test_snapshot.py", *_CODEC),
    # -- actors ---------------------------------------------------------------------------
    "actors/_actor/cron.py": ("tests/actor/test_cron.py",),
    "actors/_actor/parking.py": ("tests/actor/test_parking.py",),
    # -- node groups ----------------------------------------------------------------------
    "actors/_system/scaling_rule.py": ("tests/system/test_scaling_rule.py",),
    # -- application files ----------------------------------------------------------------
    "actors/_system/application/plan.py": (
        "tests/application/test_plan.py",
        "tests/application/test_apply.py",
    ),
    # -- machines -------------------------------------------------------------------------
    "actors/machines/lease.py": ("tests/machines/test_lease.py",),
    "actors/machines/lease_timer.py": ("tests/machines/test_lease_timer.py",),
    "actors/machines/pauses.py": ("tests/machines/test_pauses.py",),
    "actors/machines/joiner.py": ("tests/machines/test_join.py",),
    # -- programs -------------------------------------------------------------------------
    "actors/programs/checking.py": ("tests/programs/test_options.py",),
    "actors/programs/options.py": ("tests/programs/test_options.py",),
    "actors/programs/ports.py": ("tests/programs/test_lives.py", "tests/programs/test_options.py"),
    "actors/programs/health.py": ("tests/programs/test_health.py",),
    "actors/programs/limits.py": (
        "tests/programs/test_limits.py",
        "tests/programs/test_options.py",
    ),
    "actors/programs/account.py": _PROGRAMS,
    "actors/programs/command.py": _PROGRAMS,
    "actors/programs/control_group.py": ("tests/programs/test_limits.py", *_PROGRAMS),
    "actors/programs/environment.py": _PROGRAMS,
    "actors/programs/instance.py": ("tests/programs/test_reloads.py", *_PROGRAMS),
    "actors/programs/left_over.py": _PROGRAMS,
    "actors/programs/process.py": _PROGRAMS,
    "actors/programs/run_once.py": (
        "tests/system/test_alerts.py",
        "tests/programs/test_reloads.py",
    ),
    "actors/programs/spawn.py": _PROGRAMS,
    # -- actors of other nodes ------------------------------------------------------------
    "actors/_remoting/peer.py": _REMOTING,
    "actors/_remoting/remote_actor.py": _REMOTING,
    "actors/_remoting/receiver.py": _REMOTING,
    "actors/_remoting/header_codec.py": ("tests/contracts/test_propagate.py", *_REMOTING),
    "actors/_remoting/deadlock_probe.py": ("tests/remoting/test_deadlocks.py",),
}

BESIDE_C: Final = frozenset(
    {
        "transport/channels/inbound_ring.py",
        "transport/channels/outbound_ring.py",
        "transport/channels/rings.py",
    }
)
"""Files that do something only where there are extensions; the others are tried without them."""

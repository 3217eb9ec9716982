"""Generates docs/asyncapi.json (AsyncAPI 3.0) from the subjects, messages, headers and error codes of this package.

`python -m bus_schemas.asyncapi` writes the file; with `--check` it only says whether the file is current.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bus_schemas import subjects
from bus_schemas.discovery_schemas import DISCOVERY_SCHEMAS
from bus_schemas.errors import ERRORS
from bus_schemas.message_schemas import message_objects, payload_schemas

Document = dict[str, Any]

PATH = Path(__file__).resolve().parent.parent / "docs" / "asyncapi.json"

_INFO: Document = {
    "title": "The bus of Busbar",
    "version": "1.0.0",
    "description": (
        "How queries reach MCP servers over NATS. A caller on the bus needs one operation, `answerQuery`: a NATS "
        "request on `mcp.v1.query`. The others are between Busbar's own processes; the tag says whose they are, and "
        "`receive` and `send` are meant from there.\n\n"
        "Core NATS request/reply, no JetStream. Payloads are JSON in UTF-8, within the server's `max_payload`. "
        "Readers ignore fields and headers that they do not know, so that release N works with N−1; only a query "
        "with unknown fields is refused. No message carries a URL or a command.\n\n"
        "Every error a query may get is under `x-error-codes`."
    ),
    "tags": [
        {"name": "orchestrator", "description": "Answers queries; chooses server, version and attempt."},
        {"name": "worker", "description": "Holds the session with one version of one MCP server."},
        {"name": "admin", "description": "Shows and steers the fleet."},
        {"name": "supervisor", "description": "Owns the processes of one machine: `busbar up`."},
    ],
}
_SERVERS: Document = {
    "nats": {
        "host": "{nats_host}",
        "protocol": "nats",
        "description": "The NATS server or cluster of your deployment; `busbar up` prints the one it started.",
        "variables": {"nats_host": {"description": "host:port", "examples": ["nats.example.org:4222"]}},
        "security": [{"$ref": "#/components/securitySchemes/nats_user"}],
    }
}
_PARAMETERS: Document = {
    "server": {"description": "A logical MCP server: 1 to 64 letters, digits, `_` or `-`, without `__`."},
    "version_token": {"description": "A version with `_` for each dot: `1_2_0` for 1.2.0."},
    "instance": {"description": "The random id of one worker, or of one orchestrator."},
    "verb": {"description": "What is asked.", "enum": list(DISCOVERY_SCHEMAS)},
}

# A placeholder has no dot, so it is its own version token, and the subjects are built by those who build the real ones.
_SERVER, _VERSION, _INSTANCE, _VERB = "{server}", "{version_token}", "{instance}", "{verb}"


def document() -> Document:
    """Return the AsyncAPI document as JSON values."""
    return {
        "asyncapi": "3.0.0",
        "info": _INFO,
        "defaultContentType": "application/json",
        "servers": _SERVERS,
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": message_objects(),
            "schemas": payload_schemas(),
            "parameters": _PARAMETERS,
            "securitySchemes": {
                "nats_user": {
                    "type": "userPassword",
                    "description": "Or whatever the NATS server asks for. The permission to publish on `mcp.v1.query` "
                    "is the right to ask.",
                }
            },
        },
        "x-error-codes": [{"code": code.value, **meaning._asdict()} for code, meaning in ERRORS.items()],
    }


def _channels() -> Document:
    srv = "Discovery of ADR-32, as `nats micro` uses it."
    return {
        "query": _channel(subjects.QUERY, "Callers ask here.", "query"),
        "query_reply": _replies("query_progress", "answer", "problem"),
        "call": _channel(
            subjects.call(_SERVER, _VERSION),
            "One attempt at a query, for one version of a server. Nobody there: NATS answers status 503 at once.",
            "call",
        ),
        "call_instance": _channel(
            subjects.call_instance(_SERVER, _VERSION, _INSTANCE),
            "One attempt that only this worker can answer: it holds the caller's session, or knows its request state.",
            "call",
        ),
        "call_reply": _replies("accepted", "progress", "log", "ask", "result", "chunk", "error"),
        "cancel": _channel(
            subjects.cancel(_SERVER), "Every worker of the server hears of callers gone.", "cancel_call"
        ),
        "control": _channel(
            subjects.control(_SERVER, _INSTANCE),
            "Orders to one worker.",
            "describe_worker",
            "drain_worker",
            "find_state",
            "answer_asked",
        ),
        "control_reply": _replies("acknowledged", "worker_joined", "worker_heartbeat", "state_found"),
        "worker_event": _channel(
            subjects.worker_event(_SERVER, _INSTANCE),
            f"What becomes of each worker; subscribe to `{subjects.WORKER_EVENTS}` for all.",
            "worker_joined",
            "worker_heartbeat",
            "worker_draining",
            "worker_left",
        ),
        "orchestrator_event": _channel(
            subjects.orchestrator_event(_INSTANCE),
            f"What becomes of each orchestrator; subscribe to `{subjects.ORCHESTRATOR_EVENTS}` for all.",
            "orchestrator_heartbeat",
            "orchestrator_left",
        ),
        "cache_event": _channel(
            subjects.CACHE_EVENTS, "What happens to the shared cache; every orchestrator hears it.", "cache_flushed"
        ),
        "cache_event_reply": _replies("flush_acknowledged"),
        "breaker_event": _channel(
            subjects.breaker_event(_SERVER),
            f"What becomes of the breakers of a server; subscribe to `{subjects.BREAKER_EVENTS}` for all.",
            "breaker_changed",
        ),
        "breaker_event_reply": _replies("breaker_acknowledged"),
        "breakers": _channel(subjects.BREAKERS, "Every orchestrator is asked what it knows.", "ask_breakers"),
        "breakers_reply": _replies("breakers_told"),
        "rollout_event": _channel(
            subjects.rollout_event(_SERVER),
            f"Which share each version of a server gets; subscribe to `{subjects.ROLLOUT_EVENTS}` for all.",
            "rollout_weights",
        ),
        "rollout_event_reply": _replies("rollout_acknowledged"),
        "rollouts": _channel(subjects.ROLLOUTS, "Every orchestrator and admin service is asked.", "ask_rollouts"),
        "rollouts_reply": _replies("rollouts_told"),
        "client_event": _channel(
            subjects.CLIENT_EVENTS,
            "What MCP clients of the handshake era have posted beside their requests; every orchestrator hears it.",
            "client_answered",
            "client_cancelled",
            "client_set_log_level",
        ),
        "config": _channel(
            subjects.CONFIG,
            "Orchestrators, health and admin, and workers without a supervisor, each read their own file anew.",
            "prepare_config",
            "apply_config",
        ),
        "config_reply": _replies("config_prepared", "config_applied"),
        "worker_config": _channel(
            subjects.WORKER_CONFIG, "Every worker reads its file anew, once the others have.", "apply_config"
        ),
        "worker_config_reply": _replies("config_applied"),
        "supervisor": _channel(
            subjects.SUPERVISOR,
            "Orders to the supervisors of `busbar up`. Nobody there: NATS answers status 503 at once.",
            "prepare_config",
            "apply_config",
            "deploy_server",
            "stop_version",
        ),
        "supervisor_reply": _replies("config_prepared", "config_applied", "deployment_answer", "stop_answer"),
        "maintenance_event": _channel(
            subjects.maintenance_event(_SERVER),
            f"Which server an operator takes out; subscribe to `{subjects.MAINTENANCE_EVENTS}` for all.",
            "maintenance_changed",
        ),
        "maintenance_event_reply": _replies("maintenance_acknowledged"),
        "maintenance": _channel(
            subjects.MAINTENANCE, "Every orchestrator, health and admin service is asked.", "ask_maintenance"
        ),
        "maintenance_reply": _replies("maintenance_told"),
        "pins_event": _channel(
            subjects.pins_event(_SERVER),
            f"Which definitions of a server's tools are accepted; subscribe to `{subjects.PIN_EVENTS}` for all.",
            "pins_changed",
        ),
        "pins_event_reply": _replies("pins_acknowledged"),
        "pins": _channel(subjects.PINS, "Every orchestrator and admin service is asked.", "ask_pins"),
        "pins_reply": _replies("pins_told"),
        "discovery": _channel(subjects.service_verb(_VERB), f"{srv} Asks all.", "discover"),
        "discovery_of_server": _channel(
            subjects.service_verb(_VERB, _SERVER), f"{srv} Asks the workers of one server.", "discover"
        ),
        "discovery_of_instance": _channel(
            subjects.service_verb(_VERB, _SERVER, _INSTANCE), f"{srv} Asks one worker.", "discover"
        ),
        "discovery_reply": _replies(*(f"discovery_{verb.lower()}" for verb in DISCOVERY_SCHEMAS)),
    }


def _operations() -> Document:
    call_queue = subjects.call_queue(_SERVER, _VERSION)
    discovery_replies = [f"discovery_{verb.lower()}" for verb in DISCOVERY_SCHEMAS]
    return {
        "answerQuery": _operation(
            "orchestrator",
            "receive",
            "query",
            "Answer a query. Send it as a NATS request; one reply comes. Only if the query has the header "
            "`mcp-progress: 1`, messages of `query_progress` may come before it: then subscribe to an inbox, and read "
            "until the one with `mcp-status`.",
            queue=subjects.QUERY_QUEUE,
            reply=("query_reply", "query_progress", "answer", "problem"),
        ),
        "sendCall": _operation(
            "orchestrator",
            "send",
            "call",
            "Send one attempt to whichever worker of the version is next.",
            reply=("call_reply", "accepted", "progress", "log", "ask", "result", "chunk", "error"),
        ),
        "answerCall": _operation(
            "worker",
            "receive",
            "call",
            "Run a call. `accepted` may come first, `progress` and `log` if the call wants them; then a `result`, or "
            "its `chunk`s, or an `error`.",
            queue=call_queue,
            reply=("call_reply", "accepted", "progress", "log", "ask", "result", "chunk", "error"),
        ),
        "sendCallToInstance": _operation(
            "orchestrator",
            "send",
            "call_instance",
            "Send one attempt to the one worker that can answer it.",
            reply=("call_reply", "accepted", "progress", "log", "ask", "result", "chunk", "error"),
        ),
        "answerCallToInstance": _operation(
            "worker",
            "receive",
            "call_instance",
            "Run a call, as any other.",
            reply=("call_reply", "accepted", "progress", "log", "ask", "result", "chunk", "error"),
        ),
        "cancelCall": _operation("orchestrator", "send", "cancel", "Say that a caller has gone or run out of time."),
        "stopCall": _operation("worker", "receive", "cancel", "Stop a call that nobody waits for."),
        "describe": _operation(
            "worker",
            "receive",
            "control",
            "Tell how the worker does; a heartbeat while it has no catalogue.",
            messages=("describe_worker",),
            reply=("control_reply", "worker_joined", "worker_heartbeat"),
        ),
        "drain": _operation(
            "worker",
            "receive",
            "control",
            "Finish what it has, leave and exit.",
            messages=("drain_worker",),
            reply=("control_reply", "acknowledged"),
        ),
        "findState": _operation(
            "worker",
            "receive",
            "control",
            "Tell whether the worker's server gave out a request state.",
            messages=("find_state",),
            reply=("control_reply", "state_found"),
        ),
        "takeAnswer": _operation(
            "worker",
            "receive",
            "control",
            "Give the server the client's answer to what it asked during a call.",
            messages=("answer_asked",),
        ),
        "announce": _operation("worker", "send", "worker_event", "Say what becomes of the worker."),
        "followWorkers": _operation("orchestrator", "receive", "worker_event", "Keep the table of live workers."),
        "announceOrchestrator": _operation(
            "orchestrator", "send", "orchestrator_event", "Say what becomes of the orchestrator."
        ),
        "followOrchestrators": _operation(
            "admin", "receive", "orchestrator_event", "Keep the table of live orchestrators."
        ),
        "tellFlush": _operation(
            "admin",
            "send",
            "cache_event",
            "Say that entries are invalid; every orchestrator acknowledges it.",
            reply=("cache_event_reply", "flush_acknowledged"),
        ),
        "obeyFlush": _operation(
            "orchestrator",
            "receive",
            "cache_event",
            "Answer nothing from before any more.",
            reply=("cache_event_reply", "flush_acknowledged"),
        ),
        "tellBreaker": _operation("orchestrator", "send", "breaker_event", "Say that a breaker has changed."),
        "followBreakers": _operation(
            "orchestrator",
            "receive",
            "breaker_event",
            "Refuse with the orchestrator that opened it; obey an operator, and acknowledge that.",
            reply=("breaker_event_reply", "breaker_acknowledged"),
        ),
        "orderBreaker": _operation(
            "admin",
            "send",
            "breaker_event",
            "Isolate a server, or reset its breakers; every orchestrator acknowledges it.",
            reply=("breaker_event_reply", "breaker_acknowledged"),
        ),
        "tellBreakers": _operation(
            "orchestrator", "receive", "breakers", "Tell what is known.", reply=("breakers_reply", "breakers_told")
        ),
        "setWeights": _operation(
            "admin",
            "send",
            "rollout_event",
            "Set the shares of a server's versions; every orchestrator acknowledges it.",
            reply=("rollout_event_reply", "rollout_acknowledged"),
        ),
        "pinVersion": _operation(
            "supervisor",
            "send",
            "rollout_event",
            "Give the version in force all queries, before another one is started; nobody is waited for.",
        ),
        "obeyWeights": _operation(
            "orchestrator",
            "receive",
            "rollout_event",
            "Deal queries out by these shares, and acknowledge that.",
            reply=("rollout_event_reply", "rollout_acknowledged"),
        ),
        "tellRollouts": _operation(
            "orchestrator",
            "receive",
            "rollouts",
            "Tell what is known; admin services do, too.",
            reply=("rollouts_reply", "rollouts_told"),
        ),
        "tellClientEvent": _operation(
            "orchestrator", "send", "client_event", "Say what a client has posted that concerns nobody here."
        ),
        "heedClientEvent": _operation(
            "orchestrator", "receive", "client_event", "Go on with the request of the client that it is about."
        ),
        "orderConfig": _operation(
            "admin",
            "send",
            "config",
            "Ask what would be put into force; if all say the same, order it.",
            reply=("config_reply", "config_prepared", "config_applied"),
        ),
        "followConfig": _operation(
            "orchestrator",
            "receive",
            "config",
            "Say what the file says, or put it into force; so do health and admin services.",
            reply=("config_reply", "config_prepared", "config_applied"),
        ),
        "orderWorkerConfig": _operation(
            "admin",
            "send",
            "worker_config",
            "Order workers to go by their file.",
            reply=("worker_config_reply", "config_applied"),
        ),
        "followWorkerConfig": _operation(
            "worker", "receive", "worker_config", "Go by the file.", reply=("worker_config_reply", "config_applied")
        ),
        "orderSupervisor": _operation(
            "admin",
            "send",
            "supervisor",
            "Reload; `busbar deploy` sends the other orders.",
            reply=("supervisor_reply", "config_prepared", "config_applied", "deployment_answer", "stop_answer"),
        ),
        "obeySupervisorOrder": _operation(
            "supervisor",
            "receive",
            "supervisor",
            "Start, replace and stop workers and servers.",
            reply=("supervisor_reply", "config_prepared", "config_applied", "deployment_answer", "stop_answer"),
        ),
        "orderMaintenance": _operation(
            "admin",
            "send",
            "maintenance_event",
            "Take a server out, or put it back; every orchestrator acknowledges it.",
            reply=("maintenance_event_reply", "maintenance_acknowledged"),
        ),
        "followMaintenance": _operation(
            "orchestrator",
            "receive",
            "maintenance_event",
            "Let no query reach a server that is out, and acknowledge that; health services only follow.",
            reply=("maintenance_event_reply", "maintenance_acknowledged"),
        ),
        "tellMaintenance": _operation(
            "orchestrator",
            "receive",
            "maintenance",
            "Tell what is known; health and admin services do, too.",
            reply=("maintenance_reply", "maintenance_told"),
        ),
        "orderPins": _operation(
            "admin",
            "send",
            "pins_event",
            "Pin the definitions of a server's tools, accept others, or pin nothing any more.",
            reply=("pins_event_reply", "pins_acknowledged"),
        ),
        "followPins": _operation(
            "orchestrator",
            "receive",
            "pins_event",
            "Neither list nor call a tool whose definition is not accepted, and acknowledge that.",
            reply=("pins_event_reply", "pins_acknowledged"),
        ),
        "tellPins": _operation(
            "orchestrator",
            "receive",
            "pins",
            "Tell what is known; admin services do, too.",
            reply=("pins_reply", "pins_told"),
        ),
        **{
            name: _operation("worker", "receive", channel, summary, reply=("discovery_reply", *discovery_replies))
            for name, channel, summary in (
                ("discover", "discovery", "Every worker replies."),
                ("discoverServer", "discovery_of_server", "Every worker of the server replies."),
                ("discoverInstance", "discovery_of_instance", "The worker replies."),
            )
        },
    }


def _channel(address: str, description: str, *messages: str) -> Document:
    parameters = {name: {"$ref": f"#/components/parameters/{name}"} for name in _PARAMETERS if f"{{{name}}}" in address}
    channel: Document = {"address": address, "description": description, "messages": _message_refs(messages)}
    return {**channel, "parameters": parameters} if parameters else channel


def _replies(*messages: str) -> Document:
    return {"address": None, "description": "The inbox of whoever asked.", "messages": _message_refs(messages)}


def _message_refs(names: tuple[str, ...]) -> Document:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _operation(
    tag: str,
    action: str,
    channel: str,
    summary: str,
    *,
    messages: tuple[str, ...] = (),
    queue: str | None = None,
    reply: tuple[str, ...] = (),
) -> Document:
    """Return an operation; `reply` names the reply's channel, then its messages."""
    operation: Document = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "tags": [{"name": tag}],
    }
    if messages:
        operation["messages"] = _channel_messages(channel, messages)
    if queue is not None:
        operation["bindings"] = {"nats": {"queue": queue, "bindingVersion": "0.1.0"}}
    if reply:
        operation["reply"] = {
            "address": {
                "location": "$message.header#/replyTo",
                "description": "The reply subject of the NATS message itself, which is not among its headers.",
            },
            "channel": {"$ref": f"#/channels/{reply[0]}"},
            "messages": _channel_messages(reply[0], reply[1:]),
        }
    return operation


def _channel_messages(channel: str, names: tuple[str, ...]) -> list[Document]:
    return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names]


def main() -> int:
    """Write the file, or check it; return the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m bus_schemas.asyncapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if the file is not current")
    parser.add_argument("--file", type=Path, default=PATH, help="default: docs/asyncapi.json")
    arguments = parser.parse_args()
    path: Path = arguments.file
    text = json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
    if not arguments.check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return 0
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{path.name} is not what bus_schemas says: run `make schemas`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

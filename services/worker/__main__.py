"""One worker process: `python -m services.worker [OPTIONS] SERVER [-- COMMAND…]`."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from bus_schemas.names import semantic_version
from services.runtime.config.connections import load_connection
from services.runtime.config.file import config_path, load_policy
from services.runtime.lifecycle import Lifecycle
from services.runtime.process import run_process
from services.worker.app import Assignment, open_worker
from services.worker.settings import WorkerSettings


async def live(arguments: argparse.Namespace, settings: WorkerSettings) -> int:
    """Serve until a signal or an order to drain; return the exit status."""
    config = config_path(settings.config)
    policy = load_policy(config).of(arguments.server)
    connect = partial(load_connection, config, arguments.server, url=arguments.url, command=arguments.command)
    assignment = Assignment(arguments.server, arguments.version or policy.version, policy, connect(), config, connect)
    life = Lifecycle()
    life.obey_signals()
    async with open_worker(assignment, settings, life) as worker:
        metrics_port = settings.metrics_port if arguments.metrics_port is None else arguments.metrics_port
        if metrics_port is None:
            await life.stopping.wait()
            await worker.leave()
        else:
            from services.worker.probes import serve_probes  # noqa: PLC0415 - FastAPI: half of the start

            await serve_probes(worker, life, metrics_port)
    return life.status


def port_number(text: str) -> int:
    """Return the TCP port that `text` says; raise ValueError if it says none."""
    if not 0 <= (port := int(text)) <= 65535:
        raise ValueError(text)
    return port


def read_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line. The server may stand behind `--`, before its command: a name may begin with a dash."""
    parser = argparse.ArgumentParser(
        prog="busbar worker",
        usage="%(prog)s [-h] [--version V] [--url URL] [--metrics-port PORT] SERVER [-- COMMAND...]",
        description="One worker in front of one MCP server. COMMAND starts the server instead of the configuration's.",
    )
    parser.add_argument("server", nargs="?")
    parser.add_argument("--version", type=semantic_version, help="of the server; default: the configuration's")
    parser.add_argument("--url", help="reach the server here instead of where the configuration says")
    parser.add_argument(
        "--metrics-port",
        type=port_number,
        metavar="PORT",
        help="serve /livez, /readyz and /metrics here instead of at BUSBAR_METRICS_PORT; 0 takes any free port",
    )
    # argparse itself takes the words behind `--` only where no option stands between them and the server.
    end = argv.index("--") if "--" in argv else len(argv)
    arguments = parser.parse_args(argv[:end])
    behind = list(argv[end + 1 :])
    if arguments.server is None:
        if not behind:
            parser.error("SERVER is missing")
        arguments.server = behind.pop(0)
        if behind[:1] == ["--"]:
            behind.pop(0)
    arguments.command = behind
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = read_arguments(sys.argv[1:] if argv is None else argv)
    return run_process(f"worker {arguments.server}", WorkerSettings, lambda settings: live(arguments, settings))


if __name__ == "__main__":
    raise SystemExit(main())

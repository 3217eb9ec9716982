"""One worker process: `python -m services.worker SERVER [--version V] [--url URL] [-- COMMAND…]`."""

import argparse
from collections.abc import Sequence

from bus_schemas.names import semantic_version
from services.runtime.config.connections import load_connection
from services.runtime.config.file import load_policy
from services.runtime.config.policy import ServerPolicy
from services.runtime.lifecycle import Lifecycle
from services.runtime.process import run_process
from services.runtime.serving import bind, serve
from services.worker.app import Assignment, create_app, open_worker
from services.worker.settings import WorkerSettings


async def live(arguments: argparse.Namespace, settings: WorkerSettings) -> int:
    """Serve until a signal or an order to drain; return the exit status."""
    policy = load_policy(settings.config).servers.get(arguments.server, ServerPolicy())
    connection = load_connection(settings.config, arguments.server, url=arguments.url, command=arguments.command)
    assignment = Assignment(arguments.server, arguments.version or policy.version, policy, connection)
    life = Lifecycle()
    life.obey_signals()
    async with open_worker(assignment, settings, life) as worker:
        if settings.metrics_port is None:
            await life.stopping.wait()
            await worker.leave()
        else:
            with bind(settings.worker_host, settings.metrics_port) as listener:
                await serve(create_app(worker, life), listener, life, leave=worker.leave, drain_s=1)
    return life.status


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="busbar worker", description="One worker in front of one MCP server.")
    parser.add_argument("server")
    parser.add_argument("--version", type=semantic_version, help="of the server; default: the configuration's")
    parser.add_argument("--url", help="reach the server here instead of where the configuration says")
    parser.add_argument("command", nargs="*", help="after --: start the server with this instead")
    arguments = parser.parse_args(argv)
    return run_process(f"worker {arguments.server}", WorkerSettings, lambda settings: live(arguments, settings))


if __name__ == "__main__":
    raise SystemExit(main())

"""One orchestrator process."""

from services.orchestrator.app import create_app
from services.orchestrator.settings import OrchestratorSettings
from services.runtime.http_process import run_http_service

if __name__ == "__main__":
    status = run_http_service(
        "orchestrator", OrchestratorSettings, create_app, port=lambda settings: settings.orchestrator_port
    )
    raise SystemExit(status)

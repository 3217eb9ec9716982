"""One health process."""

from services.health.app import create_app
from services.health.settings import HealthSettings
from services.runtime.http_process import run_http_service

if __name__ == "__main__":
    status = run_http_service("health", HealthSettings, create_app, port=lambda settings: settings.health_port)
    raise SystemExit(status)

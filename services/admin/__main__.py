"""One admin process."""

from services.admin.app import create_app
from services.admin.settings import AdminSettings
from services.runtime.http_process import run_http_service

if __name__ == "__main__":
    status = run_http_service("admin", AdminSettings, create_app, port=lambda settings: settings.admin_port)
    raise SystemExit(status)

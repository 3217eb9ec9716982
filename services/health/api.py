"""HTTP: GET /health/mcp."""

from fastapi import APIRouter, Request, Response

from services.health.monitor import HealthMonitor
from services.health.state import HealthReport, Status

router = APIRouter()


def monitor_of(request: Request) -> HealthMonitor:
    """The one place where the lifespan's state gets its type."""
    monitor: HealthMonitor = request.state.monitor
    return monitor


@router.get(
    "/health/mcp",
    tags=["health"],
    summary="How each server does",
    response_model=HealthReport,
    responses={503: {"model": HealthReport, "description": "More than half of the servers are down, or the bus is"}},
)
async def health(request: Request) -> Response:
    report = monitor_of(request).report()
    status = 503 if report.status is Status.UNHEALTHY else 200
    return Response(report.model_dump_json(), status, media_type="application/json")

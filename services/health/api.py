"""HTTP: GET /health/mcp."""

from fastapi import APIRouter, Request, Response

from services.health.monitor import HealthMonitor
from services.health.state import HealthReport

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
    answer = monitor_of(request).answer()
    return Response(answer.body, answer.status, media_type="application/json")

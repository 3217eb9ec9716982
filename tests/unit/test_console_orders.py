"""What can be ordered at the console, and how a form becomes what the API takes, and its answer words."""

from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.admin import breakers_api, cache_api, config_api, maintenance_api, workers_api
from services.admin.bodies import Body
from services.admin.breakers_api import Isolation, Reset
from services.admin.console.answers import Notice, notice, refusal
from services.admin.console.api_calls import Reply
from services.admin.console.forms import operation_body, operation_path
from services.admin.console.orders import ORDERS, Order
from services.admin.maintenance_api import TakingOut
from services.admin.rollouts import api as rollouts_api
from services.admin.rollouts.rollout import RolloutOrder

NOW = datetime(2126, 11, 30, 12, 0, tzinfo=UTC)
BODIES: dict[str, type[Body]] = {
    "begin-maintenance": TakingOut,
    "isolate-server": Isolation,
    "reset-breakers": Reset,
    "start-rollout": RolloutOrder,
}
_TARGETS = {"server": "files", "tool": "read", "instance": "abcdefghijkl", "id": "x", "to_version": "1.1.0"}


def operations() -> set[tuple[str, str]]:
    """Method and path of every operation that changes something."""
    apis = (workers_api, maintenance_api, breakers_api, cache_api, config_api, rollouts_api)
    routes = [route for api in apis for route in api.router.routes if isinstance(route, APIRoute)]
    changing = [(method, route.path) for route in routes for method in route.methods or () if method != "GET"]
    return {(method, path.replace(":path", "")) for method, path in changing}


def targets(order: Order) -> dict[str, str]:
    return {name: _TARGETS[name] for name in order.targets}


def filled_in(order: Order) -> dict[str, str]:
    """The form as it is shown, with a reason where one is needed."""
    return {field.name: field.value or ("why" if field.is_needed else "") for field in order.fields}


def reply(status: int = 200, **document: Any) -> Reply:
    return Reply(status, document)


def test_each_operation_that_changes_something_can_be_ordered_and_nothing_else() -> None:
    assert {(order.method, order.path) for order in ORDERS.values()} == operations()


@pytest.mark.parametrize("name", ORDERS)
def test_a_form_that_is_only_confirmed_is_one_that_the_api_takes(name: str) -> None:
    order = ORDERS[name]
    body = operation_body(order, targets(order), filled_in(order), NOW)
    if name in BODIES:
        BODIES[name].model_validate(body)
    else:
        assert body is None
    assert "{" not in operation_path(order, targets(order)) + order.title.format_map(targets(order))


def test_what_a_form_proposes_for_a_rollout_is_what_the_api_takes_by_itself() -> None:
    order = ORDERS["start-rollout"]
    proposed = RolloutOrder.model_validate(operation_body(order, targets(order), filled_in(order), NOW))
    assert proposed == RolloutOrder(server="files", to_version="1.1.0")


@pytest.mark.parametrize(
    ("name", "form", "body"),
    [
        ("isolate-server", {"reason": " loud ", "for_s": "90"}, {"reason": "loud", "for_s": 90}),
        ("isolate-server", {"reason": "", "for_s": "1.5"}, {"reason": "", "for_s": 1.5}),
        ("isolate-server", {"for_s": "soon"}, {"reason": "", "for_s": "soon"}),
        ("isolate-server", {"reason": "x", "for_s": "nan"}, {"reason": "x", "for_s": "nan"}),
        ("begin-maintenance", {"reason": "x", "for_min": ""}, {"reason": "x"}),
        ("begin-maintenance", {"reason": "x", "for_min": "30"}, {"reason": "x", "until": "2126-11-30T12:30:00+00:00"}),
        ("begin-maintenance", {"reason": "x", "for_min": "1e300"}, {"reason": "x", "until": "1e300"}),
    ],
)
def test_a_form_becomes_a_body_and_what_makes_no_sense_is_left_for_the_api(
    name: str, form: dict[str, str], body: dict[str, object]
) -> None:
    order = ORDERS[name]
    assert operation_body(order, targets(order), form, NOW) == body


def test_steps_are_read_however_they_are_parted() -> None:
    order = ORDERS["start-rollout"]
    for text in ("10, 50,100", "10 50 100", "10 %; 50 %; 100 %"):
        body = operation_body(order, targets(order), {**filled_in(order), "steps": text}, NOW)
        assert body is not None
        assert body["steps"] == [10, 50, 100]


def test_a_name_with_a_slash_widens_no_flush_and_a_tools_name_stays_as_it_is() -> None:
    assert operation_path(ORDERS["clear-server-cache"], {"server": "files/read"}) == "/v1/cache/files%2Fread"
    assert operation_path(ORDERS["clear-server-cache"], {"server": ".."}) == "/v1/cache/.."
    tool = "look\u202e up?/ü%20"
    assert operation_path(ORDERS["clear-tool-cache"], {"server": "a", "tool": tool}) == f"/v1/cache/a/{tool}"


@pytest.mark.parametrize(
    ("name", "answer", "told"),
    [
        (
            "clear-cache",
            reply(cleared=3, acknowledged_by=["a", "b"], missing=[]),
            Notice("done", "The cache is flushed. 3 entries are gone. Acknowledged by 2 of 2."),
        ),
        (
            "isolate-server",
            reply(504, acknowledged_by=["a"], missing=["b"]),
            Notice("warning", "files is isolated. Acknowledged by 1 of 2. Not heard in time from b."),
        ),
        (
            "begin-maintenance",
            reply(acknowledged_by=["a"], missing=[], retained=False),
            Notice(
                "warning",
                "files is out. The store has not taken it: it is lost if all processes end before the store is back. "
                "Acknowledged by 1 of 1.",
            ),
        ),
        (
            "reload-config",
            reply(504, applied=False, added=[], removed=[], changed=[], acknowledged_by=[], missing=["supervisor"]),
            Notice("warning", "Nothing was changed: supervisor did not answer."),
        ),
        (
            "reload-config",
            reply(applied=True, added=["x"], removed=[], changed=["y", "z"], acknowledged_by=["a"], missing=[]),
            Notice("done", "The configuration was read. Added: x. Changed: y, z. Acknowledged by 1 of 1."),
        ),
        ("pause-rollout", reply(state="paused"), Notice("done", "The rollout is paused.")),
    ],
)
def test_what_became_of_an_order_is_told(name: str, answer: Reply, told: Notice) -> None:
    assert notice(ORDERS[name], targets(ORDERS[name]), answer) == told


def test_a_refusal_is_told_beside_its_field_and_the_rest_above_the_form() -> None:
    errors = [
        {"pointer": "/until", "keyword": "minimum"},
        {"pointer": "/reason", "keyword": "never heard of"},
        {"pointer": "/other", "keyword": "additionalProperties"},
        {"pointer": "", "keyword": "x", "detail": "files: no such key"},
    ]
    refused = refusal(
        ORDERS["begin-maintenance"], reply(422, code="invalid_request", title="Bad", detail="It is bad.", errors=errors)
    )
    assert (refused.title, refused.detail) == ("Bad", "It is bad.")
    assert refused.by_field == {"for_min": "is too small", "reason": "cannot be taken"}
    assert refused.others == ("/other cannot be taken", "files: no such key")


@pytest.mark.parametrize("model", BODIES.values())
def test_every_limit_of_a_form_is_one_of_the_api(model: type[BaseModel]) -> None:
    """Who keeps to the form is not refused for a number."""
    order = next(order for name, order in ORDERS.items() if BODIES.get(name) is model)
    for field in order.fields:
        if field.kind != "number":
            continue
        annotated: TypeAdapter[Any] = TypeAdapter(model)
        for text in filter(None, (field.least, field.most)):
            annotated.validate_python(
                operation_body(order, targets(order), {**filled_in(order), field.name: text}, NOW)
            )
        below = operation_body(
            order, targets(order), {**filled_in(order), field.name: str(float(field.least) - 1)}, NOW
        )
        with pytest.raises(ValidationError):
            annotated.validate_python(below)

"""`/metrics`: what Prometheus scrapes, as Prometheus text or OpenMetrics.

Two sorts of figures: those of the node come from the database at each scrape, and are the same whichever process is
asked; those of requests are of this process. No label holds what a client sent: routes are those of the application.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from docex import __version__
from docex.api.access import NodeOf
from docex.core.state import Figures
from docex.service.readiness import Part, Readiness

router = APIRouter(tags=["health"])

_METHODS: Final = frozenset(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"])
_OTHER: Final = "other"
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Meter:
    """What this process counts of its requests. One registry for each application: nothing is global."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        Gauge("docex_info", "The version that runs.", ["version"], registry=self.registry).labels(__version__).set(1)
        labels, registry = ["method", "route"], self.registry
        self._requests = Counter(
            "docex_http_requests", "Requests served by this process.", [*labels, "status"], registry=registry
        )
        self._seconds = Histogram(
            "docex_http_request_seconds",
            "From a request's head to the last byte of its answer, bodies included.",
            labels,
            buckets=_BUCKETS,
            registry=registry,
        )
        self.busy = Gauge(
            "docex_http_requests_in_progress", "Requests that this process serves now.", registry=registry
        )

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        method = method if method in _METHODS else _OTHER  # a client may send any word
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)


class Measured:
    """Measures every request (ASGI)."""

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self._app, self._meter = app, meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._meter.busy.track_inprogress():
            try:
                await self._app(scope, receive, sending)
            finally:
                route = getattr(scope.get("route"), "path", _OTHER)
                self._meter.served(scope["method"], route, status, time.perf_counter() - start)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, node: NodeOf) -> Response:
    """Figures for Prometheus: of the node from its database, of requests from this process."""
    state = request.app.state
    readiness: Readiness = state.readiness
    parts = await readiness.look()
    families = list(_of_parts(parts.items()))
    if parts["database"].serves:
        families += _of_node(await node.store.figures(node.account), node.now())
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    # Together, since OpenMetrics has one end: what this process counts goes on while it is read.
    meter: Meter = state.meter
    return Response(encode(_Together(meter.registry, families)), media_type=media_type)


class _Together(CollectorRegistry):
    def __init__(self, registry: CollectorRegistry, more: Iterable[Metric]) -> None:
        super().__init__()
        self._families = [*registry.collect(), *more]

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_parts(parts: Iterable[tuple[str, Part]]) -> Iterable[Metric]:
    up = GaugeMetricFamily("docex_part_up", "Whether a part of the node can serve (see /readyz).", labels=["part"])
    took = GaugeMetricFamily(
        "docex_part_check_seconds", "What a look at a part took: one small query, or one small call.", labels=["part"]
    )
    for name, part in parts:
        up.add_metric([name], float(part.serves))
        took.add_metric([name], part.seconds)
    return up, took


def _of_node(figures: Figures, now: int) -> Iterable[Metric]:
    deliveries = GaugeMetricFamily(
        "docex_deliveries", "Transfers, one for each addressee.", labels=["direction", "state"]
    )
    for (direction, state), count in figures.deliveries.items():
        deliveries.add_metric([direction, state], count)
    jobs = GaugeMetricFamily("docex_jobs", "Jobs that are waiting or being done.", labels=["kind"])
    for kind, count in figures.jobs.items():
        jobs.add_metric([kind], count)
    return (
        CounterMetricFamily("docex_deposits", "Documents deposited at this node, versions included.", figures.deposits),
        deliveries,
        jobs,
        _age(
            "docex_jobs_oldest_due_seconds",
            "How long the job that is overdue most has been so.",
            figures.jobs_due_since,
            now,
        ),
        GaugeMetricFamily("docex_statements_not_anchored", "Statements without a final anchor.", figures.not_anchored),
        _age(
            "docex_statements_not_anchored_age_seconds",
            "How long the oldest of them has waited.",
            figures.not_anchored_since,
            now,
        ),
        _age("docex_anchor_age_seconds", "Since the block of the newest final anchor.", figures.anchored_at, now),
    )


def _age(name: str, text: str, since: float | None, now: int) -> Metric:
    """0 where there is nothing that could have an age."""
    return GaugeMetricFamily(name, text, 0.0 if since is None else max(0.0, now - since))

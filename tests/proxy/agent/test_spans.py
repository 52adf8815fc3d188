from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from meshfilters.env import SpanRecord
from meshfilters.errors import ConfigError
from proxy.agent.spans import QUEUE, SpanSender
from proxy.config.model import Tracing

TRACE, CALLER, OWN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "12" * 8
SERVER: SpanRecord = (
    *(TRACE, OWN, CALLER, "a=1", "server", "GET"),
    *(1_700_000_000_000_000_001, 1_700_000_000_000_000_002, False),
    {"http.request.method": "GET", "server.port": 80, "mesh.filter.retry.seconds": 0.5},
)
CLIENT: SpanRecord = (
    *(TRACE, "34" * 8, OWN, "", "client", "HTTP"),
    *(1_700_000_000_000_000_001, 1_700_000_000_000_000_002, True, {}),
)
WAIT = 10


class Collector:
    """An OTLP receiver on a port of its own; it answers when it may."""

    def __init__(self) -> None:
        self.requests: Queue[ResourceSpans] = Queue()
        self.paths: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                message = ExportTraceServiceRequest.FromString(data)
                collector.paths.append(self.path)
                for spans in message.resource_spans:
                    collector.requests.put(spans)
                collector.may_answer.wait(WAIT)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def tracing(self) -> Tracing:
        return Tracing(endpoint=f"http://127.0.0.1:{self.port}")

    def close(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._thread.join(WAIT)
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def dropped() -> list[int]:
    return []


def spans_of(collector: Collector) -> list[Span]:
    sent: ResourceSpans = collector.requests.get(timeout=WAIT)
    return list(sent.scope_spans[0].spans)


def attributes_of(found: Span | ResourceSpans) -> dict[str, object]:
    holder = found if isinstance(found, Span) else found.resource
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value"))
        for each in holder.attributes
    }


def dead_endpoint() -> str:
    """Where nobody listens any more."""
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{once.getsockname()[1]}"


def test_a_record_arrives_as_the_span_it_is(
    collector: Collector, dropped: list[int]
) -> None:
    sender = SpanSender(collector.tracing, drop=dropped.append, fail=dropped.append)
    assert sender.offer(SERVER)
    assert sender.offer(CLIENT)
    sender.close(WAIT)

    server, client = spans_of(collector)
    assert server.trace_id.hex() == TRACE
    assert server.span_id.hex() == OWN
    assert server.parent_span_id.hex() == CALLER
    assert server.trace_state == "a=1"
    assert server.kind == Span.SPAN_KIND_SERVER
    assert server.start_time_unix_nano == 1_700_000_000_000_000_001
    assert server.end_time_unix_nano == 1_700_000_000_000_000_002
    assert server.status.code == Status.STATUS_CODE_UNSET
    assert attributes_of(server) == SERVER[-1]
    assert client.parent_span_id.hex() == OWN
    assert client.kind == Span.SPAN_KIND_CLIENT
    assert client.status.code == Status.STATUS_CODE_ERROR
    assert collector.paths == ["/v1/traces"]
    assert sender.statistics() == {
        "exported": 2,
        "dropped": 0,
        "failed": 0,
        "queued": 0,
    }
    assert repr(sender) == "<SpanSender 2 exported 0 dropped 0 failed 0 queued>"


def test_a_record_that_came_as_json_is_a_span_too(
    collector: Collector, dropped: list[int]
) -> None:
    sender = SpanSender(collector.tracing, drop=dropped.append, fail=dropped.append)
    sender.offer(list(SERVER))  # type: ignore[arg-type]  # JSON has no tuples
    sender.close(WAIT)

    assert len(spans_of(collector)) == 1


def test_a_root_has_no_parent(collector: Collector, dropped: list[int]) -> None:
    sender = SpanSender(collector.tracing, drop=dropped.append, fail=dropped.append)
    sender.offer((TRACE, OWN, "", *SERVER[3:]))
    sender.close(WAIT)

    assert spans_of(collector)[0].parent_span_id == b""


def test_the_resource_names_the_service(
    collector: Collector, dropped: list[int]
) -> None:
    tracing = Tracing(endpoint=collector.tracing.endpoint, service="shop")
    sender = SpanSender(tracing, drop=dropped.append, fail=dropped.append)
    sender.offer(SERVER)
    sender.close(WAIT)

    found = attributes_of(collector.requests.get(timeout=WAIT))
    assert found["service.name"] == "shop"
    assert {"host.name", "process.pid", "telemetry.sdk.name"} <= found.keys()


def test_the_environment_has_the_last_word_on_the_resource(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, dropped: list[int]
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "web")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=web-1")
    sender = SpanSender(collector.tracing, drop=dropped.append, fail=dropped.append)
    sender.offer(SERVER)
    sender.close(WAIT)

    found = attributes_of(collector.requests.get(timeout=WAIT))
    assert (found["service.name"], found["k8s.pod.name"]) == ("web", "web-1")


def test_an_endpoint_may_name_the_path_itself(
    collector: Collector, dropped: list[int]
) -> None:
    endpoint = f"{collector.tracing.endpoint}/prefix/v1/traces/"
    sender = SpanSender(
        Tracing(endpoint=endpoint), drop=dropped.append, fail=dropped.append
    )
    sender.offer(SERVER)
    sender.close(WAIT)

    assert collector.paths == ["/prefix/v1/traces"]


def test_a_slow_collector_blocks_nobody_and_costs_counted_drops(
    collector: Collector, dropped: list[int]
) -> None:
    collector.may_answer.clear()
    sender = SpanSender(collector.tracing, drop=dropped.append, fail=dropped.append)
    taken = [sender.offer(SERVER) for _ in range(QUEUE + 100)]

    # It has not answered yet, and every offer has come back.
    assert taken == [True] * QUEUE + [False] * 100
    assert sum(dropped) == 100
    assert sender.statistics() == {
        "exported": 0,
        "dropped": 100,
        "failed": 0,
        "queued": QUEUE,
    }

    collector.may_answer.set()
    sender.close(WAIT)
    assert sender.statistics()["exported"] == QUEUE
    assert sender.queued == 0


def test_a_dead_collector_blocks_nobody_and_costs_counted_drops(
    dropped: list[int],
) -> None:
    sender = SpanSender(
        Tracing(endpoint=dead_endpoint()), drop=dropped.append, fail=dropped.append
    )
    taken = [sender.offer(SERVER) for _ in range(QUEUE + 100)]
    sender.close(0)

    assert taken == [True] * QUEUE + [False] * 100
    assert sum(dropped) >= 100
    assert sender.statistics()["exported"] == 0
    assert sender.queued == 0


def test_what_is_not_sent_at_the_deadline_is_lost_and_counted(
    collector: Collector, dropped: list[int]
) -> None:
    collector.may_answer.clear()
    sender = SpanSender(collector.tracing, drop=dropped.append, fail=dropped.append)
    sender.offer(SERVER)
    sender.close(0)

    assert dropped == [1]
    assert sender.statistics()["dropped"] == 1


def test_what_the_collector_refuses_is_counted_as_failed(
    collector: Collector, dropped: list[int]
) -> None:
    collector.status = 400
    sender = SpanSender(collector.tracing, drop=dropped.append, fail=dropped.append)
    sender.offer(SERVER)
    sender.close(WAIT)

    assert sender.statistics()["failed"] == 1
    assert dropped == [1]


def test_nothing_is_taken_after_the_end(
    collector: Collector, dropped: list[int]
) -> None:
    sender = SpanSender(collector.tracing, drop=dropped.append, fail=dropped.append)
    sender.close(WAIT)
    sender.close(WAIT)

    assert not sender.offer(SERVER)
    assert dropped == [1]


@pytest.mark.parametrize(
    "record",
    [
        (),
        SERVER[:-1],
        ("g" * 32, *SERVER[1:]),
        (TRACE, "0" * 16, *SERVER[2:]),
        (TRACE, "1" * 17, *SERVER[2:]),
        (*SERVER[:4], "internal", *SERVER[5:]),
        (*SERVER[:6], -1, *SERVER[7:]),
        (*SERVER[:6], 1.5, *SERVER[7:]),
        (*SERVER[:-1], 7),
        (None, *SERVER[1:]),
    ],
)
def test_what_is_no_record_is_dropped_and_harms_no_other(
    record: SpanRecord, collector: Collector, dropped: list[int]
) -> None:
    sender = SpanSender(collector.tracing, drop=dropped.append, fail=dropped.append)
    assert not sender.offer(record)
    assert sender.offer(SERVER)
    sender.close(WAIT)

    assert dropped == [1]
    assert len(spans_of(collector)) == 1


@pytest.mark.parametrize(
    "endpoint", [None, "", "127.0.0.1:4318", "ftp://x", "http://", "unix:/run/otlp"]
)
def test_an_endpoint_that_cannot_be_one_is_refused(
    endpoint: str | None, dropped: list[int]
) -> None:
    with pytest.raises(ConfigError, match=r"^tracing\.endpoint: .* is not http://HOST"):
        SpanSender(Tracing(endpoint=endpoint), drop=dropped.append, fail=dropped.append)


def test_grpc_is_spoken_when_it_is_asked_for(dropped: list[int]) -> None:
    tracing = Tracing(endpoint=dead_endpoint(), protocol="grpc")
    sender = SpanSender(tracing, drop=dropped.append, fail=dropped.append)
    sender.offer(SERVER)
    sender.close(0)

    assert sender.statistics()["exported"] == 0
    assert sum(dropped) == 1


def test_grpc_without_its_extra_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, dropped: list[int]
) -> None:
    name = "opentelemetry.exporter.otlp.proto.grpc"
    monkeypatch.setitem(sys.modules, name, None)
    tracing = Tracing(endpoint="http://127.0.0.1:4317", protocol="grpc")

    with pytest.raises(ConfigError, match=r"pip install 'tulle\[grpc\]'"):
        SpanSender(tracing, drop=dropped.append, fail=dropped.append)


def test_a_batch_that_cannot_fit_the_queue_is_refused(
    monkeypatch: pytest.MonkeyPatch, dropped: list[int]
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000")

    with pytest.raises(ConfigError, match="OTEL_BSP_ variables: max_export_batch_size"):
        SpanSender(
            Tracing(endpoint="http://127.0.0.1:4318"),
            drop=dropped.append,
            fail=dropped.append,
        )

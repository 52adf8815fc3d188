"""Spans on their way to a collector: the agent's half of tracing.

Workers hand over records (``meshfilters.recording.FIELDS``); here they become the
SDK's spans, which its batch processor sends from a thread of its own. The only module
that imports OpenTelemetry, and only when a sender is made: it costs 14 MiB.

``offer`` never waits. What a dead or slow collector leaves behind is bounded by
counting: what was taken and is not over is in the queue, and beyond ``QUEUE`` of it
spans are dropped and counted. The SDK's own queue is as long, so it drops none unseen.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import meshfilters
from meshfilters.env import SpanRecord
from meshfilters.errors import ConfigError
from proxy.config.model import Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )
    from opentelemetry.trace import SpanContext
    from opentelemetry.trace.span import TraceState
    from opentelemetry.util.types import AttributeValue

QUEUE = 2048
"""Spans that may wait; OpenTelemetry's default (OTEL_BSP_MAX_QUEUE_SIZE)."""

log = logging.getLogger(__name__)


class SpanSender:
    """Takes records of spans and sends them to the collector of ``tracing``.

    The SDK reads the environment for what the file does not say: OTEL_EXPORTER_OTLP_*
    (headers, timeout, compression, certificates), OTEL_BSP_* save the queue's size, and
    OTEL_RESOURCE_ATTRIBUTES; OTEL_SERVICE_NAME wins over the file. ``drop`` is called
    with how many spans were lost without being sent, and ``fail``, from another thread,
    with how many the collector did not take. Raises ConfigError when what the protocol
    needs is not installed, or the endpoint cannot be one.
    """

    def __init__(
        self,
        tracing: Tracing,
        *,
        drop: Callable[[int], None],
        fail: Callable[[int], None],
    ) -> None:
        self._exporter = _Counted(_open_exporter(tracing), fail)
        self._processor = _open_processor(self._exporter)
        self._make = _Spans(_resource(tracing.service))
        self._drop = drop
        self._taken = 0
        self._dropped = 0
        self._is_closed = False

    @property
    def queued(self) -> int:
        """Spans that were taken and neither sent nor lost yet."""
        over = self._exporter.exported + self._exporter.failed
        return max(self._taken - over, 0)

    def offer(self, record: SpanRecord) -> bool:
        """Take a record, in a few microseconds and without waiting; False if dropped."""
        if self._is_closed or self.queued >= QUEUE:
            return self._lose()
        try:
            span = self._make(record)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            log.warning("not a span's record: %s", error)
            return self._lose()
        self._taken += 1
        self._processor.on_end(span)
        return True

    def close(self, timeout: float) -> None:
        """Send what is queued, for at most ``timeout`` seconds; the rest is lost.

        It blocks: call it from a thread, or when nothing else runs any more.
        """
        if self._is_closed:
            return
        self._is_closed = True
        # The processor waits 30 s for its own thread, whoever asks.
        ending = threading.Thread(target=self._processor.shutdown, daemon=True)
        ending.start()
        ending.join(timeout)
        self._exporter.is_given_up = True
        if lost := self.queued:
            self._taken -= lost
            self._lose(lost)
        self._exporter.shutdown()

    def statistics(self) -> dict[str, int]:
        """Spans so far: exported, dropped unsent, failed to send, and waiting."""
        return {
            "exported": self._exporter.exported,
            "dropped": self._dropped,
            "failed": self._exporter.failed,
            "queued": self.queued,
        }

    def __repr__(self) -> str:
        counts = " ".join(
            f"{count} {name}" for name, count in self.statistics().items()
        )
        return f"<SpanSender {counts}>"

    def _lose(self, spans: int = 1) -> bool:
        self._dropped += spans
        self._drop(spans)
        return False


class _Counted:
    """An exporter that counts what became of its spans, in the processor's thread."""

    def __init__(self, exporter: SpanExporter, fail: Callable[[int], None]) -> None:
        self.exported = 0
        self.failed = 0
        self.is_given_up = False
        """What fails from then on has been counted as dropped."""
        self._exporter = exporter
        self._fail = fail
        self._is_shut_down = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = None
        try:
            result = self._exporter.export(spans)
        finally:
            if result is not None and result.name == "SUCCESS":
                self.exported += len(spans)
            else:
                self.failed += len(spans)
                if not self.is_given_up:
                    self._fail(len(spans))
        return result

    def shutdown(self) -> None:
        # Called twice: by the processor when it is through, and at the deadline.
        if not self._is_shut_down:
            self._is_shut_down = True
            self._exporter.shutdown()


class _Spans:
    """Makes the SDK's spans of records."""

    def __init__(self, resource: Resource) -> None:
        from opentelemetry.attributes import BoundedAttributes
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
        from opentelemetry.trace.span import TraceState
        from opentelemetry.trace.status import Status, StatusCode

        self._resource = resource
        self._scope = InstrumentationScope("tulle", meshfilters.__version__)
        self._span = ReadableSpan
        self._attributes = BoundedAttributes
        self._context = SpanContext
        self._state = TraceState.from_header
        self._sampled = TraceFlags(TraceFlags.SAMPLED)
        self._kinds = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}
        self._unset, self._failed = Status(StatusCode.UNSET), Status(StatusCode.ERROR)

    def __call__(self, record: SpanRecord) -> ReadableSpan:
        trace_id, span_id, parent_id, state = cast("tuple[str, ...]", record[:4])
        kind, name = cast("tuple[str, str]", record[4:6])
        start, end = (_nanoseconds(time) for time in record[6:8])
        is_error, attributes = record[8:]
        trace = int(trace_id, 16), self._state([state] if state else [])
        is_entry = kind == "server"
        return self._span(
            name=str(name),
            context=self._in(trace, span_id, is_remote=False),
            parent=self._in(trace, parent_id, is_remote=is_entry)
            if parent_id
            else None,
            resource=self._resource,
            attributes=self._attributes(
                attributes=dict(cast("Mapping[str, AttributeValue]", attributes))
            ),
            kind=self._kinds[kind],
            status=self._failed if is_error else self._unset,
            start_time=start,
            end_time=end,
            instrumentation_scope=self._scope,
        )

    def _in(
        self, trace: tuple[int, TraceState], span_id: str, *, is_remote: bool
    ) -> SpanContext:
        number, state = trace
        context = self._context(
            number, int(span_id, 16), is_remote, self._sampled, state
        )
        if not context.is_valid:
            raise ValueError(f"{span_id} in {number:032x} is no span's id")
        return context


def _nanoseconds(time: object) -> int:
    # One span that protobuf cannot write would cost its whole batch.
    if not isinstance(time, int) or not 0 <= time < 2**63:
        raise ValueError(f"{time!r} is no time in nanoseconds")
    return time


def _open_exporter(tracing: Tracing) -> SpanExporter:
    parts = urlsplit(tracing.endpoint or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"tracing.endpoint: {tracing.endpoint!r} is not http://HOST:PORT"
            " or https://HOST:PORT"
        )
    base = parts.geturl().rstrip("/")
    try:
        if tracing.protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc import (
                trace_exporter as by_grpc,
            )

            return by_grpc.OTLPSpanExporter(endpoint=base)
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as by_http

        path = "" if base.endswith("/v1/traces") else "/v1/traces"
        return by_http.OTLPSpanExporter(endpoint=base + path)
    except ImportError as error:
        extra = "tulle[grpc]" if tracing.protocol == "grpc" else "tulle"
        raise ConfigError(
            f"tracing.protocol: {tracing.protocol} needs {error.name}, which is not"
            f" installed; pip install '{extra}' brings it"
        ) from error


def _open_processor(exporter: _Counted) -> BatchSpanProcessor:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    try:
        return BatchSpanProcessor(cast("SpanExporter", exporter), max_queue_size=QUEUE)
    except ValueError as error:
        raise ConfigError(f"tracing, from the OTEL_BSP_ variables: {error}") from error


def _resource(service: str) -> Resource:
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    own = Resource(
        {
            "service.name": service,
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
        }
    )
    return Resource.create(own.merge(OTELResourceDetector().detect()).attributes)

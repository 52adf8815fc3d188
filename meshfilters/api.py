"""Services and filters: the two shapes that everything in the mesh is made of.

A *service* turns a request into a reply. A *filter* turns the service inside it
into another one. The same shape stands at three levels::

    connection    Connection -> None       lasts as long as the connection
    request       Request    -> Response   returns when the response's head is there
    dial          Endpoint   -> Stream     returns a stream to the endpoint
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Protocol, TypeVar

from attrs import AttrsInstance

from meshfilters.env import Env
from meshfilters.exchange import Connection, Endpoint
from meshfilters.message import Request, Response
from meshfilters.stream import Stream

ReqIn = TypeVar("ReqIn", contravariant=True)
RepOut = TypeVar("RepOut", covariant=True)
ReqOut = TypeVar("ReqOut", covariant=True)
RepIn = TypeVar("RepIn", contravariant=True)
A = TypeVar("A")
B = TypeVar("B")


class Service(Protocol[ReqIn, RepOut]):
    """Turns one request into one reply."""

    def __call__(self, request: ReqIn, /) -> Coroutine[object, object, RepOut]: ...


class Filter(Protocol[ReqIn, RepOut, ReqOut, RepIn]):
    """Turns the service inside it into another service.

    It calls ``inner`` not at all to refuse, once to pass, more than once to
    retry. Whatever it raises, the filter outside it sees.
    """

    def __call__(
        self, request: ReqIn, inner: Service[ReqOut, RepIn], /
    ) -> Coroutine[object, object, RepOut]: ...


ConnectionFilter = Filter[Connection, None, Connection, None]
RequestFilter = Filter[Request, Response, Request, Response]
DialFilter = Filter[Endpoint, Stream, Endpoint, Stream]

F_co = TypeVar("F_co", covariant=True)


class Configured(AttrsInstance, Protocol[F_co]):
    """A filter's configuration: a frozen attrs class whose ``build`` makes the filter.

    It may declare where it must stand with class variables ``outside``, ``inside``
    and ``requires`` (see ``meshfilters.order``). Constructing it validates and does
    nothing else; ``build`` runs once in each worker for each place in a chain.
    """

    def build(self, env: Env) -> F_co: ...


def chain(
    filters: Iterable[Filter[A, B, A, B]], service: Service[A, B]
) -> Service[A, B]:
    """Wrap ``service`` in ``filters``; the first one listed is the outermost."""
    for each in reversed(list(filters)):
        service = _wrap(each, service)
    return service


def _wrap(outer: Filter[A, B, A, B], inner: Service[A, B]) -> Service[A, B]:
    # A plain function, so that a request costs one coroutine for each filter.
    # An `async def` that awaits the filter would make it two.
    def service(request: A, /) -> Coroutine[object, object, B]:
        return outer(request, inner)

    return service

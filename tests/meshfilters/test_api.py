from __future__ import annotations

from meshfilters.api import RequestFilter, Service, chain
from meshfilters.message import Request, Response
from meshfilters.testing import Kit


def noting(name: str, met: list[str]) -> RequestFilter:
    async def note(request: Request, inner: Service[Request, Response], /) -> Response:
        met.append(f"{name} asked")
        response = await inner(request)
        met.append(f"{name} answered")
        return response

    return note


async def test_the_first_filter_listed_is_the_outermost() -> None:
    kit = Kit()
    met: list[str] = []
    service = chain(
        [noting("outer", met), noting("inner", met)], kit.script(Response(200))
    )

    await service(kit.ask())

    assert met == ["outer asked", "inner asked", "inner answered", "outer answered"]


async def test_a_chain_of_nothing_is_the_service_itself() -> None:
    kit = Kit()
    upstream = kit.script(Response(204))

    assert chain([], upstream) is upstream


async def test_a_filter_may_call_what_is_inside_more_than_once() -> None:
    async def twice(request: Request, inner: Service[Request, Response], /) -> Response:
        await inner(request)
        return await inner(request)

    kit = Kit()
    service = chain([twice], kit.script(Response(503), Response(200)))

    assert (await service(kit.ask())).status == 200


async def test_filters_may_come_from_a_generator() -> None:
    kit = Kit()
    met: list[str] = []
    service = chain((noting(name, met) for name in "ab"), kit.script(Response(200)))

    await service(kit.ask())

    assert met[:2] == ["a asked", "b asked"]

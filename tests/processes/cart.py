"""A gRPC server that is unavailable at first, and a client of it, without stubs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from tests.processes.waiting import PATIENCE

METHOD = "/shop.Cart/Get"


class Cart:
    """Answers every second call with the seconds it was told to take at most."""

    def __init__(self) -> None:
        self.calls = 0

    def get(self, _: bytes, context: Any) -> bytes:
        self.calls += 1
        if self.calls % 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return str(context.time_remaining()).encode()


@contextmanager
def serving(port: int) -> Iterator[Cart]:
    """Have a cart served on that port."""
    cart = Cart()
    methods = {"Get": grpc.unary_unary_rpc_method_handler(cart.get)}
    server = grpc.server(ThreadPoolExecutor(1))
    handler = grpc.method_handlers_generic_handler("shop.Cart", methods)
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield cart
    finally:
        server.stop(None).wait(PATIENCE)


def ask(port: int, seconds: float) -> float:
    """Call a cart once, with that much time; what its server says it was told."""
    # The library would try again by itself.
    alone = [("grpc.enable_retries", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", alone) as channel:
        answer: bytes = channel.unary_unary(METHOD)(b"", timeout=seconds)
    return float(answer)

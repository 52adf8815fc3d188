"""What a filter author imports: the contract, the built-in filters, the test kit.

The vocabulary, one concept a module: ``api`` (services, filters, chains),
``message`` (headers, bodies, requests, responses), ``exchange`` (one request's
life, its attempts and how it ended), ``stream`` (bytes and TLS facts), ``env``
(what the runtime lends a filter), ``errors``, ``order``. ``testing`` is the kit.
Every other module is a built-in filter. Nothing here opens a socket or forks.
"""

__version__ = "0.1.0"

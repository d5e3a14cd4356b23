"""Asks as fast as it is answered: ``python -m benchmarks.door.load URL… --in-flight 8 --seconds 5 [--stream]``.

So many requests are on their way at any moment, each on a connection of its own, to each URL by turns. Prints JSON:
requests a second and latencies in ms to the end of the answer (p50, p95, p99), and to its first byte of the body.
"""

import argparse
import asyncio
import json
import time
from itertools import cycle, islice
from urllib.parse import urlsplit


async def _connection(
    url: str, request: bytes, until: float, taken: list[tuple[float, float]], errors: list[bytes]
) -> None:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            first = await _body(reader, head.lower())
            if not head.startswith(b"HTTP/1.1 200"):
                errors.append(head.split(b"\r\n", 1)[0])
            taken.append((time.perf_counter() - began, first - began))
    finally:
        writer.close()


async def _body(reader: asyncio.StreamReader, head: bytes) -> float:
    if b"transfer-encoding: chunked" not in head:
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        return time.perf_counter()
    first = 0.0
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
        first = first or time.perf_counter()
    await reader.readexactly(2)
    return first


async def _load(options: argparse.Namespace) -> dict[str, object]:
    parts = urlsplit(options.urls[0])
    document = {"model": options.model, "messages": [{"role": "user", "content": "Hello"}], "stream": options.stream}
    body = json.dumps(document).encode()
    path = f"{parts.path.rstrip('/')}/chat/completions"
    headers = [f"POST {path} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
    headers += [f"Content-Length: {len(body)}", f"Authorization: Bearer {options.key}", *options.header]
    request = "\r\n".join([*headers, "", ""]).encode() + body
    errors: list[bytes] = []
    for seconds in (options.warm_up, options.seconds):
        taken: list[tuple[float, float]] = []
        began = time.perf_counter()
        until = began + seconds
        await asyncio.gather(
            *(_connection(url, request, until, taken, errors) for url in islice(cycle(options.urls), options.in_flight))
        )
        elapsed = time.perf_counter() - began
    return {
        "requests": len(taken),
        "per_second": round(len(taken) / elapsed, 1),
        "errors": len(errors),
        "error": errors[0].decode() if errors else None,
        "ms": _percentiles([whole for whole, _first in taken]),
        "first_byte_ms": _percentiles([first for _whole, first in taken]),
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        f"p{share}": round(1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 3)
        for share in (50, 95, 99)
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", nargs="+", help="up to and with /v1")
    parser.add_argument("--model", default="chat-model")
    parser.add_argument("--key", default="none")
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warm-up", type=float, default=1)
    parser.add_argument("--stream", action="store_true")
    options = parser.parse_args()
    try:
        import uvloop

        found = uvloop.run(_load(options))
    except ImportError:
        found = asyncio.run(_load(options))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

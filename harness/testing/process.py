"""A server for another process: `python -m harness.testing.process '{"users": ["alice:secret"]}'`.

Its first line of output is a JSON object: the addresses, or `error`. It serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys

from emulator.builds import UnknownBuild
from emulator.config import SettingsError
from emulator.server import Server

from .clock import AdvancingClock
from .fixture import settings_from


async def serve(text: str) -> int:
    """Serve; 2 when the settings cannot be used."""
    from harness.http.app import serve_http  # noqa: PLC0415  # its libraries may be missing: said in a line

    try:
        server = Server(settings_from(json.loads(text)), clock=AdvancingClock())
        await server.start()
    except (SettingsError, UnknownBuild, ValueError) as problem:
        print(json.dumps({"error": str(problem)}), flush=True)
        return 2
    await serve_http(server, "127.0.0.1", 0)
    print(json.dumps(server.addresses), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.kill()
    return 0


def main() -> int:
    """The command."""
    try:
        return asyncio.run(serve(sys.argv[1] if len(sys.argv) > 1 else "{}"))
    except ImportError as problem:
        print(json.dumps({"error": f"{problem}: pip install 'mailjam[http]'"}), flush=True)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())

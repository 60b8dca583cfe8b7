"""`oxidized-ctl`: look at a running tunnel and steer it, over its control socket.

People call it in loops, so it starts quickly: standard library only, and no asyncio.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence

from oxidized.ctl.client import Failure
from oxidized.ctl.command import parser_make
from oxidized.errors import Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; see `oxidized.errors.Exit`."""
    if not isinstance(sys.stdout.errors, str) or sys.stdout.errors == "strict":
        # A name that the terminal's character set lacks is no reason to show nothing.
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    options = parser_make().parse_args(arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except Failure as failure:
        if options.json:
            document = {"error": {"code": failure.code, "message": str(failure)}}
            print(json.dumps(document), flush=True)
        print(f"oxidized-ctl: {failure}", file=sys.stderr)
        return failure.exit
    except KeyboardInterrupt:
        return Exit.OK if options.ends_with_interrupt else 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read our output has had enough; Python must not complain about it when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK

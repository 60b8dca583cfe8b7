"""A process that lets onnxruntime run a model once: `python -m oxidized.ml.onnx_reference`, of which
`oxidized.ml.oracle` asks the golden vectors when a daemon starts.

Standard input: {"model": base64, "rows": [[float, ...], ...]}; standard output: {"rows": [[...], ...]}. Exit
status 3: onnxruntime is not installed. It is a process of its own because onnxruntime takes some 0.2 s and
45 MB, of which a daemon needs nothing afterwards.
"""

from __future__ import annotations

import base64
import json
import sys

MISSING = 3


def main() -> int:
    try:
        import numpy
        import onnxruntime
    except ImportError as error:
        print(error, file=sys.stderr)
        return MISSING
    wanted = json.load(sys.stdin)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        base64.b64decode(wanted["model"]), options, providers=["CPUExecutionProvider"]
    )
    rows = numpy.array(wanted["rows"], dtype=numpy.float32)
    (found,) = session.run(None, {session.get_inputs()[0].name: rows})
    json.dump({"rows": found.tolist()}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

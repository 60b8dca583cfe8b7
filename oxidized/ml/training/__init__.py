"""Training and judging of the models, from the source tree: `./dev train MODEL` (extra `train`)."""

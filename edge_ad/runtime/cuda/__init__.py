"""CUDA through pycuda or cuda-bindings: memory, streams, events, graphs. Imports neither until it is used."""

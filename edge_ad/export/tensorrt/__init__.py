"""ONNX → TensorRT plan: one code path from TensorRT 8.6 to 11 and TensorRT for RTX.

What a version can do is looked up once, by `capabilities.probe_capabilities`; nothing else asks for a version.
"""

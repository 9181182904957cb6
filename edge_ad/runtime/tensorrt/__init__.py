"""TensorRT and TensorRT for RTX on an NVIDIA GPU. Imports neither until an engine is opened."""

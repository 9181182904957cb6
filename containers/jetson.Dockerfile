# The device side on a Jetson, on NVIDIA's image with TensorRT. Not built and not run by this project.
#   docker build -f containers/jetson.Dockerfile -t edge-ad-jetson .
#   docker run --rm --runtime nvidia --device /dev/video0 -v /srv/line:/line edge-ad-jetson \
#       stream --camera 0 --bundle /line/bundle --headless
# The tag must be that of your JetPack: r8.6.2 for 6.0, r10.3.0 for 6.1 and 6.2.
ARG BASE=nvcr.io/nvidia/l4t-tensorrt:r10.3.0-devel
# hadolint ignore=DL3006
FROM ${BASE}

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*

# The environment sees the image's own tensorrt.
RUN python3 -m venv --system-site-packages /opt/venv
ENV PATH=/opt/venv/bin:/usr/local/cuda/bin:$PATH

WORKDIR /opt/edge-ad
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY edge_ad ./edge_ad
# Cameras belong to the group video. What was verified about a bundle is remembered in the home folder.
RUN pip install --no-cache-dir -c constraints.txt '.[web,mqtt]' 'cuda-bindings==12.*' onnx \
    && useradd --create-home --uid 1000 --groups video edge-ad
USER 1000
WORKDIR /home/edge-ad
ENTRYPOINT ["edge-ad"]
CMD ["doctor"]

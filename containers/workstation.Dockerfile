# The workstation: trains, exports and calibrates, on the CPU. For a GPU, name PyTorch's index of your CUDA build instead.
#   docker build -f containers/workstation.Dockerfile -t edge-ad-workstation .
#   docker run --rm -v "$PWD":/work edge-ad-workstation train --data screw
FROM python:3.11-slim-bookworm

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/edge-ad
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY edge_ad ./edge_ad
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url "$TORCH_INDEX" '.[train,web,mqtt]' \
    && useradd --create-home --uid 1000 edge-ad
USER 1000
WORKDIR /work
ENTRYPOINT ["edge-ad"]
CMD ["doctor"]

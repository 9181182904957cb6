# The device side on an x86-64 CPU: judges and serves the live page, without torch.
#   docker build -f containers/device.Dockerfile -t edge-ad-device .
#   docker run --rm --device /dev/video0 -v /srv/line:/line edge-ad-device stream --camera 0 --bundle /line/bundle --headless
FROM python:3.11-slim-bookworm

# What OpenCV's wheel links to, and Aravis for GigE Vision and USB3 Vision cameras.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libaravis-0.8-0 libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/edge-ad
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY edge_ad ./edge_ad
# Cameras belong to the group video. What was verified about a bundle is remembered in the home folder.
RUN pip install --no-cache-dir -c constraints.txt '.[web,mqtt,charts]' \
    && useradd --create-home --uid 1000 --groups video edge-ad
USER 1000
WORKDIR /home/edge-ad
ENTRYPOINT ["edge-ad"]
CMD ["doctor"]

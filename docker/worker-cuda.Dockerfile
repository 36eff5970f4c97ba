# A node of the Ray cluster and the worker that feeds it, on NVIDIA GPUs; the host needs their container toolkit. Build it from the root of the project:
#   docker build -f docker/worker-cuda.Dockerfile -t bmtas-worker-cuda .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# 1: take packages from docker/wheels alone, which `pip wheel --no-deps -w docker/wheels -r ...` fills.
ARG PIP_NO_INDEX=0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_FIND_LINKS=/build/docker/wheels PIP_NO_CACHE_DIR=1
WORKDIR /build
# pip stays in a folder of its own, so that the image gets none.
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/bmtas
COPY docker/wheels docker/wheels
COPY docker/requirements-build.txt docker/requirements-worker.txt docker/
# Every version is pinned but those of the CUDA libraries, which torch's CUDA build asks for itself.
RUN /tools/bin/pip install --quiet -r docker/requirements-build.txt \
    && /tools/bin/pip --python /opt/bmtas/bin/python3 install --quiet -r docker/requirements-worker.txt
COPY . .
RUN /tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
    && /tools/bin/pip --python /opt/bmtas/bin/python3 install --quiet --no-deps --no-index dist/*.whl

FROM ${PYTHON_IMAGE}
# Folders that volumes are mounted on: a new volume takes over their owner.
RUN groupadd --gid 10001 bmtas \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin bmtas \
    && install -d -o bmtas -g bmtas -m 0700 /cache /secrets /secrets/ray /secrets/worker \
    && install -d -o bmtas -g bmtas -m 0750 /artifacts
COPY --from=build /opt/bmtas /opt/bmtas
COPY docker/ray-node.sh /opt/bmtas/bin/ray-node
ENV PATH=/opt/bmtas/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp BMTAS_CACHE=/cache \
    OMP_WAIT_POLICY=PASSIVE RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/secrets/ray/token \
    RAY_USAGE_STATS_ENABLED=0 RAY_gcs_rpc_server_reconnect_timeout_s=20
USER 10001:10001
WORKDIR /tmp
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["ray-node", "health"]
ENTRYPOINT ["ray-node"]
CMD ["worker"]

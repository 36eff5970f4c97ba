# The web server: no torch, no Ray, no compiler, no pip. Build it from the root of the project:
#   docker build -f docker/api.Dockerfile -t bmtas-api .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# 1: take packages from docker/wheels alone, which `pip wheel --no-deps -w docker/wheels -r ...` fills.
ARG PIP_NO_INDEX=0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_FIND_LINKS=/build/docker/wheels PIP_NO_CACHE_DIR=1
WORKDIR /build
# pip stays in a folder of its own, so that the image gets none.
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/bmtas
COPY docker/wheels docker/wheels
COPY docker/requirements-build.txt docker/requirements-api.txt docker/
RUN /tools/bin/pip install --quiet -r docker/requirements-build.txt \
    && /tools/bin/pip --python /opt/bmtas/bin/python3 install --quiet --no-deps -r docker/requirements-api.txt
COPY . .
# Without its dependencies: the ones that train are left out on purpose.
RUN /tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
    && /tools/bin/pip --python /opt/bmtas/bin/python3 install --quiet --no-deps --no-index dist/*.whl

FROM ${PYTHON_IMAGE}
# Folders that volumes are mounted on: a new volume takes over their owner. /data holds the server's secrets.
RUN groupadd --gid 10001 bmtas \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin bmtas \
    && install -d -o bmtas -g bmtas -m 0700 /data /secrets /secrets/ray /secrets/worker \
    && install -d -o bmtas -g bmtas -m 0750 /secrets/db /artifacts
COPY --from=build /opt/bmtas /opt/bmtas
COPY docker/make-secrets.sh /opt/bmtas/bin/make-secrets
COPY docker/serve.sh /opt/bmtas/bin/serve
ENV PATH=/opt/bmtas/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 BMTAS_DATA=/data BMTAS_STORAGE=/artifacts
USER 10001:10001
WORKDIR /data
EXPOSE 8642
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8642/readyz', timeout=4)"]
ENTRYPOINT ["serve"]
# Plain HTTP for other machines is refused until --tls-cert and --tls-key, or --insecure-bind, are added.
CMD ["--no-worker", "--host=0.0.0.0"]

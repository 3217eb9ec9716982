# One image for every service: what it is, is its first argument (`orchestrator`, `worker database_mcp`, `health`, …).
#   docker build -t busbar .
# Another base, or another index of packages:
#   docker build --build-arg PYTHON_IMAGE=registry.example/python:3.11-slim --build-arg PIP_INDEX_URL=… -t busbar .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv --without-pip /opt/busbar
# The libraries first: they change rarely. Wheels alone, by their hashes: nothing is compiled, nothing runs at install.
COPY requirements/runtime.txt /build/requirements.txt
RUN python -m pip --python /opt/busbar/bin/python install --quiet \
        --only-binary=:all: --require-hashes -r /build/requirements.txt
COPY pyproject.toml README.md /build/
COPY bus_schemas /build/bus_schemas
COPY services /build/services
COPY examples /build/examples
# The build system is among the libraries, so that it is pinned as they are.
RUN cd /build && /opt/busbar/bin/python -c 'import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])' /build/dist \
 && python -m pip --python /opt/busbar/bin/python install --quiet --no-deps --no-index /build/dist/*.whl \
 && /opt/busbar/bin/python -m compileall -q /opt/busbar/lib

FROM ${PYTHON_IMAGE}
RUN groupadd --system --gid 10001 busbar \
 && useradd --system --uid 10001 --gid busbar --home-dir /var/lib/busbar --shell /usr/sbin/nologin busbar \
 && install -d -o busbar -g busbar -m 0700 /var/lib/busbar
COPY --from=build /opt/busbar /opt/busbar
# Everything written goes to /var/lib/busbar and /tmp: the root file system may be read-only.
ENV PATH=/opt/busbar/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    BUSBAR_CONFIG=/etc/busbar/config/busbar.yaml \
    BUSBAR_STATE_DIR=/var/lib/busbar \
    BUSBAR_HOST=0.0.0.0 \
    BUSBAR_WORKER_HOST=0.0.0.0 \
    BUSBAR_METRICS_PORT=9464
WORKDIR /var/lib/busbar
USER 10001:10001
EXPOSE 8080 8081 8082 9464
# Ready as /readyz says. Nothing is restarted for not being so: a worker whose server is away is not ready.
HEALTHCHECK --interval=10s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-I", "-m", "services.runtime.container_probe"]
# `busbar` turns into the service (exec), which therefore gets SIGTERM itself, and drains.
ENTRYPOINT ["busbar"]
CMD ["--help"]

# One image for every part of Hopbench: nodes, Locust's master and workers, and the bench.
#
#     docker build -t hopbench .
#     docker run --rm hopbench hopbench list

FROM python:3.12-slim AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/hopbench
WORKDIR /src
# Libraries first: they are built again only when what is required changes.
COPY pyproject.toml requirements.lock ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > libraries.txt \
 && /opt/hopbench/bin/pip install -c requirements.lock -r libraries.txt
COPY . .
# Compiled to bytecode here, since the final file system is read-only; what builds has no work there
# either. Of PyArrow, what is not for Parquet goes: headers, tests, and whole remote systems.
RUN /opt/hopbench/bin/pip install --no-deps . \
 && /opt/hopbench/bin/pip uninstall -y -q grpcio-tools setuptools pip \
 && find /opt/hopbench \( -path '*/pyarrow/include' -o -path '*/pyarrow/tests' -o -path '*/numpy/*/tests' \
      -o -path '*/pyarrow/*flight*' -o -path '*/pyarrow/*s3*' \) -prune -exec rm -rf {} + \
 && python -m compileall -q -j 0 /opt/hopbench/lib

FROM python:3.12-slim
COPY --from=builder /opt/hopbench /opt/hopbench
ENV PATH=/opt/hopbench/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Nothing of it needs to be root. Numbers, because that is what an orchestrator can check.
USER 10001:10001
CMD ["hopbench", "--help"]

# What a build strategy leaves behind: a virtual environment and the application at /app, and beside them the
# compilers and headers that built them. hiredis is compiled here on purpose, as packages without a ready wheel are.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential ca-certificates git python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements.txt ./
RUN python3 -m venv venv \
 && venv/bin/pip install --no-cache-dir --no-binary hiredis -r requirements.txt \
 && venv/bin/pip check \
 && venv/bin/pip uninstall --yes pip setuptools
COPY counter counter
RUN venv/bin/python -m compileall -q counter

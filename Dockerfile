# The tool's own image, for the steps of build strategies: Python, the tool and nothing else, not as root.
#
#   docker build --network host -t runtimeimg:0.1.0 .
#
# samples/self composes the same image with the tool itself, from the stages "build" and "base" of this file.

FROM debian:bookworm-slim AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/*

FROM base AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/runtimeimg
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY templates templates
COPY runtimeimg runtimeimg
RUN /opt/runtimeimg/bin/pip install --no-cache-dir . \
 && /opt/runtimeimg/bin/pip uninstall --yes pip setuptools

FROM base
COPY --from=build /opt/runtimeimg /opt/runtimeimg
ENV PATH=/opt/runtimeimg/bin:$PATH
USER 65532:65532
ENTRYPOINT ["runtimeimg"]

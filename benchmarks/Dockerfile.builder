# A builder image as they come: a compiler, a package manager, and an application with all its packages.
FROM 127.0.0.1:5000/benchmark/base:1
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential ca-certificates npm \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json ./
RUN npm install --no-audit --no-fund
COPY server.js ./

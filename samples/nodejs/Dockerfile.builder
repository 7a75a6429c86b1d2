# What a build strategy leaves behind: the application built at /workspace/source, and beside it everything that
# was needed to build it.
FROM runtimeimg-samples/node:18
RUN apt-get update \
 && apt-get install -y --no-install-recommends build-essential git npm python3 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /workspace/source
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json eslint.config.js ./
COPY src src
COPY public public
COPY test test
RUN npm run lint && npm run build && npm test && npm prune --omit=dev --no-audit --no-fund

# What a build strategy leaves behind: the application at /workspace/source/dist, and beside it the JDK, the build
# tool, the test library and the database's own package.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ant ant-optional git junit4 libh2-java maven openjdk-17-jdk \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /workspace/source
COPY build.xml ./
COPY src src
COPY test test
RUN ant dist

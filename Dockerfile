# Two ways to an image:
#   docker build -t strongroom .                                  compiles it (a while, on two cores)
#   docker build -t strongroom --target prebuilt DIRECTORY        takes DIRECTORY/strongroom, built before
ARG RUN_IMAGE=debian:bookworm-slim
ARG BUILD_IMAGE=rust:1.95-bookworm

FROM ${RUN_IMAGE} AS base
# Named volumes take their owner from these directories.
RUN for dir in /data /config /vault /vault-ca; do mkdir "$dir" && chmod 0700 "$dir" && chown 10001:10001 "$dir"; done
USER 10001:10001
WORKDIR /data
EXPOSE 7700 7701
ENTRYPOINT ["strongroom"]

FROM base AS prebuilt
COPY strongroom /usr/local/bin/strongroom

FROM ${BUILD_IMAGE} AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package strongroom-cli --bin strongroom

FROM base AS runtime
COPY --from=build /source/target/release/strongroom /usr/local/bin/strongroom

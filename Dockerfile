# syntax=docker/dockerfile:1
# One binary in an image that has no shell, no package manager and no root.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin holdfast \
    && install -D target/release/holdfast /out/usr/local/bin/holdfast \
    && strip --strip-debug /out/usr/local/bin/holdfast \
    && install -d /out/data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/usr /usr
# Embedded mode keeps its data here; a volume inherits the owner.
COPY --from=build --chown=65532:65532 /out/data /data
WORKDIR /data
USER 65532:65532
ENV HOLDFAST_DATA_DIR=/data \
    HOLDFAST_LISTEN=0.0.0.0:8080 \
    HOLDFAST_OPERATORS_LISTEN=0.0.0.0:8081
# 8080 is for buyers. 8081 is for operators: publish it nowhere but on a private address.
EXPOSE 8080 8081
ENTRYPOINT ["/usr/local/bin/holdfast"]
CMD ["serve"]

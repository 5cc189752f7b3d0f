# syntax=docker/dockerfile:1

# A static binary, alone in an image without a shell. By default it reads the configuration file that is mounted at
# /etc/millstream/config.toml; inside a container that file must say `listen = ["0.0.0.0:8080"]` (which wants [[keys]],
# or `open = true`) and, where metrics and health shall be reachable from outside, `[admin] listen = "0.0.0.0:9090"`.
# To try it without a file:
#
#   docker build -t millstream .
#   docker run --rm -p 8080:8080 -p 127.0.0.1:9090:9090 millstream demo --listen 0.0.0.0:8080 --admin-listen 0.0.0.0:9090

FROM rust:1.95-alpine AS build
# aws-lc is C and is compiled with the crate.
RUN apk add --no-cache build-base cmake perl
WORKDIR /build
# The dependencies first, with an empty crate around them: this layer lives as long as Cargo.lock.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo '//! Empty.' > src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --bin millstream
COPY . .
# The empty crate is newer than the sources that were copied over it.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin millstream \
    && strip target/release/millstream

# distroless/static: CA certificates, /etc/passwd with nonroot (65532), no libc, no shell.
FROM gcr.io/distroless/static-debian12:nonroot
LABEL org.opencontainers.image.title="Millstream" \
      org.opencontainers.image.description="A gateway for LLM streams" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /build/target/release/millstream /usr/local/bin/millstream
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/millstream/
USER 65532:65532
# Clients, and metrics and health.
EXPOSE 8080 9090
# SIGTERM drains.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/millstream", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/millstream"]
CMD ["serve", "-c", "/etc/millstream/config.toml"]

# One image for every role; the word behind its name is the role, as in: docker run shopctl split
# The bases by tag; to pin one, name it with its digest (docs/deploy.md, "Pinning").
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /build

# The dependencies in a layer of their own, built for an empty program: it stays until Cargo.toml or Cargo.lock change, and
# works with every builder. Tests and benches are not in the image, so the manifest must not name them here. What was built
# of the empty program goes, because its files are newer than the real ones and cargo would take them for up to date.
COPY Cargo.toml Cargo.lock ./
COPY src/build.rs src/build.rs
COPY protos protos
RUN sed -i '/^\[\[\(bench\|test\)\]\]/,/^$/d' Cargo.toml \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && cargo clean --release --locked --package shopctl

COPY src src
COPY db db
# What 'shopctl --version' says; the repository itself is not in the build.
ARG SHOPCTL_COMMIT=unknown
RUN SHOPCTL_COMMIT="$SHOPCTL_COMMIT" cargo build --release --locked


FROM ${DEBIAN_IMAGE}
# The number is what counts: it is the owner of /shared in docker-compose.yml too.
RUN echo 'shopctl:x:65532:65532::/nonexistent:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'shopctl:x:65532:' >>/etc/group \
    && install --directory --owner 65532 --group 65532 /shared \
    && install --directory /etc/shopctl
COPY --from=build /build/target/release/shopctl /usr/local/bin/shopctl
# Readable for the roles whatever the umask of the checkout was; --chmod is not known to every builder.
COPY docker/shopctl.toml /etc/shopctl/shopctl.toml
RUN chmod 0644 /etc/shopctl/shopctl.toml

ARG SHOPCTL_COMMIT=unknown
LABEL org.opencontainers.image.title="shopctl" \
      org.opencontainers.image.description="The event-driven back office of a chain of shops" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$SHOPCTL_COMMIT"

ENV SHOPCTL_PROFILE=container
# The shopctl.toml here holds for the role and for every command that is run beside it; another one may be mounted over it.
WORKDIR /etc/shopctl
USER 65532:65532
STOPSIGNAL SIGTERM
# Asks whatever role runs here; a service that sets a port of its own asks there, as in: shopctl healthcheck apid --port N
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["shopctl", "healthcheck"]
ENTRYPOINT ["shopctl"]
CMD ["--help"]

# One image for every role; the word behind its name is the role, as in: docker run shopctl split
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# The dependencies in a layer of their own, built for an empty program: it stays until Cargo.toml or Cargo.lock change, and
# works with every builder. Tests and benches are not in the image, so the manifest must not name them here. What was built
# of the empty program goes, because its files are newer than the real ones and cargo would take them for up to date.
COPY Cargo.toml Cargo.lock ./
COPY src/build.rs src/build.rs
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


FROM debian:bookworm-slim
# The number is what counts: it is the owner of /shared in docker-compose.yml too.
RUN echo 'shopctl:x:65532:65532::/nonexistent:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'shopctl:x:65532:' >>/etc/group \
    && install --directory --owner 65532 --group 65532 /shared \
    && install --directory /etc/shopctl
COPY --from=build /build/target/release/shopctl /usr/local/bin/shopctl

ARG SHOPCTL_COMMIT=unknown
LABEL org.opencontainers.image.title="shopctl" \
      org.opencontainers.image.description="The event-driven back office of a chain of shops" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$SHOPCTL_COMMIT"

ENV SHOPCTL_PROFILE=container
# A shopctl.toml mounted here holds for the role and for every command that is run beside it.
WORKDIR /etc/shopctl
USER 65532:65532
STOPSIGNAL SIGTERM
# No HEALTHCHECK: which port to ask depends on the role. Each service has its own, as in: shopctl healthcheck apid
ENTRYPOINT ["shopctl"]
CMD ["--help"]

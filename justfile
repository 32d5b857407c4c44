# Recipes for working on shopctl; every one is a command that also works by hand.

# Lists the recipes
default:
    @just --list --unsorted

# Everything the CI checks, or some steps of it, as in: just check style deny
check *STEPS:
    .ci/run {{STEPS}}

# Formats the code
fmt:
    cargo fmt --all

# Lints, and the style of log texts
lint:
    cargo fmt --all --check
    tests/log-style
    tests/docker-style
    cargo clippy --all-targets --locked -- -D warnings
    cargo clippy --locked --no-default-features --all-targets -- -D warnings

# All tests; arguments go to cargo test
test *ARGS:
    tests/run {{ARGS}}

# Claim, lease and fence explored in wider bounds: some minutes
model:
    cargo test --locked --test it protocol:: -- --include-ignored --nocapture

# The fuzzers, one after another, each for so many seconds; `just fuzz keep` renews the corpus
fuzz *ARGS:
    tests/fuzz/run {{ARGS}}

# Right and wrong requests made from the API's own document, every answer checked against it
api-fuzz *EXAMPLES:
    tests/api-fuzz {{EXAMPLES}}

# A file (or a generated one), audited, imported and sent twice: in containers where an engine answers, else as processes
e2e *FILE:
    #!/usr/bin/env bash
    set -euo pipefail
    if tests/e2e-compose --check; then exec tests/e2e-compose {{FILE}}; fi
    echo "e2e: as plain processes on this machine, against a private MariaDB"
    exec tests/e2e --mariadb {{FILE}}

# The image of all roles, with the commit that it is built from
image:
    DOCKER_BUILDKIT=1 docker build --build-arg "SHOPCTL_COMMIT=$(git rev-parse --short=12 HEAD)" --tag shopctl:local .

# The proving ground at full size: faults by force and a table of what they hit, as in: just chaos --seed 7 kills
chaos *ARGS:
    tests/chaos {{ARGS}}

# Makes faults on purpose, one at a time, and sees whether a test fails, as in: just mutants --embedded fsync
mutants *ARGS:
    tests/mutants {{ARGS}}

# Everything in one process on ./shared
up *ARGS:
    cargo run --profile fast --locked -- up {{ARGS}}

# Measures the stages against a plain copy; PROFILE=bench is what published numbers are measured with
bench *ARGS:
    cargo bench --profile "${PROFILE:-fast}" --locked --bench stages -- {{ARGS}}

# How many events a second the worker decides with all rules on, and what the time goes to, as in: just work-rate year.ndjson.gz
work-rate *ARGS:
    tests/work-rate {{ARGS}}

# Posts events from 8 threads and measures the acknowledgement
load-test *ARGS:
    cargo bench --locked --bench load -- {{ARGS}}

# Claims under a race and among a million tasks, as in: just claims-bench --url mysql://root@127.0.0.1/bench
claims-bench *ARGS:
    cargo bench --locked --bench claims -- {{ARGS}}

# One role, as in: just run work --shard 0
run ROLE *ARGS:
    cargo run --profile fast --locked -- {{ROLE}} {{ARGS}}

# The documentation of the code
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Licences, sources, known vulnerabilities; builds cargo-deny where it is missing
deny:
    CI_INSTALL_DENY=1 .ci/run deny

# A new migration of a database (tracking, shard, balance, cache or worker) in every dialect, as in: just db-new shard good_names
db-new DATABASE NAME:
    #!/usr/bin/env bash
    set -euo pipefail
    [ -d db/migrations/sqlite/{{DATABASE}} ] || { echo "databases: $(ls db/migrations/sqlite | tr '\n' ' ')" >&2; exit 64; }
    last=$(ls db/migrations/sqlite/{{DATABASE}} | sed -n 's/^\([0-9]\{4\}\)_.*\.sql$/\1/p' | sort | tail -n 1)
    for dialect in sqlite mysql; do
        folder=db/migrations/$dialect/{{DATABASE}}
        [ -d "$folder" ] || continue
        file=$folder/$(printf '%04d' $((10#${last:-0} + 1)))_{{NAME}}.sql
        echo "-- {{NAME}}: what changes, and why old code still runs on it." >"$file"
        echo "$file (add it to the schema's list in src/pipeline/schemas.rs, and to db/ddl.sql)"
    done

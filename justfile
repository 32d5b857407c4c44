# Recipes for working on shopctl; every one is a command that also works by hand.

# Lists the recipes
default:
    @just --list --unsorted

# Everything the CI checks
check:
    .ci/run

# Formats the code
fmt:
    cargo fmt --all

# Lints, and the style of log texts
lint:
    cargo fmt --all --check
    tests/log-style
    cargo clippy --all-targets --locked -- -D warnings

# All tests; arguments go to cargo test
test *ARGS:
    tests/run {{ARGS}}

# Separate processes over a file (or a generated one), audited, imported and sent twice
e2e *FILE:
    tests/e2e {{FILE}}

# The proving ground at full size: faults by force and a table of what they hit, as in: just chaos --seed 7 kills
chaos *ARGS:
    tests/chaos {{ARGS}}

# Everything in one process on ./shared
up *ARGS:
    cargo run --release --locked -- up {{ARGS}}

# Measures the stages against a plain copy
bench *ARGS:
    cargo bench --locked --bench stages -- {{ARGS}}

# Posts events from 8 threads and measures the acknowledgement
load-test *ARGS:
    cargo bench --locked --bench load -- {{ARGS}}

# Claims under a race and among a million tasks, as in: just claims-bench --url mysql://root@127.0.0.1/bench
claims-bench *ARGS:
    cargo bench --locked --bench claims -- {{ARGS}}

# One role, as in: just run work --shard 0
run ROLE *ARGS:
    cargo run --release --locked -- {{ROLE}} {{ARGS}}

# The documentation of the code
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# Licences, sources, known vulnerabilities
deny:
    cargo deny --locked check

# A new migration of a database (tracking, shard, balance, cache or worker), as in: just db-new shard good_names
db-new DATABASE NAME:
    #!/usr/bin/env bash
    set -euo pipefail
    folder=db/migrations/sqlite/{{DATABASE}}
    [ -d "$folder" ] || { echo "there is no $folder; databases: $(ls db/migrations/sqlite | tr '\n' ' ')" >&2; exit 64; }
    last=$(ls "$folder" | sed -n 's/^\([0-9]\{4\}\)_.*\.sql$/\1/p' | sort | tail -n 1)
    file=$folder/$(printf '%04d' $((10#${last:-0} + 1)))_{{NAME}}.sql
    echo "-- {{NAME}}: what changes, and why old code still runs on it." >"$file"
    echo "$file (add it to the schema's list in src/store/sqlite/ too)"

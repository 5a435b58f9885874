# The list: `just`. Everything at once, as CI does it: `just all`.
default:
    @just --list

# Before a commit: format, lints of library and program, and that documents and source agree.
check:
    cargo fmt --check
    cargo clippy --locked --lib --bins -- -D warnings
    cargo test --locked --test docs

# Unit tests and properties; needs Rust only.
test *ARGS:
    cargo test --locked --lib {{ARGS}}

# On a real node and bundler; installs them from npm first.
e2e *ARGS:
    tests/e2e/setup
    cargo test --locked --test e2e {{ARGS}}

# Pictures of screens, help and manual, and the JSON of every command, written anew: read the diff before it is committed.
snapshots:
    INSTA_UPDATE=always cargo test --locked --lib -- tui cli::commands::man
    KEYLEASH_RECORD=1 cargo test --locked --test json_contract --test docs

# The figures of the README.
bench:
    cargo bench --locked --bench budgets

# What is handed out: small, and slow to build.
dist:
    cargo build --locked --profile dist

all:
    tests/run

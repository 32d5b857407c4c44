# For those who type make; just has more (or run these by hand).
.PHONY: test load-test up
test:
	tests/run
load-test:
	cargo bench --locked --bench load
up:
	cargo run --release --locked -- up

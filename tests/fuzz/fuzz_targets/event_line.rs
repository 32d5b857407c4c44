//! libFuzzer's door to `targets/event_line.rs`.
#![no_main]

#[path = "../targets/event_line.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));

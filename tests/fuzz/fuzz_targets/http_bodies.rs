//! libFuzzer's door to `targets/http_bodies.rs`.
#![no_main]

#[path = "../targets/http_bodies.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oubliette_cli::fuzz::list(data));

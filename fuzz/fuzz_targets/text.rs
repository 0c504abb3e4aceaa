#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    perceiver_fuzz::text(bytes);
});

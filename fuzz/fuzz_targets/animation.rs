#![no_main]

libfuzzer_sys::fuzz_target!(init: perceiver_fuzz::let_decoders_panic(), |bytes: &[u8]| {
    perceiver_fuzz::animation(bytes);
});

#![no_main]

libfuzzer_sys::fuzz_target!(init: start(), |bytes: &[u8]| {
    perceiver_fuzz::sound(bytes);
});

/// Hides ffmpeg, which would be started for every file that our own decoders do not know.
fn start() {
    // SAFETY: libFuzzer has not started a thread yet.
    unsafe { std::env::set_var("PATH", "") };
    perceiver_fuzz::let_decoders_panic();
}

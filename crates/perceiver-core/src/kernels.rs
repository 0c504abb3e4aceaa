use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig as _};

/// Lets GPU backends keep on disk what they compile: a program's next start compiles nothing. On
/// an H200 the first pass of the language model took 7 s, and 0.1 s when the program was started
/// again; that of optical flow 24 s, then 0.3 s.
///
/// For programs, before they open a device; later it does nothing. The place is CubeCL's: in a
/// Cargo workspace `target/environment`, elsewhere the user's folder for caches, or what a
/// `cubecl.toml` names, whose other settings hold. Where nothing can be written, kernels are
/// compiled at every start as without it.
///
/// There with `persistence` and a GPU's feature. With `autotune`, burn keeps in the same place what
/// its tuner chose.
pub fn keep_compiled_kernels() {
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    CubeClRuntimeConfig::try_set(config);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_is_kept_from_then_on() {
        keep_compiled_kernels();
        assert!(CubeClRuntimeConfig::get().compilation.cache);
    }
}

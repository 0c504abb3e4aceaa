use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig as _};

/// Makes GPU backends cache compiled kernels on disk, so that the next start of a program compiles
/// nothing. On an H200 the first forward pass of the language model took 7 s, and 0.1 s at the next
/// start; that of optical flow took 24 s, then 0.3 s.
///
/// Call it before a device is opened; later it does nothing. CubeCL chooses the folder: in a Cargo
/// workspace `target/environment`, elsewhere the user's cache folder, or the one that a `cubecl.toml`
/// names, whose other settings stay in force. If the folder cannot be written, kernels are compiled at
/// every start.
///
/// Requires the feature `persistence` and that of a GPU. With `autotune`, burn stores the choices of
/// its tuner in the same folder.
pub fn keep_compiled_kernels() {
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    config.compilation.cache = true;
    CubeClRuntimeConfig::try_set(config);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_kernels_are_cached_after_the_call() {
        keep_compiled_kernels();
        assert!(CubeClRuntimeConfig::get().compilation.cache);
    }
}

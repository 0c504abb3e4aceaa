#![allow(unsafe_code, reason = "a C function configures the allocator of the C library")]

/// Makes the process keep the memory that it frees, because the next layer or step needs as much
/// again.
///
/// The GNU C library returns large blocks to the system, which clears every page before it hands it out
/// again. On two cores that takes a tenth of a training step of the published masked language model,
/// and a tenth of a forward pass of the published autoencoder. Programs that compute on the CPU call
/// this first. With another C library it does nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call passes plain numbers. Only allocations read the settings that they replace, and
    // see either the old or the new number.
    unsafe {
        /// The largest threshold that older versions accept; they still return larger blocks.
        const LARGEST_BLOCK: libc::c_int = 32 << 20;
        const NEVER: libc::c_int = -1;
        if libc::mallopt(libc::M_MMAP_THRESHOLD, libc::c_int::MAX) == 0 {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_BLOCK);
        }
        libc::mallopt(libc::M_TRIM_THRESHOLD, NEVER);
    }
}

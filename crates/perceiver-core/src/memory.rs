#![allow(unsafe_code, reason = "the C library's allocator is set through a C function")]

/// Lets the process keep the memory that it frees, of which every layer and every step needs as
/// much again.
///
/// The GNU C library returns large blocks to the system, which clears each page that it hands out
/// again: on two cores a tenth of a training step of the published masked language model, and of
/// a pass of the published autoencoder. For programs that run on the CPU, first thing. With
/// another C library it does nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: plain numbers are passed; what they replace is read by allocations alone, which find
    // the number before or the one after.
    unsafe {
        /// The largest that older libraries take, which return larger blocks all the same.
        const LARGEST_BLOCK: libc::c_int = 32 << 20;
        const NEVER: libc::c_int = -1;
        if libc::mallopt(libc::M_MMAP_THRESHOLD, libc::c_int::MAX) == 0 {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_BLOCK);
        }
        libc::mallopt(libc::M_TRIM_THRESHOLD, NEVER);
    }
}

//! Files that are on the disk when their writer returns.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Writes a file, and waits until it is on the disk.
pub(crate) fn write_file<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(SharedFile) -> Result<(), E>,
) -> Result<(), E> {
    let file = SharedFile::create(path)?;
    write(file.clone())?;
    Ok(file.finish()?)
}

/// A buffered file that outlives the encoder that writes to it.
///
/// Buffers and some encoders write the end of a file when they are dropped, and hide errors. This
/// keeps the first error for [`finish`](Self::finish).
#[derive(Debug, Clone)]
pub(crate) struct SharedFile(Arc<Mutex<Output>>);

#[derive(Debug)]
struct Output {
    buffer: BufWriter<File>,
    failure: Option<io::Error>,
}

impl SharedFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let buffer = BufWriter::new(File::create(path)?);
        Ok(Self(Arc::new(Mutex::new(Output { buffer, failure: None }))))
    }

    /// Waits until everything is on the disk.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.attempt(|buffer| {
            buffer.flush()?;
            buffer.get_ref().sync_all()
        })
    }

    /// Works on the file unless something failed before, and keeps the first failure.
    fn attempt<T>(
        &self,
        work: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Output { buffer, failure } = &mut *output;
        if let Some(failure) = failure {
            return Err(copy(failure));
        }
        let result = work(buffer);
        // Whoever writes tries again after an interruption.
        let lasting = result.as_ref().err().filter(|error| error.kind() != ErrorKind::Interrupted);
        *failure = lasting.map(copy);
        result
    }
}

impl Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(|buffer| buffer.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(BufWriter::flush)
    }
}

impl Seek for SharedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.attempt(|buffer| buffer.seek(to))
    }
}

fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    const FULL: &str = "/dev/full";

    #[test]
    fn a_full_disk_is_noticed_by_the_last_byte() {
        let written: io::Result<()> =
            write_file(Path::new(FULL), |mut file| file.write_all(b"a few bytes"));
        assert_eq!(written.unwrap_err().kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn an_error_that_an_encoder_hides_is_kept() {
        let file = SharedFile::create(Path::new(FULL)).unwrap();
        let mut encoder = file.clone();
        encoder.write_all(b"a few bytes").unwrap();
        let _hidden = encoder.flush();
        drop(encoder);
        assert_eq!(file.finish().unwrap_err().kind(), ErrorKind::StorageFull);
    }
}

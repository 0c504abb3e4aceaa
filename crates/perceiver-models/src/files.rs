//! Reads text of bounded size and replaces files whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

use crate::Error;
use crate::foreign::file_kind;

/// The text of a file of at most `limit` bytes.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    let mut bytes = Vec::new();
    // One byte beyond the limit shows that a file is too long, whatever size it reported.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    text(path, &bytes, limit).map(str::to_owned)
}

/// The text of a file of a model's folder, of at most `limit` bytes.
pub(crate) fn read_folder_text(path: &Path, limit: u64) -> Result<String, Error> {
    open_regular(path)?;
    read_text(path, limit)
}

/// Opens a file that is not a pipe or device, which would be read for ever.
pub(crate) fn open_regular(path: &Path) -> Result<File, Error> {
    let metadata = fs::metadata(path).map_err(Error::io(path, "read"))?;
    if !metadata.is_file() {
        return Err(Error::io(path, "read")(io::Error::other("not a regular file")));
    }
    File::open(path).map_err(Error::io(path, "read"))
}

/// The text of a file of at most `limit` bytes, which errors call `path`.
pub(crate) fn text<'a>(path: &Path, bytes: &'a [u8], limit: u64) -> Result<&'a str, Error> {
    if bytes.len() as u64 > limit {
        return Err(Error::checkpoint(path, format!("is longer than {limit} bytes")));
    }
    if matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) {
        return Err(Error::checkpoint(path, "is UTF-16 text, expected UTF-8; save it as UTF-8"));
    }
    // Some editors begin files with a byte order mark.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    str::from_utf8(text).map_err(|error| {
        let place = bytes.len() - text.len() + error.valid_up_to();
        let message = file_kind(bytes).map_or_else(
            || format!("is not UTF-8 text at byte {place}"),
            |kind| format!("is {kind}"),
        );
        Error::checkpoint(path, message)
    })
}

/// The bytes of one of several files in memory; two of one name are refused.
pub(crate) fn named<'a>(files: &[(&str, &'a [u8])], name: &str) -> Result<Option<&'a [u8]>, Error> {
    let mut found = files.iter().filter(|(known, _)| *known == name);
    let first = found.next().map(|(_, bytes)| *bytes);
    match found.next() {
        Some(_) => Err(Error::checkpoint(Path::new(name), "is given twice")),
        None => Ok(first),
    }
}

/// The error of serde_json about `text`, without the place that it appends to its message.
pub(crate) fn json_error(error: &serde_json::Error, text: &str) -> Error {
    let (line, column) = (error.line(), error.column());
    let at = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let rest = at.get(column.saturating_sub(1)..).unwrap_or_default();
    let mut message = error.to_string();
    if let Some(end) = message.rfind(" at line ") {
        message.truncate(end);
    }
    if ["NaN", "Infinity", "nfinity", "-Infinity"].iter().any(|token| rest.starts_with(token)) {
        message.push_str(" (NaN and Infinity are not JSON)");
    }
    if let Some(kind) = file_kind(text.as_bytes()) {
        message = format!("it is {kind}");
    }
    Error::Json { path: None, line, column, message }
}

/// The start of the names of temporary files that this process writes beside their final place: they
/// remain if the process is killed.
#[must_use]
pub fn temporary_prefix() -> String {
    format!(".perceiver-{}-", std::process::id())
}

/// A file that moves into its place once it is complete: a temporary file in the same folder, deleted
/// if it is dropped before [`commit`](Self::commit).
pub(crate) struct Replacement<'a> {
    file: NamedTempFile,
    path: &'a Path,
}

impl<'a> Replacement<'a> {
    pub(crate) fn new(path: &'a Path) -> Result<Self, Error> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let mut builder = Builder::new();
        let prefix = temporary_prefix();
        builder.prefix(&prefix).suffix(".part");
        // Temporary files are private by default; a new file has the permissions of the umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(Error::io(path, "write"))?;
        Ok(Self { file, path })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        // The error of the temporary file itself would name it.
        self.file.as_file_mut().write_all(bytes).map_err(Error::io(self.path, "write"))
    }

    /// Makes the bytes durable; the old file stays in place.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.as_file().sync_all().map_err(Error::io(self.path, "write"))
    }

    pub(crate) fn commit(self) -> Result<(), Error> {
        let path = self.path;
        self.file.persist(path).map_err(|error| Error::io(path, "replace")(error.error))?;
        // The rename is durable once the folder is synced, which some systems do not allow.
        #[cfg(unix)]
        if let Some(Ok(folder)) = path.parent().map(File::open) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Replaces the content of a file, or leaves the file as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = Replacement::new(path)?;
    file.write(bytes)?;
    file.sync()?;
    file.commit()
}

/// True if the path is an existing file; follows links.
pub(crate) fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

//! Settings files: bounded reading, errors that name the field, writing without halves.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Settings files of strangers are read up to this size, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Longest excerpt of a refused value in an error, in characters.
const MAX_EXCERPT: usize = 60;

/// A JSON object together with the file it came from, so that complaints can name both.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    pub(crate) fields: Map<String, Value>,
}

impl Settings {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = read_bounded(path, MAX_FILE)?;
        Self::parse(path, &bytes)
    }

    /// As [`Settings::read`], but a file that does not exist is no error.
    pub(crate) fn read_if_present(path: &Path) -> Result<Option<Self>> {
        match Self::read(path) {
            Ok(settings) => Ok(Some(settings)),
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let value = serde_json::from_slice(bytes)
            .map_err(|source| Error::Json { path: path.to_owned(), source })?;
        match value {
            Value::Object(fields) => Ok(Self { path: path.to_owned(), fields }),
            other => Err(refusal(path, "the whole file", &other, "a JSON object")),
        }
    }

    /// The value of a field, if it is there and not `null`.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn refuse(&self, field: &str, found: &Value, expected: impl Into<String>) -> Error {
        refusal(&self.path, field, found, expected)
    }

    pub(crate) fn bool(&self, field: &str) -> Result<Option<bool>> {
        self.get(field)
            .map(|value| value.as_bool().ok_or_else(|| self.refuse(field, value, "true or false")))
            .transpose()
    }

    pub(crate) fn str(&self, field: &str) -> Result<Option<&str>> {
        self.get(field)
            .map(|value| value.as_str().ok_or_else(|| self.refuse(field, value, "a string")))
            .transpose()
    }
}

fn refusal(path: &Path, field: &str, found: &Value, expected: impl Into<String>) -> Error {
    let mut text = found.to_string();
    if let Some((end, _)) = text.char_indices().nth(MAX_EXCERPT) {
        text.truncate(end);
        text.push('…');
    }
    Error::Field {
        path: path.to_owned(),
        field: field.to_owned(),
        found: text,
        expected: expected.into(),
    }
}

/// Reads a file, unless it is larger than `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 > limit {
        let size = fs::metadata(path).map_or(limit + 1, |metadata| metadata.len());
        return Err(Error::FileTooLarge { path: path.to_owned(), size, limit });
    }
    Ok(bytes)
}

/// Writes a settings file as the reference does: sorted keys, two spaces, a final newline.
///
/// The old file stays as it was unless the new one is complete.
pub(crate) fn write(path: &Path, fields: Map<String, Value>) -> Result<()> {
    let mut value = Value::Object(fields);
    value.sort_all_objects();
    let text = format!("{value:#}\n");

    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private by default; this one is to be an ordinary file in the end.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(Error::io(path, "write"))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(Error::io(path, "write"))?;
    file.persist(path).map_err(|error| Error::io(path, "write")(error.error))?;
    Ok(())
}

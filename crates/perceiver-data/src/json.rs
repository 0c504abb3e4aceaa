//! Settings files: read within bounds, refused with the name of the field, written whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Largest settings file that is read, in bytes: files may come from anyone.
const MAX_FILE: u64 = 1 << 20;

/// Longest excerpt of a refused value in an error, in characters.
const MAX_EXCERPT: usize = 60;

/// Where settings files come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SettingsFiles<'a> {
    Folder(&'a Path),
    /// Names and contents.
    Memory(&'a [(&'a str, &'a [u8])]),
}

impl SettingsFiles<'_> {
    /// The path by which errors name this file.
    pub(crate) fn path(self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::Memory(_) => PathBuf::from(name),
        }
    }

    pub(crate) fn read(self, name: &str) -> Result<Settings> {
        let path = self.path(name);
        match self {
            Self::Folder(_) => {
                check_regular(&path)?;
                Settings::parse(&path, &read_bounded(&path, MAX_FILE)?)
            }
            Self::Memory(files) => {
                let mut found = files.iter().filter(|(known, _)| *known == name);
                let (_, bytes) = found
                    .next()
                    .ok_or_else(|| Error::io(&path, "read")(io::ErrorKind::NotFound.into()))?;
                if found.next().is_some() {
                    return Err(Error::GivenTwice { path });
                }
                check_size(&path, bytes.len() as u64, MAX_FILE)?;
                Settings::parse(&path, bytes)
            }
        }
    }

    /// Like [`read`](Self::read), with `None` if there is no such file.
    pub(crate) fn read_if_present(self, name: &str) -> Result<Option<Settings>> {
        match self.read(name) {
            Ok(settings) => Ok(Some(settings)),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A JSON object and the file it came from, so that errors can name both.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    pub(crate) fields: Map<String, Value>,
}

impl Settings {
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        if let Some(kind) = other_kind(bytes) {
            return Err(Error::data(path, format!("is {kind}")));
        }
        // Some editors begin files with a byte order mark.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let value = serde_json::from_slice(bytes)
            .map_err(|source| Error::Json { path: path.to_owned(), source })?;
        match value {
            Value::Object(fields) => Ok(Self { path: path.to_owned(), fields }),
            other => Err(refusal(path, "the whole file", &other, "a JSON object")),
        }
    }

    /// The value of a field that is present and not `null`.
    pub(crate) fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn refuse(&self, field: &str, found: &Value, expected: impl Into<String>) -> Error {
        refusal(&self.path, field, found, expected)
    }

    /// A switch. The reference does not check its type: a number counts as Python counts it.
    pub(crate) fn bool(&self, field: &str) -> Result<Option<bool>> {
        let truth = |value: &Value| match value {
            Value::Bool(flag) => Ok(*flag),
            Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            _ => Err(self.refuse(field, value, "true or false")),
        };
        self.get(field).map(truth).transpose()
    }

    pub(crate) fn str(&self, field: &str) -> Result<Option<&str>> {
        self.get(field)
            .map(|value| value.as_str().ok_or_else(|| self.refuse(field, value, "a string")))
            .transpose()
    }
}

/// Names a file that is often found in the place of settings.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    let start = bytes.trim_ascii_start();
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            Some("UTF-16 text, expected UTF-8; save it as UTF-8")
        }
        _ if start.starts_with(b"<") => Some("an HTML page or XML text; download the file itself"),
        _ if start.starts_with(b"version https://git-lfs") => {
            Some("a Git LFS pointer; `git lfs pull` fetches the file itself")
        }
        _ => None,
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

/// Refuses a file of more than `limit` bytes.
pub(crate) fn check_size(path: &Path, size: u64, limit: u64) -> Result<()> {
    if size > limit {
        return Err(Error::FileTooLarge { path: path.to_owned(), size, limit });
    }
    Ok(())
}

/// Refuses a pipe or device, which would be read for ever.
pub(crate) fn check_regular(path: &Path) -> Result<()> {
    match fs::metadata(path).map_err(Error::io(path, "read"))?.is_file() {
        true => Ok(()),
        false => Err(Error::io(path, "read")(io::Error::other("not a regular file"))),
    }
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 > limit {
        let size = fs::metadata(path).map_or(limit + 1, |metadata| metadata.len());
        check_size(path, size.max(limit + 1), limit)?;
    }
    Ok(bytes)
}

/// Writes a settings file as the reference does: sorted keys, two spaces, a final newline.
///
/// An existing file is replaced only once the new one is complete.
pub(crate) fn write(path: &Path, fields: Map<String, Value>) -> Result<()> {
    let mut value = Value::Object(fields);
    value.sort_all_objects();
    let text = format!("{value:#}\n");

    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    let mut file = ordinary_file().tempfile_in(folder).map_err(Error::io(path, "write"))?;
    file.as_file_mut()
        .write_all(text.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(Error::io(path, "write"))?;
    file.persist(path).map_err(|error| Error::io(path, "write")(error.error))?;
    Ok(())
}

/// Temporary files are private by default; these end up as ordinary files.
fn ordinary_file() -> tempfile::Builder<'static, 'static> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mut builder = tempfile::Builder::new();
        builder.permissions(fs::Permissions::from_mode(0o666));
        builder
    }
    #[cfg(not(unix))]
    tempfile::Builder::new()
}

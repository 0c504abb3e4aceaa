//! `*.index.json`, which says what shard has which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use serde_json::Value;

use super::Stored;
use crate::Error;
use crate::files;

/// Size limit of an index, in bytes.
pub(super) const MAX_BYTES: u64 = 64 << 20;

pub(super) fn open(path: &Path) -> Result<BTreeMap<String, Stored<'static>>, Error> {
    let folder = path.parent().unwrap_or(Path::new(""));
    join(path, shards(path)?, |shard| {
        let file = folder.join(shard);
        files::is_file(&file).then(|| super::open_file(&file)).transpose()
    })
}

/// The tensors of all shards, each of which `open` opens unless it is missing.
pub(super) fn join<'a>(
    path: &Path,
    shards: BTreeMap<String, BTreeSet<String>>,
    open: impl Fn(&str) -> Result<Option<BTreeMap<String, Stored<'a>>>, Error>,
) -> Result<BTreeMap<String, Stored<'a>>, Error> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut tensors = BTreeMap::new();
    for (shard, named) in shards {
        let Some(stored) = open(&shard)? else {
            return Err(Error::checkpoint(path, format!("names the missing shard {shard}")));
        };
        let file = folder.join(&shard);
        if let Some(key) = named.iter().find(|key| !stored.contains_key(*key)) {
            let message = format!("has no tensor {key}, which the index places there");
            return Err(Error::checkpoint(&file, message));
        }
        for (key, tensor) in stored {
            if tensors.contains_key(&key) {
                let message = format!("has the tensor {key}, which another shard has as well");
                return Err(Error::checkpoint(&file, message));
            }
            tensors.insert(key, tensor);
        }
    }
    Ok(tensors)
}

/// The file name of each shard, with the keys it should have.
pub(crate) fn shards(path: &Path) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    parse(path, &files::read_folder_text(path, MAX_BYTES)?)
}

/// The same, from the text of an index.
pub(super) fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let index: Value = serde_json::from_str(text)
        .map_err(|error| files::json_error(&error, text).in_file(path))?;
    let map = index
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| Error::checkpoint(path, "has no object `weight_map` from tensor to file"))?;
    let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, file) in map {
        let file = file.as_str().filter(|file| is_plain_name(file)).ok_or_else(|| {
            let message = format!("tensor {key} is in {file}, expected a file beside the index");
            Error::checkpoint(path, message)
        })?;
        shards.entry(file.to_owned()).or_default().insert(key.clone());
    }
    if shards.is_empty() {
        return Err(Error::checkpoint(path, "names no tensor"));
    }
    Ok(shards)
}

/// True if a name stays in its folder on every system.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let plain = matches!(components.next(), Some(Component::Normal(_)));
    plain && components.next().is_none() && !name.contains(['/', '\\', ':', '\0'])
}

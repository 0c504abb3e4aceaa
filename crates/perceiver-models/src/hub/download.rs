//! Downloads through the `hf-hub` crate.

use std::io;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::{Failure, HubOptions, repository};
use crate::checkpoint::{FILE_NAMES, shards};
use crate::config::CONFIG_NAME;
use crate::foreign::{names_kind, other_weights};

/// Longest silence of the hub; the client has no time limit of its own.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Other files that tokenizers and image processors need.
const OTHERS: [&str; 5] = [
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "added_tokens.json",
];

/// Completes the snapshot of the revision and returns its folder.
pub(super) fn snapshot(
    id: &str,
    cache: &Path,
    options: &HubOptions,
    patience: Duration,
) -> Result<PathBuf, Failure> {
    let (id, cache, options) = (id.to_owned(), cache.to_owned(), options.clone());
    let endpoint = options.endpoint.clone();
    let bytes = Arc::new(AtomicU64::new(0));
    let received = Arc::clone(&bytes);
    let (sender, receiver) = mpsc::channel();
    // In a thread of its own, which is abandoned if the hub falls silent.
    let spawned = thread::Builder::new().spawn(move || {
        let fetched = panic::catch_unwind(|| fetch(&id, &cache, &options, &received));
        let fetched = fetched.unwrap_or_else(|_| Err("its answer was not understood".into()));
        // The receiver is gone if patience has run out.
        let _ = sender.send(fetched);
    });
    spawned.map_err(|error| format!("{endpoint} was not asked: cannot start a thread: {error}"))?;
    let mut seen = (0, Instant::now());
    loop {
        match receiver.recv_timeout(Duration::from_millis(50).min(patience)) {
            Ok(fetched) => {
                return fetched.map_err(|Failure { text, cause }| Failure {
                    text: format!("{endpoint} failed: {text}"),
                    cause,
                });
            }
            Err(RecvTimeoutError::Disconnected) => return Err(format!("{endpoint} failed").into()),
            Err(RecvTimeoutError::Timeout) => {
                let now = bytes.load(Ordering::Relaxed);
                if now != seen.0 {
                    seen = (now, Instant::now());
                } else if seen.1.elapsed() > patience {
                    let seconds = patience.as_secs_f32();
                    return Err(format!("{endpoint} was silent for {seconds} s").into());
                }
            }
        }
    }
}

fn fetch(
    id: &str,
    cache: &Path,
    options: &HubOptions,
    received: &Arc<AtomicU64>,
) -> Result<PathBuf, Failure> {
    let api = ApiBuilder::from_cache(Cache::new(cache.to_owned()))
        .with_progress(false)
        .with_endpoint(options.endpoint.clone())
        .with_token(options.token.clone())
        .build()
        .map_err(|error| failure(&error))?;
    let repo = Repo::with_revision(id.to_owned(), RepoType::Model, options.revision.clone());
    let repo = api.repo(repo);
    let info = repo.info().map_err(|error| failure(&error))?;
    if !info.sha.bytes().all(|byte| byte.is_ascii_hexdigit()) || info.sha.is_empty() {
        return Err("its answer does not name a commit".into());
    }
    let folder = repository(id, cache).join("snapshots").join(&info.sha);
    let offered: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    let snapshot = Snapshot { repo, folder, received: Arc::clone(received) };
    snapshot.complete(&offered)?;
    Ok(snapshot.folder)
}

struct Snapshot {
    repo: ApiRepo,
    folder: PathBuf,
    received: Arc<AtomicU64>,
}

impl Snapshot {
    fn complete(&self, offered: &[&str]) -> Result<(), Failure> {
        let kind = || {
            let offered = || offered.iter().copied();
            let kind = names_kind(offered()).or_else(|| other_weights(offered()));
            kind.map_or_else(String::new, |kind| format!(": it {kind}"))
        };
        if !offered.contains(&CONFIG_NAME) {
            return Err(format!("the model has no {CONFIG_NAME}{}", kind()).into());
        }
        let Some(weights) = FILE_NAMES.iter().find(|name| offered.contains(name)) else {
            let names = FILE_NAMES.join(", ");
            return Err(format!("the model has none of {names}{}", kind()).into());
        };
        self.get(CONFIG_NAME)?;
        for name in OTHERS.iter().filter(|name| offered.contains(name)) {
            self.get(name)?;
        }
        self.get(weights)?;
        if weights.ends_with(".index.json") {
            let shards = shards(&self.folder.join(weights)).map_err(|error| error.to_string())?;
            shards.keys().try_for_each(|shard| self.get(shard))?;
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Result<(), Failure> {
        if self.folder.join(name).exists() {
            return Ok(());
        }
        let progress = Received(Arc::clone(&self.received));
        let path = self.repo.download_with_progress(name, progress);
        let path = path.map_err(|error| {
            let Failure { text, cause } = failure(&error);
            Failure { text: format!("{name}: {text}"), cause }
        })?;
        if path.parent() == Some(&self.folder) {
            return Ok(());
        }
        Err(format!("{name}: the revision changed during the download").into())
    }
}

/// Counts the bytes received.
struct Received(Arc<AtomicU64>);

impl Progress for Received {
    fn init(&mut self, _size: usize, _filename: &str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn update(&mut self, size: usize) {
        self.0.fetch_add(size as u64, Ordering::Relaxed);
    }

    fn finish(&mut self) {}
}

/// The first line of an error, and the system's error in it.
fn failure(error: &ApiError) -> Failure {
    let text = error.to_string().lines().next().unwrap_or_default().to_owned();
    let mut inner = error;
    while let ApiError::TooManyRetries(last) = inner {
        inner = last;
    }
    let cause = match inner {
        ApiError::IoError(error) => Some(match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => error.kind().into(),
        }),
        _ => None,
    };
    Failure { text, cause }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::hub::resolve;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn options(cache: &Path, endpoint: String) -> HubOptions {
        HubOptions {
            revision: "main".into(),
            offline: false,
            cache: Some(cache.to_path_buf()),
            endpoint,
            token: None,
        }
    }

    /// Serves a repository of two files as the hub does.
    fn serve(files: &'static [(&'static str, &'static str)]) -> String {
        fn answer(stream: TcpStream, files: &[(&str, &str)]) -> Option<()> {
            let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
            let request = lines.next()?.ok()?;
            while !lines.next()?.ok()?.is_empty() {}
            let path = request.split(' ').nth(1)?;
            let name = path.rsplit('/').next()?;
            let found = files.iter().find(|(known, _)| *known == name);
            let mut stream = stream;
            let close = "Connection: close\r\n";
            if path.starts_with("/api/models/") {
                let names: Vec<_> = files
                    .iter()
                    .map(|(name, _)| serde_json::json!({ "rfilename": name }))
                    .collect();
                let body = serde_json::json!({ "sha": COMMIT, "siblings": names }).to_string();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\n{close}Content-Type: application/json\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                )
                .ok()
            } else if let Some((name, body)) = found {
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 206 Partial Content\r\n{close}ETag: \"{name}-tag\"\r\n\
                     X-Repo-Commit: {COMMIT}\r\nContent-Range: bytes 0-0/{length}\r\n\
                     Content-Length: {length}\r\n\r\n{body}"
                )
                .ok()
            } else {
                write!(stream, "HTTP/1.1 404 Not Found\r\n{close}Content-Length: 0\r\n\r\n").ok()
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, files);
            }
        });
        endpoint
    }

    #[test]
    fn a_model_is_downloaded_once_and_then_found_offline() {
        let endpoint = serve(&[
            ("config.json", "{}"),
            ("model.safetensors", "weights"),
            ("pytorch_model.bin", "older weights"),
            ("preprocessor_config.json", "{ }"),
            ("processor_config.json", "{  }"),
        ]);
        let cache = tempfile::tempdir().unwrap();
        let mut options = options(cache.path(), endpoint);
        let folder = resolve("owner/model", &options).unwrap();
        assert!(folder.ends_with(format!("models--owner--model/snapshots/{COMMIT}")));
        let read = |name: &str| std::fs::read_to_string(folder.join(name));
        assert_eq!(read("config.json").unwrap(), "{}");
        assert_eq!(read("model.safetensors").unwrap(), "weights");
        assert_eq!(read("preprocessor_config.json").unwrap(), "{ }");
        assert_eq!(read("processor_config.json").unwrap(), "{  }");
        assert!(read("pytorch_model.bin").is_err());
        options.offline = true;
        assert_eq!(resolve("owner/model", &options).unwrap(), folder);
    }

    #[test]
    fn a_model_without_weights_is_refused() {
        let endpoint = serve(&[("config.json", "{}")]);
        let cache = tempfile::tempdir().unwrap();
        let error = resolve("owner/model", &options(cache.path(), endpoint)).unwrap_err();
        assert!(error.to_string().contains("none of model.safetensors"), "{error}");
    }

    #[test]
    fn a_repository_of_another_kind_is_named() {
        let cache = tempfile::tempdir().unwrap();
        let why = |endpoint| {
            resolve("owner/model", &options(cache.path(), endpoint)).unwrap_err().to_string()
        };
        let error = why(serve(&[("adapter_config.json", "{}"), ("adapter_model.safetensors", "")]));
        assert!(error.contains("it is an adapter of PEFT"), "{error}");
        let error = why(serve(&[("config.json", "{}"), ("tf_model.h5", "")]));
        assert!(error.contains("it holds a model of TensorFlow"), "{error}");
    }

    #[test]
    fn an_unreachable_hub_fails_at_once() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let cache = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let error = resolve("owner/model", &options(cache.path(), endpoint.clone())).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(10));
        let message = error.to_string();
        assert!(message.contains(&endpoint) && message.contains("pass its folder"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }

    #[test]
    fn a_silent_hub_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", silent.local_addr().unwrap());
        let cache = tempfile::tempdir().unwrap();
        let options = options(cache.path(), endpoint);
        let why = snapshot("owner/model", cache.path(), &options, Duration::from_millis(200))
            .unwrap_err();
        assert!(why.text.contains("silent"), "{why:?}");
    }
}

//! The places of hub models and the ways to reach them, by the environment.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Most bytes of a token's file that are read: tokens have about forty.
const MAX_TOKEN: u64 = 1 << 12;

/// The places of hub models and the ways to reach them.
///
/// [`Default`] follows the environment as Python's `huggingface_hub` does: `HF_HUB_CACHE` or
/// `HUGGINGFACE_HUB_CACHE`, `HF_HOME` and `XDG_CACHE_HOME`, in which `~` and `$NAME` are expanded;
/// `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`; `HF_ENDPOINT`; `HF_TOKEN` or
/// `HUGGING_FACE_HUB_TOKEN`, or the token that a login stored in `HF_TOKEN_PATH` or `HF_HOME`,
/// unless `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set. Empty variables count as absent.
#[derive(Clone, PartialEq, Eq)]
pub struct HubOptions {
    /// A branch, tag or commit; `main` by default.
    pub revision: String,
    /// If true, looks only in the cache.
    pub offline: bool,
    /// The cache folder, in the layout of `huggingface_hub`; `None` if no variable names one and
    /// the user has no home folder.
    pub cache: Option<PathBuf>,
    /// The hub's address.
    pub endpoint: String,
    /// The access token, which is never shown.
    pub token: Option<String>,
}

impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("revision", &self.revision)
            .field("offline", &self.offline)
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .finish()
    }
}

impl Default for HubOptions {
    fn default() -> Self {
        // Without HOME, this asks the system's database of users, as Python does.
        let home = env::home_dir().filter(|home| home.is_absolute());
        Environment { variable: &|name| env::var_os(name), home }.options()
    }
}

/// The variables, and the user's home folder.
struct Environment<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
}

impl Environment<'_> {
    fn options(&self) -> HubOptions {
        let user_cache = || match self.path("XDG_CACHE_HOME") {
            Some(folder) => Some(folder),
            None => Some(self.home.as_ref()?.join(".cache")),
        };
        let home = self.path("HF_HOME").or_else(|| Some(user_cache()?.join("huggingface")));
        let in_home = |name| home.as_ref().map(|home| home.join(name));
        let offline = self.text("HF_HUB_OFFLINE").or_else(|| self.text("TRANSFORMERS_OFFLINE"));
        let stored = || {
            let file = File::open(self.path("HF_TOKEN_PATH").or_else(|| in_home("token"))?).ok()?;
            let mut token = String::new();
            file.take(MAX_TOKEN).read_to_string(&mut token).ok()?;
            Some(token)
        };
        let token = if is_true(self.text("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
            None
        } else {
            let given = self.text("HF_TOKEN").or_else(|| self.text("HUGGING_FACE_HUB_TOKEN"));
            given.and_then(token).or_else(|| token(stored()?))
        };
        let endpoint = self.text("HF_ENDPOINT");
        HubOptions {
            revision: "main".into(),
            offline: is_true(offline),
            cache: self
                .path("HF_HUB_CACHE")
                .or_else(|| self.path("HUGGINGFACE_HUB_CACHE"))
                .or_else(|| in_home("hub")),
            endpoint: endpoint
                .unwrap_or_else(|| "https://huggingface.co".into())
                .trim_end_matches('/')
                .into(),
            token,
        }
    }

    fn value(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.value(name)?.into_string().ok()
    }

    /// A path, expanded as Python's `expanduser` and `expandvars` do. A name that is not Unicode is
    /// taken as it is.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.value(name)?;
        let Some(text) = value.to_str() else { return Some(value.into()) };
        Some(self.expand_variables(&self.expand_user(text)).into())
    }

    /// Replaces `~` and `~name` at the start; an unknown user's stays.
    fn expand_user(&self, path: &str) -> String {
        let Some(rest) = path.strip_prefix('~') else { return path.to_owned() };
        let end = rest.find(std::path::is_separator).unwrap_or(rest.len());
        let (user, rest) = rest.split_at(end);
        let home = if user.is_empty() { self.home.clone() } else { home_of(user) };
        match home.as_deref().and_then(Path::to_str) {
            Some(home) => format!("{}{rest}", home.trim_end_matches('/')),
            None => path.to_owned(),
        }
    }

    /// Replaces `$NAME` and `${NAME}`; those of absent variables stay.
    fn expand_variables(&self, path: &str) -> String {
        let mut expanded = String::new();
        let mut rest = path;
        while let Some((before, after)) = rest.split_once('$') {
            expanded.push_str(before);
            let (name, length) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').map_or(("", 0), |(n, _)| (n, n.len() + 2)),
                None => {
                    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
                    (&after[..end], end)
                }
            };
            let value = (!name.is_empty()).then(|| (self.variable)(name)).flatten();
            match value.and_then(|value| value.into_string().ok()) {
                Some(value) => expanded.push_str(&value),
                None => {
                    expanded.push('$');
                    expanded.push_str(&after[..length]);
                }
            }
            rest = &after[length..];
        }
        expanded + rest
    }
}

/// The home folder of a user in the system's list.
fn home_of(user: &str) -> Option<PathBuf> {
    let list = fs::read_to_string("/etc/passwd").ok()?;
    let entry = list.lines().find(|line| line.split(':').next() == Some(user))?;
    entry.split(':').nth(5).map(PathBuf::from)
}

fn is_true(value: Option<String>) -> bool {
    let value = value.unwrap_or_default().to_uppercase();
    ["1", "ON", "YES", "TRUE"].contains(&value.as_str())
}

/// A token without the line ends that editors and shells add.
fn token(text: String) -> Option<String> {
    let token = text.replace(['\r', '\n'], "").trim().to_owned();
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> HubOptions {
        let variable = |name: &str| {
            let pair = pairs.iter().find(|(known, _)| *known == name);
            pair.map(|(_, value)| OsString::from(value))
        };
        Environment { variable: &variable, home: Some("/u".into()) }.options()
    }

    fn cache(pairs: &[(&str, &str)]) -> String {
        set(pairs).cache.unwrap().to_str().unwrap().to_owned()
    }

    /// The expected places are those of huggingface_hub 2.4 with the same variables and HOME=/u.
    #[test]
    fn the_cache_is_where_python_has_it() {
        for (pairs, expected) in [
            (&[][..], "/u/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "~/x")], "/u/x/huggingface/hub"),
            (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/h/hub"),
            (&[("HF_HOME", "~")], "/u/hub"),
            (&[("HF_HOME", "~/h")], "/u/h/hub"),
            (&[("HF_HOME", "/a~/h")], "/a~/h/hub"),
            (&[("HF_HOME", "~no-such-user/h")], "~no-such-user/h/hub"),
            (&[("HF_HOME", "$BASE/h"), ("BASE", "/b")], "/b/h/hub"),
            (&[("HF_HOME", "${BASE}/h$"), ("BASE", "/b")], "/b/h$/hub"),
            (&[("HF_HOME", "/$NONE/${NONE}/h")], "/$NONE/${NONE}/h/hub"),
            (&[("HF_HOME", "/a/${BASE"), ("BASE", "/b")], "/a/${BASE/hub"),
            (&[("HUGGINGFACE_HUB_CACHE", "/l"), ("HF_HOME", "/h")], "/l"),
            (&[("HUGGINGFACE_HUB_CACHE", "~/l")], "/u/l"),
            (&[("HF_HUB_CACHE", "$BASE"), ("HUGGINGFACE_HUB_CACHE", "/l"), ("BASE", "/b")], "/b"),
        ] {
            assert_eq!(cache(pairs), expected, "{pairs:?}");
        }
    }

    #[test]
    fn without_a_home_there_is_no_cache_unless_it_is_named() {
        let none = |_: &str| None;
        assert_eq!(Environment { variable: &none, home: None }.options().cache, None);
        let named = |name: &str| (name == "HF_HUB_CACHE").then(|| OsString::from("/c"));
        let options = Environment { variable: &named, home: None }.options();
        assert_eq!(options.cache.as_deref(), Some(Path::new("/c")));
    }

    #[test]
    fn the_first_switch_that_is_set_decides() {
        for value in ["1", "ON", "on", "Yes", "TRUE", "true"] {
            assert!(set(&[("HF_HUB_OFFLINE", value)]).offline, "{value}");
        }
        for value in ["0", "off", "no", "2", " 1"] {
            assert!(!set(&[("HF_HUB_OFFLINE", value)]).offline, "{value}");
        }
        assert!(set(&[("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert!(!set(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert!(set(&[("HF_HUB_OFFLINE", ""), ("TRANSFORMERS_OFFLINE", "1")]).offline);
    }

    #[test]
    fn the_address_has_no_slash_at_its_end() {
        assert_eq!(set(&[]).endpoint, "https://huggingface.co");
        assert_eq!(set(&[("HF_ENDPOINT", "http://mirror/hf//")]).endpoint, "http://mirror/hf");
    }

    #[test]
    fn a_token_is_given_or_stored() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        fs::write(folder.path().join("token"), "stored\r\n").unwrap();
        fs::write(folder.path().join("other"), "other").unwrap();
        let other = format!("{home}/other");
        let token = |pairs: &[(&str, &str)]| set(pairs).token;
        assert_eq!(token(&[("HF_TOKEN", " t\n")]).as_deref(), Some("t"));
        assert_eq!(token(&[("HUGGING_FACE_HUB_TOKEN", "old")]).as_deref(), Some("old"));
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("stored"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN", "\n")]).as_deref(), Some("stored"));
        assert_eq!(
            token(&[("HF_HOME", home), ("HF_TOKEN_PATH", &other)]).as_deref(),
            Some("other")
        );
        let none = [("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(token(&none), None);
    }

    #[test]
    fn a_token_is_never_shown() {
        let options = set(&[("HF_TOKEN", "secret")]);
        assert!(!format!("{options:?}").contains("secret"));
    }
}

//! `tokenizer_config.json`: read, checked, completed, written.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::added::AddedToken;
use super::{PerceiverTokenizer, RESERVED, Side};
use crate::error::Result;
use crate::json::{self, Settings, SettingsFiles};

const FILE: &str = "tokenizer_config.json";
const LEGACY_SPECIAL_TOKENS_FILE: &str = "special_tokens_map.json";
const LEGACY_ADDED_TOKENS_FILE: &str = "added_tokens.json";

/// The reserved tokens in the order of their identifiers.
const RESERVED_TOKENS: [(&str, &str); RESERVED as usize] = [
    ("pad_token", "[PAD]"),
    ("bos_token", "[BOS]"),
    ("eos_token", "[EOS]"),
    ("mask_token", "[MASK]"),
    ("cls_token", "[CLS]"),
    ("sep_token", "[SEP]"),
];

/// All roles that every tokenizer of the reference knows, in its order.
pub(super) const STANDARD_ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Where the reference writes the roles that only some models have.
const MODEL_ROLES: &str = "model_specific_special_tokens";

const DEFAULT_MAX_LENGTH: usize = 2048;

/// Lengths above this mean that there is no limit.
const UNBOUNDED: f64 = 1e20;

/// The length that the reference writes for a tokenizer without a limit.
const WRITTEN_UNBOUNDED: f64 = 1e30;

/// Fields about the session that wrote the file, and older forms of other fields.
const DROPPED_FIELDS: [&str; 10] = [
    "add_bos_token",
    "add_eos_token",
    "additional_special_tokens",
    "device_map",
    "extra_special_tokens",
    "files_loaded",
    "name_or_path",
    "slow_tokenizer_class",
    "special_tokens_map_file",
    "tokenizer_file",
];

/// A tokenizer's settings as the files give them, before identifiers are assigned.
pub(super) struct Draft {
    /// Reserved tokens in the order of their identifiers.
    pub(super) reserved: [AddedToken; RESERVED as usize],
    /// Content of `unk_token`.
    pub(super) unknown: Option<String>,
    /// Further roles and their contents, in the order in which they get identifiers.
    pub(super) named: Vec<(String, String)>,
    pub(super) extra: Vec<String>,
    /// Added tokens with their identifiers, in the order of the file.
    pub(super) listed: Vec<(u32, AddedToken)>,
    pub(super) model_max_length: Option<usize>,
    pub(super) padding_side: Side,
    pub(super) truncation_side: Side,
    pub(super) split_special_tokens: bool,
    pub(super) clean_up_spaces: bool,
    pub(super) other_settings: Map<String, Value>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            reserved: RESERVED_TOKENS.map(|(_, content)| AddedToken::new(content)),
            unknown: None,
            named: Vec::new(),
            extra: Vec::new(),
            listed: Vec::new(),
            model_max_length: Some(DEFAULT_MAX_LENGTH),
            padding_side: Side::Right,
            truncation_side: Side::Right,
            split_special_tokens: false,
            clean_up_spaces: false,
            other_settings: Map::new(),
        }
    }
}

impl Draft {
    pub(super) fn read(files: SettingsFiles<'_>) -> Result<Self> {
        let mut settings = files
            .read_if_present(FILE)?
            .unwrap_or_else(|| Settings { path: files.path(FILE), fields: Map::new() });
        let mut legacy_added = None;
        if !settings.fields.contains_key("added_tokens_decoder") {
            if let Some(mut special) = files.read_if_present(LEGACY_SPECIAL_TOKENS_FILE)? {
                for (field, value) in &mut special.fields {
                    if let Value::Object(token) = value
                        && field != "extra_special_tokens"
                    {
                        token.insert("special".to_owned(), true.into());
                    }
                }
                settings.fields.extend(special.fields);
            }
            legacy_added = files.read_if_present(LEGACY_ADDED_TOKENS_FILE)?;
        }
        Self::from_settings(&settings, legacy_added.as_ref())
    }

    fn from_settings(settings: &Settings, legacy_added: Option<&Settings>) -> Result<Self> {
        if let Some(class) = settings.str("tokenizer_class")?
            && !["PerceiverTokenizer", "PerceiverTokenizerFast"].contains(&class)
        {
            let found = Value::from(class);
            return Err(settings.refuse("tokenizer_class", &found, "`PerceiverTokenizer`"));
        }
        let mut draft = Self {
            model_max_length: max_length(settings)?,
            padding_side: side(settings, "padding_side")?,
            truncation_side: side(settings, "truncation_side")?,
            split_special_tokens: settings.bool("split_special_tokens")?.unwrap_or(false),
            clean_up_spaces: settings.bool("clean_up_tokenization_spaces")?.unwrap_or(false),
            other_settings: settings.fields.clone(),
            ..Self::default()
        };
        draft.read_roles(settings)?;
        draft.read_extra(settings)?;
        draft.read_listed(settings, legacy_added)?;
        draft.adopt_flags(settings);
        for field in DROPPED_FIELDS {
            draft.other_settings.shift_remove(field);
        }
        Ok(draft)
    }

    fn read_roles(&mut self, settings: &Settings) -> Result<()> {
        for (slot, (field, _)) in self.reserved.iter_mut().zip(RESERVED_TOKENS) {
            if let Some(value) = settings.fields.get(field) {
                *slot = token(settings, field, value)?;
            }
        }
        if let Some(value) = settings.get("unk_token") {
            self.unknown = Some(token(settings, "unk_token", value)?.content);
        }
        for (field, value) in &settings.fields {
            let is_token = value.is_string() || value.get("content").is_some();
            if field.ends_with("_token") && is_token && !STANDARD_ROLES.contains(&field.as_str()) {
                let content = token(settings, field, value)?.content;
                self.named.push((field.clone(), content));
            }
        }
        match settings.get(MODEL_ROLES) {
            Some(Value::Object(tokens)) if self.named.is_empty() => {
                self.read_named(settings, MODEL_ROLES, tokens)
            }
            None | Some(Value::Object(_)) => Ok(()),
            Some(other) => Err(settings.refuse(MODEL_ROLES, other, "named tokens")),
        }
    }

    fn read_named(
        &mut self,
        settings: &Settings,
        field: &str,
        tokens: &Map<String, Value>,
    ) -> Result<()> {
        let places: HashMap<String, usize> =
            (0..).zip(&self.named).map(|(place, (name, _))| (name.clone(), place)).collect();
        for (name, value) in tokens {
            let content = token(settings, &format!("{field}.{name}"), value)?.content;
            match places.get(name) {
                Some(&place) => self.named[place].1 = content,
                None => self.named.push((name.clone(), content)),
            }
        }
        Ok(())
    }

    fn read_extra(&mut self, settings: &Settings) -> Result<()> {
        let extra = settings.get("extra_special_tokens").filter(|value| {
            let empty = value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(Map::is_empty);
            !empty
        });
        let (field, value) = match (extra, settings.get("additional_special_tokens")) {
            (Some(value), _) => ("extra_special_tokens", value),
            (None, Some(value)) => ("additional_special_tokens", value),
            (None, None) => return Ok(()),
        };
        match value {
            Value::Array(tokens) => {
                for (index, value) in tokens.iter().enumerate() {
                    let content = token(settings, &format!("{field}[{index}]"), value)?.content;
                    self.extra.push(content);
                }
            }
            Value::Object(tokens) => self.read_named(settings, field, tokens)?,
            other => {
                return Err(settings.refuse(field, other, "a list of tokens or named tokens"));
            }
        }
        Ok(())
    }

    fn read_listed(&mut self, settings: &Settings, legacy: Option<&Settings>) -> Result<()> {
        if let Some(value) = settings.fields.get("added_tokens_decoder") {
            let tokens = value
                .as_object()
                .ok_or_else(|| settings.refuse("added_tokens_decoder", value, "an object"))?;
            for (key, value) in tokens {
                let field = format!("added_tokens_decoder.{key}");
                let id = key
                    .parse()
                    .map_err(|_| settings.refuse(&field, value, "a token id as its key"))?;
                if !value.is_object() {
                    return Err(settings.refuse(&field, value, "an object with `content`"));
                }
                self.listed.push((id, token(settings, &field, value)?));
            }
        } else if let Some(legacy) = legacy {
            let roles = STANDARD_ROLES
                .iter()
                .filter_map(|role| token(settings, role, settings.fields.get(*role)?).ok());
            let special: HashSet<String> =
                roles.map(|token| token.content).chain(self.extra.iter().cloned()).collect();
            for (content, value) in &legacy.fields {
                let id = value
                    .as_u64()
                    .and_then(|id| u32::try_from(id).ok())
                    .filter(|_| !content.is_empty())
                    .ok_or_else(|| legacy.refuse(content, value, "the id of a token"))?;
                let special = special.contains(content);
                let token = AddedToken {
                    normalized: !special,
                    special,
                    ..AddedToken::new(content.clone())
                };
                self.listed.push((id, token));
            }
        }
        Ok(())
    }

    /// A role names its token by content; the list of added tokens says how it treats white space.
    fn adopt_flags(&mut self, settings: &Settings) {
        let by_content: HashMap<&str, &AddedToken> =
            self.listed.iter().map(|(_, token)| (token.content.as_str(), token)).collect();
        for (slot, (field, _)) in self.reserved.iter_mut().zip(RESERVED_TOKENS) {
            if settings.fields.contains_key(field)
                && let Some(&listed) = by_content.get(slot.content.as_str())
            {
                *slot = listed.clone();
            }
        }
    }
}

fn token(settings: &Settings, field: &str, value: &Value) -> Result<AddedToken> {
    let content = value.as_str().or_else(|| value.get("content")?.as_str());
    let content = content.filter(|content| !content.is_empty()).ok_or_else(|| {
        settings.refuse(field, value, "a string or an object with `content`, and not empty")
    })?;
    let Some(fields) = value.as_object() else {
        return Ok(AddedToken::new(content));
    };
    let flag = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(settings.refuse(&format!("{field}.{name}"), other, "true or false")),
    };
    let special = flag("special")?.unwrap_or(false);
    Ok(AddedToken {
        content: content.to_owned(),
        single_word: flag("single_word")?.unwrap_or(false),
        lstrip: flag("lstrip")?.unwrap_or(false),
        rstrip: flag("rstrip")?.unwrap_or(false),
        normalized: flag("normalized")?.unwrap_or(!special),
        special,
    })
}

fn max_length(settings: &Settings) -> Result<Option<usize>> {
    let field = "model_max_length";
    let value = match settings.fields.get(field) {
        None => return Ok(Some(DEFAULT_MAX_LENGTH)),
        Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    match value.as_f64() {
        Some(length) if length > UNBOUNDED => Ok(None),
        // Above 2⁵³ the float is not exact, but no text is that long.
        Some(length) if length >= 0.0 && length.fract() == 0.0 => Ok(Some(length as usize)),
        _ => Err(settings.refuse(field, value, "a whole number of tokens")),
    }
}

fn side(settings: &Settings, field: &str) -> Result<Side> {
    match settings.get(field) {
        None => Ok(Side::Right),
        Some(value) => match value.as_str() {
            Some("left") => Ok(Side::Left),
            Some("right") => Ok(Side::Right),
            _ => Err(settings.refuse(field, value, "`left` or `right`")),
        },
    }
}

/// Writes the fields of the reference's `save_pretrained` and every other field that was read.
pub(super) fn write(tokenizer: &PerceiverTokenizer, folder: &Path) -> Result<()> {
    let mut fields = tokenizer.other_settings.clone();
    for role in STANDARD_ROLES {
        if let Some(content) = tokenizer.roles.get(role) {
            fields.insert(role.to_owned(), content.into());
        }
    }
    let mut model_roles = Map::new();
    for (name, content) in &tokenizer.roles.named {
        fields.insert(name.clone(), content.as_str().into());
        if name != "unk_token" {
            model_roles.insert(name.clone(), content.as_str().into());
        }
    }
    if !model_roles.is_empty() {
        fields.insert(MODEL_ROLES.to_owned(), model_roles.into());
    }
    if !tokenizer.extra_special_tokens.is_empty() {
        fields.insert("extra_special_tokens".to_owned(), json!(tokenizer.extra_special_tokens));
    }
    let added: Map<String, Value> = tokenizer
        .added
        .iter()
        .map(|(id, token)| {
            let token = json!({
                "content": token.content,
                "lstrip": token.lstrip,
                "normalized": token.normalized,
                "rstrip": token.rstrip,
                "single_word": token.single_word,
                "special": token.special,
            });
            (id.to_string(), token)
        })
        .collect();
    fields.insert("added_tokens_decoder".to_owned(), added.into());
    let max_length =
        tokenizer.model_max_length.map_or(json!(WRITTEN_UNBOUNDED), |length| json!(length));
    fields.insert("model_max_length".to_owned(), max_length);
    fields.insert("backend".to_owned(), "custom".into());
    fields.insert("tokenizer_class".to_owned(), "PerceiverTokenizer".into());
    json::write(&folder.join(FILE), fields)
}

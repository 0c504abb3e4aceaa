//! From settings to the tables that encoding and decoding use.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::added::{AddedToken, Trie};
use super::config::{Draft, STANDARD_ROLES};
use super::{PerceiverTokenizer, RESERVED, Roles};

impl Draft {
    pub(super) fn build(self) -> PerceiverTokenizer {
        let [pad, bos, eos, mask, cls, sep] = self.reserved.clone().map(|token| token.content);
        let roles = Roles {
            pad,
            bos,
            eos,
            mask,
            cls,
            sep,
            named: self
                .unknown
                .map(|content| ("unk_token".to_owned(), content))
                .into_iter()
                .chain(self.named)
                .collect(),
        };

        // If a content has several identifiers, the last one listed counts; an identifier keeps
        // the place where it first got a token.
        let mut order = Vec::new();
        let mut added = BTreeMap::new();
        for (id, token) in (0..).zip(self.reserved).chain(self.listed) {
            if added.insert(id, token).is_none() {
                order.push(id);
            }
        }
        let mut encoder: HashMap<String, u32> =
            order.iter().map(|id| (added[id].content.clone(), *id)).collect();

        // The reference keys its vocabulary by strings: a byte and a token of that one character
        // share an entry, and the number of entries numbers new tokens.
        let is_byte = |content: &str| {
            let mut characters = content.chars();
            let first = characters.next().filter(|_| characters.next().is_none());
            first.and_then(|first| u8::try_from(first).ok())
        };
        let beyond_bytes: HashSet<&str> = added
            .values()
            .map(|token| token.content.as_str())
            .filter(|content| is_byte(content).is_none())
            .collect();
        let mut vocabulary = 256 + beyond_bytes.len();

        let special: Vec<String> = roles
            .in_order()
            .chain(self.extra.iter().map(String::as_str))
            .map(str::to_owned)
            .collect();
        for content in &special {
            if content.is_empty() || encoder.contains_key(content) {
                continue;
            }
            let id = match is_byte(content) {
                Some(byte) => u32::from(byte) + RESERVED,
                None => {
                    vocabulary += 1;
                    u32::try_from(vocabulary - 1).unwrap_or(u32::MAX)
                }
            };
            let token =
                AddedToken { normalized: false, special: true, ..AddedToken::new(content.clone()) };
            added.insert(id, token);
            encoder.insert(content.clone(), id);
        }
        let special_ids: BTreeSet<u32> =
            special.iter().filter_map(|content| encoder.get(content).copied()).collect();

        PerceiverTokenizer {
            trie: Trie::new(added.values().map(|token| token.content.as_str())),
            roles,
            extra_special_tokens: self.extra,
            added,
            encoder,
            special_ids,
            vocabulary,
            model_max_length: self.model_max_length,
            padding_side: self.padding_side,
            truncation_side: self.truncation_side,
            split_special_tokens: self.split_special_tokens,
            clean_up_spaces: self.clean_up_spaces,
            other_settings: self.other_settings,
        }
    }
}

impl Roles {
    pub(super) fn get(&self, role: &str) -> Option<&str> {
        match role {
            "pad_token" => Some(&self.pad),
            "bos_token" => Some(&self.bos),
            "eos_token" => Some(&self.eos),
            "mask_token" => Some(&self.mask),
            "cls_token" => Some(&self.cls),
            "sep_token" => Some(&self.sep),
            _ => self
                .named
                .iter()
                .find(|(name, _)| name == role)
                .map(|(_, content)| content.as_str()),
        }
    }

    /// Contents in the order in which the reference assigns identifiers.
    fn in_order(&self) -> impl Iterator<Item = &str> {
        STANDARD_ROLES.iter().filter_map(|role| self.get(role)).chain(
            self.named
                .iter()
                .filter(|(name, _)| name != "unk_token")
                .map(|(_, content)| content.as_str()),
        )
    }
}
